//! Ordered stop: what is in flight is finished, within a deadline, and the exit code is 0.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tests::eventually::{check, eventually};
use tests::http::Http;
use tests::proxy::{Mode, Proxy};
use tests::redis::RedisServer;
use tests::sidecar::{Settings, Sidecar};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{new_session, pair};

/// A stop with nothing in flight.
const PROMPTLY: Duration = Duration::from_secs(3);
/// A stop with requests that never end; Kubernetes gives 30 s.
const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn sigterm_at_rest_exits_0_promptly() {
    let (_redis, sidecar) = pair().await;
    new_session(&sidecar).await;
    sidecar.terminate();
    assert_eq!(sidecar.exit(PROMPTLY).await, 0, "{}", sidecar.logs());
}

#[tokio::test]
async fn sigterm_without_redis_exits_0_promptly() {
    let redis = RedisServer::absent(&[]);
    let sidecar = Sidecar::spawn(&Settings::redis(redis.url())).await;
    sidecar.terminate();
    assert_eq!(sidecar.exit(PROMPTLY).await, 0, "{}", sidecar.logs());
}

/// Clients that say nothing, or half of something, are not waited for longer than the deadline.
#[tokio::test]
async fn idle_and_half_sent_requests_do_not_keep_it_from_stopping() {
    let (_redis, sidecar) = pair().await;
    let mut open = Vec::new();
    for bytes in [
        "",
        "GET /v1/ses",
        "POST /v1/sessions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{",
    ] {
        let mut socket = TcpStream::connect(sidecar.app_address).await.unwrap();
        socket.write_all(bytes.as_bytes()).await.unwrap();
        open.push(socket);
        open.push(TcpStream::connect(sidecar.admin_address).await.unwrap());
    }
    new_session(&sidecar).await;
    sidecar.terminate();
    assert_eq!(sidecar.exit(DEADLINE).await, 0, "{}", sidecar.logs());
}

/// While it drains, new pods' traffic goes elsewhere: /readyz says 503 and the request in flight is finished.
#[tokio::test]
async fn readyz_is_503_while_draining_and_the_request_in_flight_is_finished() {
    let redis = RedisServer::start().await;
    let proxy = Proxy::start(redis.port()).await;
    let sidecar = Sidecar::start(&Settings::redis(proxy.url())).await;
    // A body that is still coming holds the request in flight for as long as the test wants.
    let mut slow = TcpStream::connect(sidecar.app_address).await.unwrap();
    let head = "POST /v1/sessions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 7\r\n\r\n{\"a\"";
    slow.write_all(head.as_bytes()).await.unwrap();
    proxy.set(Mode::Delay(Duration::from_millis(20)));
    new_session(&sidecar).await;
    sidecar.terminate();
    // A new connection each time: an old one may be closed between two requests.
    eventually("/readyz says 503", PROMPTLY, async || {
        let answer = Http::new(sidecar.admin_address).get("/readyz").await;
        check(answer.status == 503, answer)
    })
    .await;
    slow.write_all(b":1}").await.unwrap();
    let mut answer = Vec::new();
    slow.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert_eq!(sidecar.exit(DEADLINE).await, 0, "{}", sidecar.logs());
    assert!(sidecar.logs().lines().count() < 100, "a stop is no flood of lines");
}

/// One client on one connection: writes, one after the other, until the connection ends. Every request sent
/// before the signal was in flight and must be answered. False: one of the last was answered with a refusal.
async fn client(
    mut socket: TcpStream,
    id: String,
    signalled: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
) -> bool {
    let body = r#"{"n":1}"#;
    let head = format!("PATCH /v1/sessions/{id} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n");
    let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    loop {
        if socket.write_all(request.as_bytes()).await.is_err() {
            assert!(signalled.load(Ordering::SeqCst), "the connection broke before the signal");
            return true;
        }
        let before = !signalled.load(Ordering::SeqCst);
        let answer = response(&mut socket).await;
        if answer.is_empty() {
            assert!(!before, "a request that was in flight at the signal got no answer");
            return true;
        }
        if answer.starts_with("HTTP/1.1 503") && before {
            continue;
        } else if answer.starts_with("HTTP/1.1 503") {
            println!("{answer}");
            return false;
        }
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        done.fetch_add(1, Ordering::SeqCst);
        if answer.to_ascii_lowercase().contains("connection: close") {
            return true;
        }
    }
}

/// One answer with a content length, or nothing if the connection ended before it.
async fn response(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_ascii_lowercase();
            let length = length.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return text;
            }
        }
        match socket.read_buf(&mut bytes).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return String::new(),
        }
    }
}

#[tokio::test]
async fn sigterm_under_load_fails_no_request_in_flight() {
    // Where the machine has no time for Redis either, a write is refused; not each time.
    for _ in 0..4 {
        if all_are_answered_well().await {
            return;
        }
    }
    panic!("writes are refused while the sidecar stops");
}

async fn all_are_answered_well() -> bool {
    let (_redis, sidecar) = pair().await;
    let signalled = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicUsize::new(0));
    let mut clients = Vec::new();
    for _ in 0..40 {
        let id = new_session(&sidecar).await;
        let socket = TcpStream::connect(sidecar.app_address).await.unwrap();
        clients.push(tokio::spawn(client(socket, id, signalled.clone(), done.clone())));
    }
    eventually("load", DEADLINE, async || check(done.load(Ordering::SeqCst) > 500, &done)).await;
    signalled.store(true, Ordering::SeqCst);
    let start = Instant::now();
    sidecar.terminate();
    let mut well = true;
    for client in clients {
        well &= tests::lived::timeout(DEADLINE, client).await.expect("every connection ends").unwrap();
    }
    assert_eq!(sidecar.exit(DEADLINE).await, 0, "{}", sidecar.logs());
    println!("{} requests, then stopped in {:?}", done.load(Ordering::SeqCst), start.elapsed());
    well
}
