//! Answers that last: events as they come, and answers that wait for something to happen. There is room for so many,
//! each costs little however slow its client is, and all end when the process has been told to.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::metrics::Http;

/// An app has one for each of its processes, and hands on what it hears itself.
const PLACES: usize = 128;
/// Whoever waits hears at least a comment within this, and a client that is gone is noticed.
const SILENCE: Duration = Duration::from_secs(5);
/// Events that are written at once: what is made but not yet taken.
const TOGETHER: usize = 16;

/// How many answers last at once.
#[derive(Debug)]
pub struct Streams {
    places: Arc<Semaphore>,
    open: Gauge,
}

/// Given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    open: Gauge,
}

impl Streams {
    pub fn new(http: &Http) -> Streams {
        Streams { places: Arc::new(Semaphore::new(PLACES)), open: http.streams() }
    }

    /// `None` when there are too many.
    pub(crate) fn enter(&self) -> Option<Place> {
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        self.open.inc();
        Some(Place { _permit: permit, open: self.open.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.dec();
    }
}

impl Place {
    /// Held until all of the answer is sent, or `draining` ends it.
    pub(crate) fn until_sent(self, answer: Response, http: &Http, draining: &CancellationToken) -> Response {
        if answer.body().size_hint().exact().is_some() {
            return answer;
        }
        let (http, end) = (http.clone(), draining.clone().cancelled_owned());
        answer.map(|body| {
            let chunks = AssertUnwindSafe(body.into_data_stream()).catch_unwind();
            let chunks = chunks.map(move |chunk| {
                let _until_the_end = &self;
                chunk.unwrap_or_else(|_panic| {
                    http.panicked();
                    Err(axum::Error::new("internal error"))
                })
            });
            Body::from_stream(chunks.take_until(end))
        })
    }
}

/// One of a stream of server-sent events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub name: &'static str,
    /// What the client says it had last, when it comes again.
    pub id: Option<String>,
    pub data: String,
}

impl Event {
    /// None to the client: only what it will say that it had last.
    pub(crate) fn place(id: String) -> Event {
        Event { name: "", id: Some(id), data: String::new() }
    }

    fn write(&self, into: &mut String) {
        let Event { name, id, data } = self;
        if let Some(id) = id {
            into.extend(["id: ", id, "\n"]);
        }
        if name.is_empty() {
            return into.push('\n');
        }
        into.extend(["event: ", name, "\n"]);
        // Any of the three ends a line there, so that JSON of several lines is several.
        for line in data.split("\r\n").flat_map(|line| line.split(['\r', '\n'])) {
            into.extend(["data: ", line, "\n"]);
        }
        into.push('\n');
    }
}

/// An answer of events, as long as there are any to come.
pub fn events(events: impl Stream<Item = Event> + Send + 'static) -> Response {
    events_with(events, SILENCE)
}

fn events_with(events: impl Stream<Item = Event> + Send + 'static, silence: Duration) -> Response {
    let chunks = Box::pin(events.ready_chunks(TOGETHER));
    let kept_alive = futures::stream::unfold(chunks, move |mut chunks| async move {
        let text = match timeout(silence, chunks.next()).await {
            Ok(events) => events?.iter().fold(String::new(), |mut text, event| {
                event.write(&mut text);
                text
            }),
            Err(_) => ":\n\n".to_owned(),
        };
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(text)), chunks))
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(kept_alive)).into_response()
}

