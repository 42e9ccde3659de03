//! Serves a router on a listener: bounded, patient with idle connections, and done in time when told to stop.

mod patience;
mod turn;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderValue, Request, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
pub use patience::Patience;
use patience::{Patient, Places};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use turn::Turn;

/// When fewer places than this part of all are free, nobody keeps one for a request to come.
const SCARCE: usize = 8;
/// After the stop, for what was sent before it and is not read yet: requests, and connections in the backlog.
const UNREAD: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub connections: usize,
    pub patience: Patience,
    /// Line and headers of a request; hyper wants 8 KiB at least.
    pub head_bytes: usize,
    /// For requests in flight, after the stop.
    pub drain: Duration,
}

/// Ends after `stop`: who came before it is taken in from the backlog and answered once, and those in flight
/// end within `limits.drain`.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
    let connections = TaskTracker::new();
    let free = Arc::new(Semaphore::new(limits.connections));
    let places = Places { free: free.clone(), few: limits.connections / SCARCE };
    let closed = unread_after(&stop);
    tokio::pin!(closed);
    loop {
        let (place, accepted) = tokio::select! {
            biased;
            () = &mut closed => break,
            next = next(&listener, &free) => next,
        };
        match accepted {
            Ok(stream) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "a connection ended before it began");
                    continue;
                }
                let (turn, places) = (Turn::default(), places.clone());
                let stream = Patient::new(stream, limits.patience, places.clone(), turn.clone());
                let answering = Answering { router: router.clone(), turn, places };
                let connection = connection(stream, answering, limits, stop.clone(), place);
                connections.spawn(connection);
            }
            Err(error) => {
                // Out of file descriptors, mostly: they come back, and until then there is no use in haste.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// A connection and the place it takes; more wait in the backlog.
async fn next(
    listener: &TcpListener,
    free: &Arc<Semaphore>,
) -> (OwnedSemaphorePermit, io::Result<TcpStream>) {
    let place = free.clone().acquire_owned().await.expect("it is never closed");
    (place, listener.accept().await.map(|(stream, _)| stream))
}

async fn unread_after(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(UNREAD).await;
}

/// What one connection's requests are answered with.
struct Answering {
    router: Router,
    turn: Turn,
    places: Places,
}

async fn connection(
    stream: Patient<TcpStream>,
    answering: Answering,
    limits: Limits,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
) {
    let Answering { router, turn, places } = answering;
    let (router, places, stop) = (TowerToHyperService::new(router), &places, &stop);
    let service = service_fn(|request: Request<Incoming>| {
        let (serving, answer) = (turn.begin(), router.call(request));
        async move {
            let mut response = answer.await?;
            if places.are_scarce() || stop.is_cancelled() {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(serving.until_sent(response))
        }
    });
    let mut server = http1::Builder::new();
    // The stream itself knows how long to wait.
    server.header_read_timeout(None).max_buf_size(limits.head_bytes);
    let connection = server.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = unread_after(stop) => {
            connection.as_mut().graceful_shutdown();
            let Ok(ended) = timeout(limits.drain, connection).await else {
                tracing::warn!("a request in flight was given up");
                return;
            };
            ended
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
    }
}

#[cfg(test)]
mod tests;
