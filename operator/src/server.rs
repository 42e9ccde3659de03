//! Probes and metrics.

use std::{sync::Arc, time::Instant};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use tokio::net::TcpListener;

use crate::{health::Health, metrics::Metrics};

#[derive(Clone)]
struct Admin {
    health: Arc<Health>,
    metrics: Arc<Metrics>,
}

/// Serves for as long as the process lives: probes are asked until the end.
pub async fn serve(listener: TcpListener, health: Arc<Health>, metrics: Arc<Metrics>) -> std::io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(export))
        .with_state(Admin { health, metrics });
    axum::serve(listener, router).await
}

async fn ready(State(admin): State<Admin>) -> (StatusCode, String) {
    match admin.health.trouble(Instant::now()) {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(trouble) => (StatusCode::SERVICE_UNAVAILABLE, format!("{trouble}\n")),
    }
}

async fn export(State(admin): State<Admin>) -> impl IntoResponse {
    let kind = [("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    match admin.metrics.encode(Instant::now()) {
        Ok(text) => (StatusCode::OK, kind, text),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, kind, String::new()),
    }
}
