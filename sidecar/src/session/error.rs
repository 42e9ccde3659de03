//! What a session request can end in.

use std::borrow::Cow;

use axum::http::StatusCode;

use super::Text;
use super::document::{Invalid, Node};
use super::patch::PatchError;
use super::rule::Refusal;
use crate::error::{Current, Problem};
use crate::redis;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("sessionId is required")]
    MissingId,
    #[error("Invalid sessionId")]
    InvalidId,
    /// The absence is proven.
    #[error("Session not found or expired")]
    NotFound,
    #[error("the body is {0}")]
    InvalidJson(String),
    #[error("{0}")]
    InvalidRequest(Cow<'static, str>),
    #[error("the body did not arrive within 1 s of its head; send it at once")]
    SlowBody,
    #[error("a session has at most 65536 bytes and a body at most twice as many; send less")]
    TooLarge,
    #[error("{0}")]
    UnfitPatch(String),
    #[error("the session is not the one that If-Match or If-None-Match names; read it again")]
    PreconditionFailed { current: Option<Text> },
    #[error(
        "this Idempotency-Key came with another request before; send each request under a key of its own"
    )]
    KeyReused,
    #[error("{0}")]
    UnsupportedMediaType(&'static str),
    #[error(
        "sessions get their id here; create one with GET /api/sessions, or set SESSION_ALLOW_CLIENT_IDS=true"
    )]
    ClientIdRefused,
    #[error("the session belongs to another address; it is used from where it was made (SESSION_BIND_IP)")]
    AddressMismatch,
    #[error("there are no cookies here; set SESSION_COOKIE=on")]
    CookiesDisabled,
    #[error("too many new sessions from one address; try again in {retry_after_s} s")]
    TooManySessions { retry_after_s: u64 },
    #[error("the stored session is unreadable; delete it or repair the key in Redis")]
    Unreadable { reason: String },
    /// It was not found, and nothing follows from that.
    #[error(
        "whether the session exists cannot be said yet: Redis may have lost data; nothing was changed, try again"
    )]
    Unproven { reason: &'static str },
    #[error("the session is older than If-Version-At-Least; read it again")]
    VersionNotReached,
    /// The request had no effect and never will have.
    #[error("the session store is unavailable; nothing was changed, try again")]
    Unavailable { reason: String },
    #[error(
        "the session store did not answer; the change may or may not have happened, read the session again"
    )]
    OutcomeUnknown { reason: String },
    #[error("too much is in flight; nothing was changed, try again")]
    Overloaded,
    #[error("internal error")]
    Internal { reason: String },
}

impl Error {
    /// A read has no outcome that anybody could not know.
    pub(crate) fn read(error: redis::Error) -> Error {
        match error {
            redis::Error::Unavailable { reason } | redis::Error::Unknown { reason } => {
                Error::Unavailable { reason }
            }
            redis::Error::Unexpected { reason } => Error::unexpected(reason),
        }
    }

    pub(crate) fn write(error: redis::Error) -> Error {
        match error {
            redis::Error::Unavailable { reason } => Error::Unavailable { reason },
            redis::Error::Unknown { reason } => Error::OutcomeUnknown { reason },
            redis::Error::Unexpected { reason } => Error::unexpected(reason),
        }
    }

    pub(crate) fn late() -> Error {
        Error::Unavailable {
            reason: "the attempt reached Redis after its deadline and was refused".to_owned(),
        }
    }

    /// Of an operation that may have been applied; `last` is how its last attempt failed.
    pub(crate) fn doubtful(last: Option<Error>) -> Error {
        let reason = last.and_then(|error| error.cause());
        let reason = reason.unwrap_or_else(|| "the session was changed meanwhile".to_owned());
        Error::OutcomeUnknown { reason }
    }

    /// Redis is not even asked.
    pub(crate) fn outage() -> Error {
        Error::Unavailable { reason: "Redis is away".to_owned() }
    }

    /// It was told to us before, and has yet to be told to the Redis that came back without it.
    pub(crate) fn repairing() -> Error {
        Error::Unavailable {
            reason: "Redis lost data a moment ago, and is being told what it lost".to_owned(),
        }
    }

    pub(crate) fn no_time() -> Error {
        Error::Unavailable {
            reason: "too many writers of one session, or a slow body, left no time for an attempt".to_owned(),
        }
    }

    pub(crate) fn crowded() -> Error {
        Error::Unavailable { reason: "too many writers wait for one session".to_owned() }
    }

    fn unexpected(reason: String) -> Error {
        if reason.contains("WRONGTYPE") { Error::Unreadable { reason } } else { Error::Internal { reason } }
    }

