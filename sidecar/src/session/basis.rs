//! What an answer rests on, told in its headers.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Basis {
    /// Redis said so.
    #[default]
    Redis,
    /// It waits in this process' memory until Redis is back.
    Journaled,
    /// Known last so long ago; `own`: with changes of this process that wait.
    Stale { age: Duration, own: bool },
}

impl Basis {
    /// Bytes that Redis never had bear no ETag.
    pub(crate) fn has_etag(self) -> bool {
        match self {
            Basis::Redis | Basis::Stale { own: false, .. } => true,
            Basis::Journaled | Basis::Stale { own: true, .. } => false,
        }
    }

    pub(crate) fn stale_ms(self) -> Option<u128> {
        match self {
            Basis::Stale { age, .. } => Some(age.as_millis()),
            Basis::Redis | Basis::Journaled => None,
        }
    }

    pub(crate) fn mark(self, mut response: Response) -> Response {
        if !self.has_etag() {
            response.headers_mut().remove(header::ETAG);
            response.headers_mut().insert("x-hyperpage-durability", HeaderValue::from_static("local"));
        }
        if let Some(ms) = self.stale_ms() {
            let ms = HeaderValue::from(u64::try_from(ms).unwrap_or(u64::MAX));
            response.headers_mut().insert("x-hyperpage-stale-ms", ms);
        }
        if self == Basis::Journaled {
            *response.status_mut() = StatusCode::ACCEPTED;
        }
        response
    }
}
