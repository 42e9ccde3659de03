//! Room for what is told of many sessions at once: such an answer may be megabytes, and its client may take its time.
//! What there is no room for is not begun.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::Error;
use super::document::MAX_BYTES;

/// Of all answers that are being made, or wait to be taken by their clients.
const BYTES: usize = 32 << 20;
/// A session, and what is told beside it. Larger ones, which others may write, count as no more.
const SESSION: usize = MAX_BYTES + 512;
/// Most sessions are small, and so room is found soon or not at all.
const PATIENCE: Duration = Duration::from_millis(400);

#[derive(Debug)]
pub(super) struct Room(Arc<Semaphore>);

#[derive(Debug)]
pub(super) struct Place(OwnedSemaphorePermit);

impl Default for Room {
    fn default() -> Room {
        Room(Arc::new(Semaphore::new(BYTES)))
    }
}

impl Room {
    /// For so many sessions, 100 at most, however large they turn out to be.
    pub(super) async fn take(&self, sessions: usize) -> Result<Place, Error> {
        let bytes = u32::try_from(sessions * SESSION).unwrap_or(u32::MAX);
        match timeout(PATIENCE, Arc::clone(&self.0).acquire_many_owned(bytes)).await {
            Ok(Ok(permit)) => Ok(Place(permit)),
            Ok(Err(_)) | Err(_) => Err(Error::Overloaded),
        }
    }
}

impl Place {
    /// A list, of which each part gives its room back when it is taken; what was not needed is given back at once.
    pub(super) fn body(mut self, open: &'static str, parts: Vec<String>, close: String) -> Body {
        let bytes: usize = parts.iter().map(String::len).sum();
        drop(self.0.split(self.0.num_permits().saturating_sub(bytes)));
        let mut separator = "";
        let parts = parts.into_iter().map(move |mut part| {
            drop(self.0.split(part.len().min(self.0.num_permits())));
            part.insert_str(0, separator);
            separator = ",";
            Bytes::from(part)
        });
        let ends = |text| std::iter::once(text);
        let all = ends(Bytes::from(open)).chain(parts).chain(ends(Bytes::from(close)));
        Body::from_stream(stream::iter(all.map(Ok::<_, Infallible>)))
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};

    use super::*;

    #[tokio::test]
    async fn room_is_given_back_part_by_part_and_more_is_not_begun() {
        let room = Room::default();
        let mut places = Vec::new();
        while let Some(place) = room.take(100).now_or_never() {
            places.push(place.unwrap());
        }
        assert_eq!(places.len(), BYTES / (100 * SESSION));
        assert_eq!(room.take(100).await.unwrap_err(), Error::Overloaded);
        let left = room.0.available_permits();
        let large = || "x".repeat(SESSION);
        let body = places.pop().unwrap().body("[", vec![large(), large(), large()], "]".to_owned());
        let mut body = body.into_data_stream();
        let free = |parts: usize| left + (100 - parts) * SESSION;
        assert_eq!(room.0.available_permits(), free(3));
        assert_eq!(body.next().await.unwrap().unwrap(), "[");
        assert_eq!(body.next().await.unwrap().unwrap().len(), SESSION);
        assert_eq!(room.0.available_permits(), free(2));
        assert_eq!(body.next().await.unwrap().unwrap().len(), SESSION + 1);
        drop(body);
        assert_eq!(room.0.available_permits(), free(0));
    }
}
