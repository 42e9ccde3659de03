//! What keeps one pod's sidecar from being worn out: by connections, by requests, by bodies.

use std::time::Duration;

use tests::eventually::{check, eventually};
use tests::http::Request;
use tests::sidecar::Sidecar;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::common::{PROMPT, new_session, new_v1, pair, pair_with};
use crate::metrics::total;

/// A half-sent head is waited for 5 s, an answer that is not taken 10 s.
const SHOWN_OUT: Duration = Duration::from_secs(20);

/// 200 clients that send all but the end of the largest head there may be.
#[tokio::test]
async fn two_hundred_half_open_clients_cost_bounded_memory_and_are_shown_out() {
    let (_redis, sidecar) = pair().await;
    let before = sidecar.rss_bytes();
    let head = format!("GET /v1/sessions/x HTTP/1.1\r\nhost: x\r\nx: {}", "y".repeat(30_000));
    let mut half = Vec::new();
    for _ in 0..200 {
        let mut socket = TcpStream::connect(sidecar.app_address).await.unwrap();
        socket.write_all(head.as_bytes()).await.unwrap();
        half.push(socket);
    }
    for _ in 0..20 {
        let answer = sidecar.app.get("/api/sessions").await.expect(200);
        assert!(answer.elapsed < PROMPT, "{answer:?}");
    }
    let grown = sidecar.rss_bytes().saturating_sub(before);
    println!("200 half-open clients: {} KiB, {} KiB before", (before + grown) / 1024, before / 1024);
    // Each holds its head, and buffers grow by doubling.
    assert!(grown < 200 * 80 * 1024, "{grown} bytes for 200 half-open clients");
    for socket in &mut half {
        let ended = tests::lived::timeout(SHOWN_OUT, socket.read(&mut [0])).await.expect("shown out");
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    }
    sidecar.stop().await;
}

