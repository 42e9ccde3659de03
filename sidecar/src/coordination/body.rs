//! Bodies of requests and answers.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

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

/// What is so now, and may not be in a moment.
pub(crate) fn answer(status: StatusCode, body: Value) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], axum::Json(body)).into_response()
}
