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
use tracing::{Instrument, Span};

use crate::app::App;
use crate::error::Problem;
use crate::in_flight::discard;
use crate::metrics::Http;
use crate::{barrier, bus, cache, coordination, leader, pods, session, trace};

/// Every request is answered within two seconds, whoever is slow; what is left is for the way. But for the answers
/// that are there to wait.
const ANSWER: Duration = Duration::from_millis(1_800);

pub fn router(app: App) -> Router {
    let soon = Router::new()
        .merge(session::api::router())
        .merge(session::v1::router())
        .merge(session::cookie::router())
        .merge(session::bulk::router())
        .merge(pods::router())
        .merge(bus::http::soon())
        .merge(leader::soon())
        .merge(barrier::router())
        .merge(cache::router())
        .layer(from_fn_with_state(app.clone(), answer));
    let lasting =
        Router::new().merge(bus::http::lasting()).layer(from_fn_with_state(app.clone(), answer_lasting));
    let either = Router::new().merge(leader::either()).layer(from_fn_with_state(app.clone(), answer_either));
    soon.merge(lasting).merge(either).with_state(app)
}

/// Counts, and sees to it that there is an answer.
async fn answer(State(app): State<App>, request: Request, next: Next) -> Response {
    let asked = Asked::of(&request);
    let method = asked.method.clone();
    let made = async {
        match app.in_flight.enter(request.body()) {
            Some(_place) => made(&app.http, &method, Box::pin(next.run(request))).await,
            None => {
                app.http.overloaded();
                Box::pin(discard(request.into_body())).await;
                Err(session::Error::Overloaded.problem())
            }
        }
    };
    asked.answered(&app.http, made).await
}

/// As the request wants it.
async fn answer_either(state: State<App>, request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let waits = query.split('&').any(|parameter| parameter.starts_with("wait="));
    if waits || leader::wants_events(request.headers()) {
        answer_lasting(state, request, next).await
    } else {
        answer(state, request, next).await
    }
}

/// The same, for an answer that takes its time: nothing is read but the head of its request.
async fn answer_lasting(State(app): State<App>, request: Request, next: Next) -> Response {
    let asked = Asked::of(&request);
    let made = async {
        let Some(place) = app.streams.enter() else {
            app.http.overloaded();
            return Err(coordination::Error::TooManyStreams.problem());
        };
        match AssertUnwindSafe(Box::pin(next.run(request))).catch_unwind().await {
            Ok(response) => Ok(place.until_sent(response, &app.http, &app.lifecycle.draining)),
            Err(_panic) => {
                app.http.panicked();
                Err(panicked())
            }
        }
    };
    asked.answered(&app.http, made).await
}

/// What is known of a request before it is answered.
struct Asked {
    start: Instant,
    method: Method,
    route: Option<MatchedPath>,
    refuse: fn(Problem) -> Response,
    span: Span,
}

impl Asked {
    fn of(request: &Request) -> Asked {
        let v1 = request.uri().path().starts_with("/v1");
        Asked {
            start: Instant::now(),
            method: request.method().clone(),
            route: request.extensions().get::<MatchedPath>().cloned(),
            refuse: if v1 { Problem::into_problem_details } else { Problem::into_envelope },
            span: trace::span(request.headers()),
        }
    }

    async fn answered(self, http: &Http, made: impl Future<Output = Result<Response, Problem>>) -> Response {
        let Asked { start, method, route, refuse, span } = self;
        let response = async { made.await.unwrap_or_else(refuse) }.instrument(span).await;
        let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
        http.answered(route, label(&method), response.status().as_u16(), start.elapsed());
        response
    }
}

async fn made(
    http: &Http,
    method: &Method,
    answer: impl Future<Output = Response>,
) -> Result<Response, Problem> {
    match timeout(ANSWER, AssertUnwindSafe(answer).catch_unwind()).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(_panic)) => {
            http.panicked();
            Err(panicked())
        }
        Err(_) => Err(late(method)),
    }
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
    use axum::body::Body;
    use axum::middleware::from_fn;
    use axum::routing::get;
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::metrics::Metrics;

    /// No request is known that makes a handler of ours panic: this one does so for all.
    #[tokio::test]
    async fn a_handler_that_panics_is_counted_and_answered_500() {
        let mut registry = Registry::default();
        let http = Http::new(&mut registry);
        let panics = get(async || -> &'static str { panic!("a defect") });
        let guarded = move |request: Request, next: Next| {
            let http = http.clone();
            async move {
                let method = request.method().clone();
                made(&http, &method, next.run(request)).await.unwrap_or_else(Problem::into_envelope)
            }
        };
        let router = Router::<()>::new().route("/", panics).layer(from_fn(guarded));
        let service = TowerToHyperService::new(router);
        for _ in 0..2 {
            let answer = service.call(Request::new(Body::empty())).await.unwrap();
            assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        }
        let counted = Metrics::new(registry).encode().unwrap();
        assert!(counted.contains("\nhyperpage_http_panics_total 2\n"), "{counted}");
    }

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
