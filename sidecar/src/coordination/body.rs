//! Bodies of requests.

use axum::body::Body;
use axum::http::HeaderMap;

use super::Error;
use crate::session;
use crate::session::body::{self, Media};

/// A body of JSON, without its whitespace.
pub(crate) async fn text(headers: &HeaderMap, body: Body) -> Result<String, Error> {
    if Media::of(headers) != Media::Json {
        return Err(Error::UnsupportedMediaType);
    }
    body::text(body).await.map_err(|error| match error {
        session::Error::TooLarge => Error::TooLarge,
        session::Error::SlowBody => Error::SlowBody,
        _ => Error::InvalidRequest("the body is not the JSON of one value"),
    })
}