    /// The label of the error counter.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Error::MissingId | Error::InvalidId => "invalid_id",
            Error::NotFound => "not_found",
            Error::InvalidJson(_)
            | Error::InvalidRequest(_)
            | Error::UnsupportedMediaType(_)
            | Error::KeyReused => "invalid_request",
            Error::SlowBody => "slow_body",
            Error::TooLarge => "too_large",
            Error::UnfitPatch(_) | Error::PreconditionFailed { .. } => "precondition",
            Error::ClientIdRefused => "client_id_refused",
            Error::AddressMismatch => "address_mismatch",
            Error::CookiesDisabled => "cookies_disabled",
            Error::TooManySessions { .. } => "too_many",
            Error::Unreadable { .. } => "unreadable",
            Error::Unproven { .. } => "unproven",
            Error::VersionNotReached => "version_not_reached",
            Error::Unavailable { .. } => "unavailable",
            Error::OutcomeUnknown { .. } => "outcome_unknown",
            Error::Overloaded => "overloaded",
            Error::Internal { .. } => "internal",
        }
    }

    /// As `/v1` tells it; `/api/sessions` differs where the original does.
    pub(crate) fn problem(self) -> Problem {
        let (status, code) = match &self {
            Error::MissingId | Error::InvalidId => (StatusCode::BAD_REQUEST, "INVALID_SESSION_ID"),
            Error::NotFound => (StatusCode::NOT_FOUND, "SESSION_NOT_FOUND"),
            Error::InvalidJson(_) => (StatusCode::BAD_REQUEST, "INVALID_JSON"),
            Error::InvalidRequest(_) => (StatusCode::BAD_REQUEST, "INVALID_SESSION_REQUEST"),
            Error::SlowBody => (StatusCode::REQUEST_TIMEOUT, "REQUEST_TIMEOUT"),
            Error::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE"),
            Error::UnfitPatch(_) => (StatusCode::CONFLICT, "PATCH_CONFLICT"),
            Error::PreconditionFailed { .. } => (StatusCode::PRECONDITION_FAILED, "PRECONDITION_FAILED"),
            Error::KeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "IDEMPOTENCY_KEY_REUSED"),
            Error::UnsupportedMediaType(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE"),
            Error::ClientIdRefused => (StatusCode::FORBIDDEN, "CLIENT_ID_REFUSED"),
            Error::AddressMismatch => (StatusCode::FORBIDDEN, "ADDRESS_MISMATCH"),
            Error::CookiesDisabled => (StatusCode::FORBIDDEN, "COOKIES_DISABLED"),
            Error::TooManySessions { .. } => (StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_SESSIONS"),
            Error::Unreadable { .. } => (StatusCode::BAD_GATEWAY, "SESSION_UNREADABLE"),
            Error::Unavailable { .. } | Error::Unproven { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "SESSION_STORE_UNAVAILABLE")
            }
            Error::VersionNotReached => (StatusCode::SERVICE_UNAVAILABLE, "VERSION_NOT_REACHED"),
            Error::OutcomeUnknown { .. } => (StatusCode::SERVICE_UNAVAILABLE, "OUTCOME_UNKNOWN"),
            Error::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "OVERLOADED"),
            Error::Internal { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_SERVER_ERROR"),
        };
        let (cause, message) = (self.cause(), self.to_string());
        let mut problem = Problem { cause, ..Problem::new(status, code, message) };
        if let Error::TooManySessions { retry_after_s } = self {
            problem.retry_after_s = Some(retry_after_s);
        }
        Problem { current: self.current(), ..problem }
    }

    /// The session that a condition failed for, if what is stored is one.
    fn current(self) -> Option<Current> {
        let Error::PreconditionFailed { current: Some(document) } = self else { return None };
        let etag = document.etag();
        Node::parse(&document)
            .is_ok_and(|node| node.is_object())
            .then_some(Current { etag, document: document.to_string() })
    }

    fn cause(&self) -> Option<String> {
        match self {
            Error::Unreadable { reason }
            | Error::Unavailable { reason }
            | Error::OutcomeUnknown { reason }
            | Error::Internal { reason } => Some(reason.clone()),
            Error::Unproven { reason } => Some((*reason).to_owned()),
            _ => None,
        }
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Error {
        match invalid {
            Invalid::Syntax(_) | Invalid::TooDeep => Error::InvalidJson(invalid.to_string()),
            Invalid::TooLarge => Error::TooLarge,
            Invalid::NotObject(_) | Invalid::NotArray(_) => Error::InvalidRequest(invalid.to_string().into()),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        match refusal {
            Refusal::Unreadable(invalid) => Error::Unreadable { reason: invalid.to_string() },
            Refusal::Invalid(invalid) => invalid.into(),
            Refusal::Patch(error @ PatchError::Unfit { .. }) => Error::UnfitPatch(error.to_string()),
            Refusal::Patch(error) => Error::InvalidRequest(error.to_string().into()),
        }
    }
}
