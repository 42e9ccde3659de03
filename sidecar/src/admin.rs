//! The second port: probes, metrics, and the description of the first.

use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use crds::contract::path;
use serde_json::json;

use crate::app::App;
use crate::metrics::Metrics;
use crate::redis::Status;
use crate::session::Sessions;

/// Without Redis the app starts after this, and serves what it can.
const PATIENCE: Duration = Duration::from_secs(30);
const OPENAPI: &str = include_str!("../openapi.json");
const NO_STORE: (HeaderName, &str) = (header::CACHE_CONTROL, "no-store");

pub fn router(app: App, metrics: Metrics) -> Router {
    Router::new()
        .route(path::STARTUP, get(startup))
        .route(path::LIVE, get(async || "ok\n"))
        .route(path::READY, get(ready))
        .with_state(app)
        .route(path::METRICS, get(text).with_state(metrics))
        .route(path::OPENAPI, get(async || ([(header::CONTENT_TYPE, "application/json")], OPENAPI)))
}

/// Gates the app's start: it may call the sidecar with its first line.
async fn startup(State(app): State<App>) -> Response {
    let status = app.redis.status();
    let started = may_start(&status, app.lifecycle.started, Instant::now());
    let code = if started { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer(code, if started { "started" } else { "waiting for Redis" }, &status, &app.sessions)
}

fn may_start(status: &Status, started: Instant, now: Instant) -> bool {
    status.ever || now.saturating_duration_since(started) >= PATIENCE
}

/// An outage of Redis is no reason to take the pod out of the Service: every other pod has it too.
pub async fn ready(State(app): State<App>) -> Response {
    let status = app.redis.status();
    if app.lifecycle.draining.is_cancelled() {
        answer(StatusCode::SERVICE_UNAVAILABLE, "draining", &status, &app.sessions)
    } else if status.connected
        && app.coordination.as_ref().is_some_and(|coordination| coordination.bus().is_deaf())
    {
        // Other pods hear: what this one serves may be older than theirs.
        answer(StatusCode::SERVICE_UNAVAILABLE, "deaf", &status, &app.sessions)
    } else {
        answer(StatusCode::OK, "ready", &status, &app.sessions)
    }
}

fn answer(code: StatusCode, state: &str, status: &Status, sessions: &Sessions) -> Response {
    let Status { connected, ever: _, reason, warning, incoherent } = status;
    let body = json!({
        "status": state,
        "redis": { "connected": connected, "reason": reason, "warning": warning },
        // Whether sessions are served from memory, or else why each read goes to Redis.
        "l1": { "on": *connected && incoherent.is_none(), "reason": incoherent },
        "sessions": sessions.report(Instant::now()),
    });
    (code, [NO_STORE], axum::Json(body)).into_response()
}

async fn text(State(metrics): State<Metrics>) -> Response {
    const TYPE: (HeaderName, &str) =
        (header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    match metrics.encode() {
        Ok(text) => ([TYPE, NO_STORE], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_app_starts_with_the_first_pong_or_after_thirty_seconds() {
        let started = Instant::now();
        let status = |ever| Status { connected: false, ever, reason: None, warning: None, incoherent: None };
        assert!(may_start(&status(true), started, started));
        assert!(!may_start(&status(false), started, started + PATIENCE - Duration::from_millis(1)));
        assert!(may_start(&status(false), started, started + PATIENCE));
    }

    #[test]
    fn the_description_is_json() {
        let description: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        assert!(description["openapi"].as_str().unwrap().starts_with("3."));
    }
}
