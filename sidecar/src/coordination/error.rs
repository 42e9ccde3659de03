//! What a request for coordination can end in.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::error::Problem;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("pods are not coordinated here; set POD_COORDINATION_ENABLED=true")]
    Disabled,
    #[error("too many event streams and waiting requests are open; close some, or share one")]
    TooManyStreams,
    #[error("{0}")]
    InvalidRequest(&'static str),
    #[error("coordination is unavailable; try again")]
    Unavailable { reason: String },
}

impl Error {
    pub(crate) fn problem(self) -> Problem {
        let message = self.to_string();
        match self {
            Error::Unavailable { reason } => Problem {
                cause: Some(reason),
                ..Problem::new(StatusCode::SERVICE_UNAVAILABLE, "COORDINATION_UNAVAILABLE", message)
            },
            Error::InvalidRequest(_) => Problem::new(StatusCode::BAD_REQUEST, "INVALID_REQUEST", message),
            Error::Disabled => Problem::new(StatusCode::NOT_FOUND, "COORDINATION_DISABLED", message),
            Error::TooManyStreams => {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "TOO_MANY_STREAMS", message)
            }
        }
    }
}

/// One of each kind. A new one does not compile until it has its place in the chain, and thus in openapi.json.
#[cfg(test)]
pub(crate) fn every_error() -> impl Iterator<Item = Error> {
    let after = |error: &Error| {
        Some(match error {
            Error::Disabled => Error::TooManyStreams,
            Error::TooManyStreams => Error::InvalidRequest(""),
            Error::InvalidRequest(_) => Error::Unavailable { reason: String::new() },
            Error::Unavailable { .. } => return None,
        })
    };
    std::iter::successors(Some(Error::Disabled), after)
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        self.problem().into_problem_details()
    }
}
