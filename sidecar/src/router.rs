//! Every route of the app's port on one page, and what holds for all of them.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use futures::FutureExt;
use tokio::time::timeout;

use crate::app::App;
use crate::error::Problem;
use crate::metrics::Http;
use crate::session;

/// Every request is answered within two seconds, whoever is slow; what is left is for the way.
const ANSWER: Duration = Duration::from_millis(1_800);

pub fn router(app: App) -> Router {
    let http = app.http.clone();
    Router::new()
        .merge(session::api::router())
        .merge(session::v1::router())
        .merge(session::bulk::router())
        .layer(from_fn_with_state(http, answer))
        .with_state(app)
}

/// Counts, and sees to it that there is an answer.
async fn answer(State(http): State<Http>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let problem =
        request.uri().path().starts_with("/v1").then_some(Problem::into_problem_details as fn(_) -> _);
    let problem = problem.unwrap_or(Problem::into_envelope);
    let response = match timeout(ANSWER, AssertUnwindSafe(next.run(request)).catch_unwind()).await {
        Ok(Ok(response)) => response,
        Ok(Err(_panic)) => {
            http.panicked();
            problem(panicked())
        }
        Err(_) => problem(late(&method)),
    };
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    http.answered(route, label(&method), response.status().as_u16(), start.elapsed());
    response
}

pub(crate) fn panicked() -> Problem {
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "INTERNAL_SERVER_ERROR",
        "internal error; the log has more",
    )
}

/// A read has no outcome that anybody could not know.
pub(crate) fn late(method: &Method) -> Problem {
    let (code, message) = if method.is_safe() {
        ("SESSION_STORE_UNAVAILABLE", "the request took too long; try again")
    } else {
        ("OUTCOME_UNKNOWN", "the request took too long; a change may or may not have happened")
    };
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, message)
}

/// A client may invent methods, and labels are kept for ever.
fn label(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "POST", "PATCH", "PUT", "DELETE", "HEAD", "OPTIONS"];
    KNOWN.into_iter().find(|known| method == known).unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invented_methods_are_one_label() {
        assert_eq!(label(&Method::PATCH), "PATCH");
        assert_eq!(label(&Method::from_bytes(b"BREW").unwrap()), "other");
    }

    #[test]
    fn only_a_late_write_has_an_unknown_outcome() {
        for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
            assert_eq!(late(&method).code, "SESSION_STORE_UNAVAILABLE", "{method}");
        }
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            assert_eq!(late(&method).code, "OUTCOME_UNKNOWN", "{method}");
        }
    }
}
