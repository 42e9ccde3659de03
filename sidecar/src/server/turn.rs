//! Whether a connection waits for its client or the client for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::{Body, HttpBody};
use axum::response::Response;
use futures::StreamExt;

/// Even while a connection waits for a request, odd while one is served.
#[derive(Debug, Clone, Default)]
pub(super) struct Turn(Arc<AtomicU64>);

impl Turn {
    pub(super) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn is_serving(now: u64) -> bool {
        now % 2 == 1
    }

    pub(super) fn begin(&self) -> Serving {
        self.next();
        Serving(self.clone())
    }

    fn next(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A request is served until this is dropped.
#[derive(Debug)]
pub(super) struct Serving(Turn);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.next();
    }
}

impl Serving {
    /// What is made while it is sent is served for as long, and may read its request meanwhile.
    pub(super) fn until_sent(self, answer: Response) -> Response {
        if answer.body().size_hint().exact().is_some() {
            return answer;
        }
        answer.map(|body| {
            Body::from_stream(body.into_data_stream().inspect(move |_| {
                let _until_the_end = &self;
            }))
        })
    }
}
