//! A way to the API server that counts the writes made through it, and can shut after any of them: what happens when
//! the operator ends between two writes. Or it refuses, as a server with too much to do.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

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
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    /// The last write that passes; its answer does not.
    last: usize,
    writes: watch::Sender<usize>,
    turn: Mutex<()>,
    refuses: AtomicBool,
    refused: AtomicUsize,
}

impl Door {
    pub async fn open(client: Client) -> Result<Self> {
        Self::shutting_after(usize::MAX, client).await
    }

    pub async fn shutting_after(last: usize, client: Client) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let (tell, writes) = watch::channel(0);
        let inner = Inner {
            client,
            last,
            writes: tell,
            turn: Mutex::new(()),
            refuses: AtomicBool::new(false),
            refused: AtomicUsize::new(0),
        };
        let inner = Arc::new(inner);
        let router = Router::new().fallback(pass).with_state(inner.clone());
        let serve = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                eprintln!("the door to the API server: {error}");
            }
        });
        Ok(Self { url, writes, serve, inner })
    }

    /// How many writes went through, those of Leases apart.
    pub fn writes(&self) -> usize {
        *self.writes.borrow()
    }

    /// From now on, or no more: 429 to all that is asked but Leases. Watches go on.
    pub fn refuse(&self, refuses: bool) {
        self.inner.refuses.store(refuses, Ordering::SeqCst);
    }

    /// How many requests were.
    pub fn refused(&self) -> usize {
        self.inner.refused.load(Ordering::SeqCst)
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
    let lease = request.uri().path().contains("/leases");
    if !lease && inner.refuses.load(Ordering::SeqCst) {
        inner.refused.fetch_add(1, Ordering::SeqCst);
        let patience = [("retry-after", "1")];
        return (StatusCode::TOO_MANY_REQUESTS, patience, "Too many requests.").into_response();
    }
    if lease || request.method() == Method::GET {
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
