//! How much is done at once: requests, and bytes of their bodies. What would be more is refused before it costs memory.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::session::MAX_BODY;

/// Of bodies, as they were announced; what is made of a body while it is worked on is a few times as large.
const BODY_BYTES: usize = 8 * 1024 * 1024;
/// A client that still sends would not see the answer: it is given this long to finish.
const DISCARD: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
pub struct InFlight {
    requests: Arc<Semaphore>,
    body_bytes: Arc<Semaphore>,
}

/// Both are given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _request: OwnedSemaphorePermit,
    _body_bytes: OwnedSemaphorePermit,
}

impl InFlight {
    pub fn new(requests: usize) -> InFlight {
        let semaphore = |places| Arc::new(Semaphore::new(places));
        InFlight { requests: semaphore(requests), body_bytes: semaphore(BODY_BYTES) }
    }

    /// `None` when there is too much of either.
    pub(crate) fn enter(&self, body: &Body) -> Option<Place> {
        let bytes = u32::try_from(weight(body.size_hint().upper())).expect("at most MAX_BODY");
        let request = Arc::clone(&self.requests).try_acquire_owned().ok()?;
        let body_bytes = Arc::clone(&self.body_bytes).try_acquire_many_owned(bytes).ok()?;
        Some(Place { _request: request, _body_bytes: body_bytes })
    }
}

/// Nobody keeps more than `MAX_BODY` of one body; one of unknown length counts for as much.
fn weight(announced: Option<u64>) -> usize {
    announced.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(MAX_BODY).min(MAX_BODY)
}

/// Reads to the end and keeps nothing.
pub(crate) async fn discard(body: Body) {
    let rest = body.into_data_stream().take_while(|chunk| std::future::ready(chunk.is_ok()));
    let _late = timeout(DISCARD, rest.for_each(|_| std::future::ready(()))).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_so_many_requests() {
        let in_flight = InFlight::new(2);
        let first = in_flight.enter(&Body::empty()).expect("room for two");
        let _second = in_flight.enter(&Body::empty()).expect("room for two");
        assert!(in_flight.enter(&Body::empty()).is_none());
        drop(first);
        assert!(in_flight.enter(&Body::empty()).is_some());
    }

    #[test]
    fn there_is_room_for_so_many_bytes_of_bodies_and_for_what_has_none() {
        let in_flight = InFlight::new(1_000);
        let endless = || Body::from_stream(futures::stream::pending::<Result<&[u8], std::io::Error>>());
        let mut places: Vec<Place> = (0..32).map_while(|_| in_flight.enter(&endless())).collect();
        places.extend((0..1_000).map_while(|_| in_flight.enter(&Body::from(vec![b' '; MAX_BODY]))));
        assert_eq!(places.len(), BODY_BYTES / MAX_BODY);
        assert!(in_flight.enter(&Body::from(" ")).is_none());
        places.push(in_flight.enter(&Body::empty()).expect("no byte more"));
        places.pop();
        places.pop();
        assert!(in_flight.enter(&Body::from(" ")).is_some());
    }

    #[test]
    fn a_body_counts_for_what_is_kept_of_it() {
        for (announced, expect) in
            [(Some(0), 0), (Some(300), 300), (Some(u64::MAX), MAX_BODY), (None, MAX_BODY)]
        {
            assert_eq!(weight(announced), expect, "{announced:?}");
        }
    }
}
