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
}

impl Error {
    pub(crate) fn problem(self) -> Problem {
        let message = self.to_string();
        match self {
            Error::Disabled => Problem::new(StatusCode::NOT_FOUND, "COORDINATION_DISABLED", message),
            Error::TooManyStreams => {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "TOO_MANY_STREAMS", message)
            }
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        self.problem().into_problem_details()
    }
}
