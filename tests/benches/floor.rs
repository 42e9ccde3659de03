//! The floor that the sidecar is measured against: what an axum handler costs that asks Redis for one key and sends its
//! bytes. No limits, no digests, no deadlines, no metrics.
//!
//! `floor LISTEN REDIS_URL`

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let (listen, url) = args.next().zip(args.next()).context("usage: floor LISTEN REDIS_URL")?;
    #[expect(
        clippy::disallowed_methods,
        reason = "the floor is what the sidecar's connection is compared with"
    )]
    let client = redis::Client::open(url)?;
    let redis = client.get_multiplexed_async_connection().await?;
    let app = Router::new().route("/sessions/{id}", get(read)).with_state(redis);
    axum::serve(tokio::net::TcpListener::bind(listen).await?, app).await?;
    Ok(())
}

async fn read(State(mut redis): State<MultiplexedConnection>, Path(id): Path<String>) -> Response {
    match redis.get::<_, Option<Vec<u8>>>(format!("hyperpage:session:{id}")).await {
        Ok(Some(bytes)) => ([(header::CONTENT_TYPE, "application/json")], bytes).into_response(),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}
