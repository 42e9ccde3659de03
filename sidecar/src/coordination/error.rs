//! What a request for coordination can end in.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::error::Problem;
use crate::redis;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("pods are not coordinated here; set POD_COORDINATION_ENABLED=true")]
    Disabled,
    #[error("too many event streams and waiting requests are open; close some, or share one")]
    TooManyStreams,
    #[error("{0}")]
    InvalidRequest(&'static str),
    #[error("send application/json")]
    UnsupportedMediaType,
    #[error("the body did not arrive within 1 s of its head; send it at once")]
    SlowBody,
    #[error("a message has at most 65536 bytes; send less, or where to find it")]
    TooLarge,
    #[error("the app sends too many messages of this priority; try again in {retry_after_s} s")]
    TooManyMessages { retry_after_s: u64 },
    #[error("this pod does not lead; {} does", leader.as_deref().unwrap_or("nobody"))]
    NotLeader { leader: Option<String> },
    #[error("there is no stream of that number, or not any more; open one with acks=true")]
    UnknownStream,
    #[error("another leads by now; nothing was done")]
    StaleTerm,
    /// The request had no effect and never will have.
    #[error("coordination is unavailable; try again")]
    Unavailable { reason: String },
    #[error("Redis did not answer; others may or may not have been told")]
    OutcomeUnknown { reason: String },
    #[error("internal error")]
    Internal { reason: String },
}

impl Error {
    pub(crate) fn write(error: redis::Error) -> Error {
        match error {
            redis::Error::Unavailable { reason } => Error::Unavailable { reason },
            redis::Error::Unknown { reason } => Error::OutcomeUnknown { reason },
            redis::Error::Unexpected { reason } => Error::Internal { reason },
        }
    }

    pub(crate) fn problem(self) -> Problem {
        let message = self.to_string();
        match self {
            Error::Unavailable { reason } => Problem {
                cause: Some(reason),
                ..Problem::new(StatusCode::SERVICE_UNAVAILABLE, "COORDINATION_UNAVAILABLE", message)
            },
            Error::OutcomeUnknown { reason } => Problem {
                cause: Some(reason),
                ..Problem::new(StatusCode::SERVICE_UNAVAILABLE, "OUTCOME_UNKNOWN", message)
            },
            Error::Internal { reason } => Problem {
                cause: Some(reason),
                ..Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_SERVER_ERROR", message)
            },
            Error::TooManyMessages { retry_after_s } => Problem {
                retry_after_s: Some(retry_after_s),
                ..Problem::new(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_MESSAGES", message)
            },
            Error::UnsupportedMediaType => {
                Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message)
            }
            Error::SlowBody => Problem::new(StatusCode::REQUEST_TIMEOUT, "REQUEST_TIMEOUT", message),
            Error::TooLarge => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", message),
            Error::NotLeader { .. } => Problem::new(StatusCode::CONFLICT, "NOT_LEADER", message),
            Error::StaleTerm => Problem::new(StatusCode::PRECONDITION_FAILED, "STALE_TERM", message),
            Error::UnknownStream => Problem::new(StatusCode::NOT_FOUND, "STREAM_NOT_FOUND", message),
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
            Error::InvalidRequest(_) => Error::UnsupportedMediaType,
            Error::UnsupportedMediaType => Error::SlowBody,
            Error::SlowBody => Error::TooLarge,
            Error::TooLarge => Error::TooManyMessages { retry_after_s: 1 },
            Error::TooManyMessages { .. } => Error::UnknownStream,
            Error::UnknownStream => Error::NotLeader { leader: None },
            Error::NotLeader { .. } => Error::StaleTerm,
            Error::StaleTerm => Error::Unavailable { reason: String::new() },
            Error::Unavailable { .. } => Error::OutcomeUnknown { reason: String::new() },
            Error::OutcomeUnknown { .. } => Error::Internal { reason: String::new() },
            Error::Internal { .. } => return None,
        })
    };
    std::iter::successors(Some(Error::Disabled), after)
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        self.problem().into_problem_details()
    }
}
