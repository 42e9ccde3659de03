//! Serves a router on a listener: bounded, patient with idle connections, and done in time when told to stop.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware::map_response;
use axum::response::Response;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// When fewer places than this part of all are free, nobody keeps one for a request to come.
const SCARCE: usize = 8;

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub connections: usize,
    /// For the head of a request; also how long a connection may idle between two.
    pub head: Duration,
    /// Line and headers of a request; hyper wants 8 KiB at least.
    pub head_bytes: usize,
    /// For requests in flight, after the stop.
    pub drain: Duration,
}

/// Ends after `stop`: no new connection, no new request, and those in flight within `limits.drain`.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(limits.connections));
    let (free, scarce) = (places.clone(), limits.connections / SCARCE);
    let router = router.layer(map_response(move |mut response: Response| {
        if free.available_permits() < scarce {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        std::future::ready(response)
    }));
    loop {
        // More connections wait in the backlog.
        let Some(Ok(place)) = stop.run_until_cancelled(places.clone().acquire_owned()).await else { break };
        match stop.run_until_cancelled(listener.accept()).await {
            Some(Ok((stream, _))) => {
                let connection = connection(stream, router.clone(), limits, stop.clone(), place);
                connections.spawn(connection);
            }
            Some(Err(error)) => {
                // Out of file descriptors, mostly: they come back, and until then there is no use in haste.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            None => break,
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn connection(
    stream: TcpStream,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection ended before it began");
        return;
    }
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(limits.head_bytes);
    let connection = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let ended = match stop.run_until_cancelled(connection.as_mut()).await {
        Some(ended) => ended,
        None => {
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
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    async fn answer(socket: &mut TcpStream) -> String {
        socket.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"served") {
            assert!(timeout(SOON, socket.read_buf(&mut answer)).await.unwrap().unwrap() > 0, "{answer:?}");
        }
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn connections_are_kept_while_there_are_places() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(async || "served"));
        let limits = Limits { connections: 16, head: SOON, head_bytes: 8 * 1024, drain: SOON };
        let stop = CancellationToken::new();
        let served = tokio::spawn(serve(listener, router, limits, stop.clone()));
        let mut kept = Vec::new();
        // One place more may be taken: that of whoever comes next.
        for _ in 0..13 {
            let mut socket = TcpStream::connect(address).await.unwrap();
            assert!(!answer(&mut socket).await.contains("connection: close"));
            kept.push(socket);
        }
        kept.push(TcpStream::connect(address).await.unwrap());
        for _ in 0..16 {
            let mut last = TcpStream::connect(address).await.unwrap();
            assert!(answer(&mut last).await.contains("connection: close"));
            assert_eq!(timeout(SOON, last.read(&mut [0])).await.unwrap().unwrap(), 0);
        }
        stop.cancel();
        timeout(SOON, served).await.unwrap().unwrap();
    }
}