/// What an answer waits for, unless it takes longer than `at_most` or the process ends.
pub async fn wait<T>(
    draining: &CancellationToken,
    at_most: Duration,
    happening: impl Future<Output = T>,
) -> Option<T> {
    draining.run_until_cancelled(timeout(at_most, happening)).await?.ok()
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::metrics::Metrics;

    const SOON: Duration = Duration::from_secs(10);

    fn event(data: &str) -> Event {
        Event { name: "message", id: None, data: data.to_owned() }
    }

    async fn next(body: &mut (impl Stream<Item = Result<Bytes, axum::Error>> + Unpin)) -> Option<String> {
        let chunk = timeout(SOON, body.next()).await.expect("in time")?;
        Some(String::from_utf8(chunk.unwrap().to_vec()).unwrap())
    }

    #[test]
    fn an_event_of_several_lines_is_one_event() {
        let mut text = String::new();
        Event { id: Some("1-2".to_owned()), ..event("{\r\n\n}\r") }.write(&mut text);
        assert_eq!(text, "id: 1-2\nevent: message\ndata: {\ndata: \ndata: }\ndata: \n\n");
    }

    #[tokio::test]
    async fn events_come_together_and_silence_is_a_comment() {
        let few = futures::stream::iter([event("1"), event("2")]).chain(futures::stream::pending());
        let mut body = events_with(few, Duration::from_millis(1)).into_body().into_data_stream();
        let both = "event: message\ndata: 1\n\nevent: message\ndata: 2\n\n";
        assert_eq!(next(&mut body).await.as_deref(), Some(both));
        for _ in 0..2 {
            assert_eq!(next(&mut body).await.as_deref(), Some(":\n\n"));
        }
        let mut ends = events(futures::stream::iter([event("1")])).into_body().into_data_stream();
        next(&mut ends).await.expect("an event");
        assert_eq!(next(&mut ends).await, None);
    }

    #[tokio::test]
    async fn a_place_is_held_until_the_process_ends_the_answer() {
        let mut registry = Registry::default();
        let http = Http::new(&mut registry);
        let streams = Streams::new(&http);
        let draining = CancellationToken::new();
        let answer = |place: Place| {
            let lasting = events(futures::stream::iter([event("1")]).chain(futures::stream::pending()));
            place.until_sent(lasting, &http, &draining).into_body().into_data_stream()
        };
        let mut all: Vec<_> = std::iter::from_fn(|| streams.enter()).take(2 * PLACES).map(answer).collect();
        assert_eq!(all.len(), PLACES);
        all.pop();
        all.push(answer(streams.enter().expect("one place is free")));
        assert!(streams.enter().is_none());
        assert!(next(&mut all[0]).await.is_some());
        draining.cancel();
        for body in &mut all {
            assert_eq!(next(body).await, None);
        }
        drop(all);
        assert!(streams.enter().is_some());
        let whole = streams.enter().unwrap().until_sent("short".into_response(), &http, &draining);
        assert_eq!(whole.into_body().size_hint().exact(), Some(5), "it has its bytes, and no place");
        assert_eq!(http.streams().get(), 0);
    }

    #[tokio::test]
    async fn events_that_panic_end_their_answer_and_are_counted() {
        let mut registry = Registry::default();
        let http = Http::new(&mut registry);
        let place = Streams::new(&http).enter().unwrap();
        let bad = futures::stream::iter([0]).map(|_| -> Event { panic!("a defect") });
        let answer = place.until_sent(events(bad), &http, &CancellationToken::new());
        let chunks: Vec<_> = answer.into_body().into_data_stream().collect().await;
        assert!(matches!(chunks[..], [Err(_)]), "{chunks:?}");
        let text = Metrics::new(registry).encode().unwrap();
        assert!(text.contains("\nhyperpage_http_panics_total 1\n"), "{text}");
        assert!(text.contains("\nhyperpage_http_streams 0\n"), "{text}");
    }

    #[tokio::test]
    async fn what_does_not_happen_is_not_waited_for() {
        let (draining, never) = (CancellationToken::new(), std::future::pending::<()>);
        assert_eq!(wait(&draining, SOON, async { 1 }).await, Some(1));
        assert_eq!(wait(&draining, Duration::ZERO, never()).await, None);
        draining.cancel();
        assert_eq!(timeout(SOON, wait(&draining, 2 * SOON, never())).await, Ok(None));
    }
}
