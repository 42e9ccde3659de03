//! A way to the API server that counts the writes made through it, and can shut after any of them: what happens when
//! the operator ends between two writes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use crate::apiserver::kubeconfig;

/// Requests are forwarded under the client's name. Writes pass one at a time.
pub struct Door {
    url: String,
    writes: watch::Receiver<usize>,
    serve: JoinHandle<()>,
}

struct Inner {
    client: Client,
    /// The last write that passes; its answer does not.
    last: usize,
    writes: watch::Sender<usize>,
    turn: Mutex<()>,
}

impl Door {
    pub async fn open(client: Client) -> Result<Self> {
        Self::shutting_after(usize::MAX, client).await
    }

    pub async fn shutting_after(last: usize, client: Client) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let (tell, writes) = watch::channel(0);
        let inner = Arc::new(Inner { client, last, writes: tell, turn: Mutex::new(()) });
        let router = Router::new().fallback(pass).with_state(inner);
        let serve = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                eprintln!("the door to the API server: {error}");
            }
        });
        Ok(Self { url, writes, serve })
    }

    /// How many writes went through, those of Leases apart.
    pub fn writes(&self) -> usize {
        *self.writes.borrow()
    }

    /// Waits until it has shut.
    pub async fn shut(&self, last: usize) {
        let mut writes = self.writes.clone();
        // The sender lives as long as the server that holds it.
        let _ = writes.wait_for(|writes| *writes >= last).await;
    }

    /// A kubeconfig that leads through it.
    pub fn kubeconfig(&self, dir: &Path) -> Result<PathBuf> {
        let file = dir.join("door.kubeconfig");
        std::fs::write(&file, kubeconfig(&self.url, None, "unused").to_string())?;
        Ok(file)
    }
}

impl Inner {
    fn is_shut(&self) -> bool {
        *self.writes.borrow() >= self.last
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.serve.abort();
    }
}

async fn pass(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    if request.method() == Method::GET || request.uri().path().contains("/leases") {
        return forward(&inner.client, request).await;
    }
    let _turn = inner.turn.lock().await;
    if inner.is_shut() {
        return std::future::pending().await;
    }
    let answer = forward(&inner.client, request).await;
    inner.writes.send_modify(|writes| *writes += 1);
    if inner.is_shut() { std::future::pending().await } else { answer }
}

async fn forward(client: &Client, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    // The client knows the way, and under whose name.
    for header in ["host", "authorization"] {
        parts.headers.remove(header);
    }
    let answer = async {
        let body = axum::body::to_bytes(body, usize::MAX).await?;
        let request = axum::http::Request::from_parts(parts, body.to_vec().into());
        anyhow::Ok(client.send(request).await?.map(Body::new))
    };
    answer.await.unwrap_or_else(|error| (StatusCode::BAD_GATEWAY, error.to_string()).into_response())
}