/// It asks for more and more, and takes none of it.
#[tokio::test]
async fn a_client_that_takes_no_answers_is_shown_out() {
    let (_redis, sidecar) = pair().await;
    let (id, _) = new_v1(&sidecar, &format!(r#"{{"a":"{}"}}"#, "x".repeat(60_000))).await;
    let get = format!("GET /v1/sessions/{id} HTTP/1.1\r\nhost: x\r\n\r\n").repeat(100);
    let mut deaf = TcpStream::connect(sidecar.app_address).await.unwrap();
    let shown_out = async {
        // Until what the kernel holds for both sides is full, and then until the connection breaks.
        while deaf.write_all(get.as_bytes()).await.is_ok() {}
    };
    tests::lived::timeout(SHOWN_OUT, shown_out).await.expect("the connection breaks");
    sidecar.stop().await;
}

/// There is room for three that send no more than the head of a write. Another request is refused, without effect.
#[tokio::test]
async fn more_requests_at_once_than_there_is_room_for_are_503_at_once() {
    let (_redis, sidecar) = pair_with(|settings| settings.env("HYPERPAGE_MAX_REQUESTS", "3")).await;
    let id = new_session(&sidecar).await;
    let path = format!("/v1/sessions/{id}");
    let answer = eventually("no room for another request", SHOWN_OUT, async || {
        let _slow = slow_bodies(&sidecar, &id, 9, 7).await;
        let answer = sidecar.app.get(&path).await;
        if answer.code() == "OVERLOADED" { Ok(answer) } else { Err(answer) }
    })
    .await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{answer:?}");
    assert!(total(&sidecar, "http_overloads_total").await >= 1.0);
    eventually("room again", SHOWN_OUT, async || {
        let answer = sidecar.app.get(&path).await;
        check(answer.status == 200, answer)
    })
    .await;
    sidecar.stop().await;
}

/// Writes of the session `id` that announce a body and send none of it.
async fn slow_bodies(sidecar: &Sidecar, id: &str, count: usize, length: usize) -> Vec<TcpStream> {
    let head = format!("PATCH /v1/sessions/{id} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n");
    let head = format!("{head}content-length: {length}\r\n\r\n");
    let mut slow = Vec::new();
    for _ in 0..count {
        let mut socket = TcpStream::connect(sidecar.app_address).await.unwrap();
        socket.write_all(head.as_bytes()).await.unwrap();
        slow.push(socket);
    }
    slow
}

/// 8 MB of bodies may be on their way at once. Each of these announces as much as a body may have and sends nothing.
#[tokio::test]
async fn more_bodies_at_once_than_there_is_room_for_are_503() {
    let (_redis, sidecar) = pair_with(|settings| settings.env("HYPERPAGE_MAX_REQUESTS", "1000")).await;
    let id = new_session(&sidecar).await;
    eventually("no room for another body", SHOWN_OUT, async || {
        // Each is given up after a second.
        let _slow = slow_bodies(&sidecar, &id, 80, 128 * 1024).await;
        let answer = sidecar.app.patch(&format!("/v1/sessions/{id}"), r#"{"a":1}"#).await;
        // What brings no body is served meanwhile.
        sidecar.app.get(&format!("/v1/sessions/{id}")).await.expect(200);
        check(answer.status == 503 && answer.code() == "OVERLOADED", answer)
    })
    .await;
    eventually("room again", SHOWN_OUT, async || {
        let answer = sidecar.app.patch(&format!("/v1/sessions/{id}"), r#"{"a":1}"#).await;
        check(answer.status == 200, answer)
    })
    .await;
    sidecar.stop().await;
}

/// 50 clients and more ask for 6 MB each and take nothing of it.
#[tokio::test]
async fn answers_about_many_sessions_cost_bounded_memory_whoever_takes_them() {
    const MOST: u64 = 128 << 20;
    let (_redis, sidecar) = pair().await;
    let fields = format!(r#"{{"userId":"u","a":"{}"}}"#, "x".repeat(60_000));
    let mut ids = Vec::new();
    for _ in 0..100 {
        ids.push(new_v1(&sidecar, &fields).await.0);
    }
    let before = sidecar.rss_bytes();
    let body = serde_json::json!({ "ids": ids }).to_string();
    let head = "POST /v1/sessions:batchGet HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    let listed = "/v1/users/u/sessions?contents=true";
    let mut deaf = Vec::new();
    eventually("there is no room for more", SHOWN_OUT, async || {
        for _ in 0..50 {
            let socket = TcpSocket::new_v4().unwrap();
            // Or the kernel would take most of it in their place.
            socket.set_recv_buffer_size(4096).unwrap();
            let mut socket = socket.connect(sidecar.app_address).await.unwrap();
            socket.write_all(request.as_bytes()).await.unwrap();
            deaf.push(socket);
        }
        let (got, listed) =
            tokio::join!(sidecar.app.post("/v1/sessions:batchGet", &body), sidecar.app.get(listed));
        for answer in [got, listed] {
            let refused = answer.code() == "OVERLOADED" && answer.header("retry-after") == Some("1");
            check(refused && answer.status == 503 && answer.elapsed < PROMPT, answer.status)?;
        }
        Ok::<(), String>(())
    })
    .await;
    assert!(total(&sidecar, "http_overloads_total").await >= 2.0);
    let grown = sidecar.rss_bytes().saturating_sub(before);
    let (clients, now) = (deaf.len(), (before + grown) >> 20);
    println!("{clients} clients that asked for 6 MB each: {now} MiB, {} MiB before", before >> 20);
    assert!(clients >= 50 && grown < MOST, "{grown} bytes for {clients} answers of 6 MB");
    // Who asks for little is served.
    sidecar.app.get(&format!("/v1/sessions/{}", ids[0])).await.expect(200);
    sidecar.app.get("/v1/users/u/sessions").await.expect(200);
    drop(deaf);
    eventually("there is room again", SHOWN_OUT, async || {
        for answer in [sidecar.app.post("/v1/sessions:batchGet", &body).await, sidecar.app.get(listed).await]
        {
            check(answer.status == 200, answer.status)?;
            let sessions = answer.json()["sessions"].as_array().map_or(0, Vec::len);
            check(sessions == 100, sessions)?;
        }
        Ok::<(), String>(())
    })
    .await;
    sidecar.stop().await;
}

/// The caller's trace is in the lines that its request causes, and the session's id is in none.
#[tokio::test]
async fn the_log_names_the_trace_of_a_request_and_never_its_session() {
    let (redis, sidecar) = pair().await;
    let id = "secret-of-somebody";
    redis.command::<()>(&["SET", &format!("hyperpage:session:{id}"), "no session"]).await.unwrap();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let get = || Request::new("GET", format!("/v1/sessions/{id}"));
    let traced = get().header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
    sidecar.app.send(traced).await.expect(502);
    sidecar.app.send(get().header("traceparent", "00-nonsense")).await.expect(502);
    let lines = eventually("both are told", PROMPT, async || {
        let logs = sidecar.logs();
        let lines: Vec<serde_json::Value> = logs
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .filter(|line: &serde_json::Value| line["code"] == "SESSION_UNREADABLE")
            .collect();
        if lines.len() == 2 { Ok(lines) } else { Err(logs) }
    })
    .await;
    assert_eq!(lines[0]["span"]["trace_id"], trace, "{lines:?}");
    assert!(lines[1].get("span").is_none(), "{lines:?}");
    assert!(!sidecar.logs().contains(id), "{}", sidecar.logs());
    sidecar.stop().await;
}
