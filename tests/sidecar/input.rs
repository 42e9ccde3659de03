//! Bad input: a clear error, nothing lost, nobody dead.

use std::time::Duration;

use tests::http::Request;
use tests::sidecar::Sidecar;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{PROMPT, new_session, pair};

/// Every way to send a body for the session `id`.
fn writes(id: &str) -> Vec<Request> {
    let json = "application/json";
    vec![
        Request::new("POST", "/api/sessions").header("content-type", json),
        Request::new("PATCH", format!("/api/sessions?sessionId={id}")).header("content-type", json),
        Request::new("POST", "/v1/sessions").header("content-type", json),
        Request::new("PUT", format!("/v1/sessions/{id}")).header("content-type", json),
        Request::new("PATCH", format!("/v1/sessions/{id}")).header("content-type", json),
        Request::new("PATCH", format!("/v1/sessions/{id}"))
            .header("content-type", "application/merge-patch+json"),
        Request::new("PATCH", format!("/v1/sessions/{id}"))
            .header("content-type", "application/json-patch+json"),
    ]
}

/// Each body, sent in each way, is refused with one of these statuses and a code, and changes nothing.
async fn refused(bodies: &[(&str, Vec<u8>)], statuses: &[u16]) {
    let (redis, sidecar) = pair().await;
    let id = new_session(&sidecar).await;
    let before = redis.session(&id).await;
    for (name, body) in bodies {
        for request in writes(&id) {
            let what = format!("{name} by {} {}", request.method, request.path);
            let answer = sidecar.app.send(request.body(body.clone())).await;
            assert!(statuses.contains(&answer.status), "{what}: {answer:?}");
            assert!(!answer.code().is_empty(), "{what}: {answer:?}");
            assert!(answer.elapsed < PROMPT, "{what}: {answer:?}");
            assert_eq!(redis.session(&id).await, before, "{what}");
        }
    }
    sidecar.stop().await;
}

fn text(name: &'static str, body: &str) -> (&'static str, Vec<u8>) {
    (name, body.as_bytes().to_vec())
}

#[tokio::test]
async fn malformed_json_is_400() {
    let bodies = [
        text("unclosed", "{oops"),
        text("two values", "{} {}"),
        text("trailing comma", r#"{"a":1,}"#),
        text("single quotes", "{'a':1}"),
        text("not a number", r#"{"a":NaN}"#),
        text("leading zero", r#"{"a":01}"#),
        text("raw control character", "{\"a\":\"\u{1}\"}"),
        text("comment", "{/**/}"),
        text("byte order mark", "\u{feff}{"),
        ("invalid UTF-8", b"{\"a\":\"\xff\xfe\"}".to_vec()),
        ("overlong UTF-8", b"{\"a\":\"\xc0\xaf\"}".to_vec()),
        ("NUL", b"\0".to_vec()),
    ];
    refused(&bodies, &[400]).await;
}

#[tokio::test]
async fn wrong_types_are_400() {
    let bodies =
        [text("null", "null"), text("number", "7"), text("string", r#""abc""#), text("true", "true")];
    refused(&bodies, &[400]).await;
}

#[tokio::test]
async fn depth_bombs_are_refused() {
    let objects = |depth: usize| r#"{"a":"#.repeat(depth) + "1" + &"}".repeat(depth);
    let arrays = |depth: usize| format!(r#"{{"a":{}1{}}}"#, "[".repeat(depth), "]".repeat(depth));
    let bodies = [
        text("40 objects", &objects(40)),
        text("10 000 objects", &objects(10_000)),
        text("40 arrays", &arrays(40)),
        text("50 000 arrays", &arrays(50_000)),
        text("50 000 open arrays", &"[".repeat(50_000)),
    ];
    refused(&bodies, &[400]).await;
}

#[tokio::test]
async fn bodies_of_a_megabyte_are_413() {
    let big = format!(r#"{{"sessionId":"x","a":"{}"}}"#, "x".repeat(1 << 20));
    refused(&[text("1 MB", &big), ("1 MB of spaces", vec![b' '; 1 << 20])], &[413]).await;
}

#[tokio::test]
async fn a_document_never_grows_beyond_64_kb() {
    let (redis, sidecar) = pair().await;
    let id = new_session(&sidecar).await;
    let path = format!("/v1/sessions/{id}");
    let chunk = "x".repeat(20_000);
    let mut refused = 0;
    for number in 0..6 {
        let answer = sidecar.app.patch(&path, format!(r#"{{"c{number}":"{chunk}"}}"#)).await;
        if answer.status != 200 {
            assert_eq!((answer.status, answer.code().as_str()), (413, "PAYLOAD_TOO_LARGE"), "{answer:?}");
            refused += 1;
        }
    }
    assert_eq!(refused, 3, "three chunks of 20 KB fit into 64 KB");
    assert!(redis.session(&id).await.unwrap().len() <= 64 * 1024);
    sidecar.stop().await;
}

#[tokio::test]
async fn ids_of_ten_kilobytes_and_odd_characters_are_400() {
    let (redis, sidecar) = pair().await;
    let long = "x".repeat(10_240);
    let ids = [
        long.as_str(),
        &long[..129],
        "a%7Bb%7D",
        "a%2Fb",
        "%00",
        "%FF%FE",
        "%C3%BC",
        "a%20b",
        "..%2F..",
        "a:b",
        "a%0d%0aSET",
    ];
    for id in ids {
        for request in [
            Request::new("GET", format!("/api/sessions?sessionId={id}")),
            Request::new("DELETE", format!("/api/sessions?sessionId={id}")),
            Request::new("PATCH", format!("/api/sessions?sessionId={id}")).json("{}"),
            Request::new("GET", format!("/v1/sessions/{id}")),
            Request::new("PUT", format!("/v1/sessions/{id}")).json("{}"),
            Request::new("POST", format!("/v1/sessions/{id}/touch")),
        ] {
            let answer = sidecar.app.send(request.clone()).await;
            let what = format!("{} {:.60}", request.method, request.path);
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (400, "INVALID_SESSION_ID"),
                "{what}: {answer:?}"
            );
        }
        let body = serde_json::json!({ "sessionId": id.replace('%', "!"), "updates": {} });
        let answer = sidecar.app.post("/api/sessions", body).await;
        if id.contains('%') || id.len() > 128 || id.contains(':') {
            assert_eq!(answer.status, 400, "{id:.60}: {answer:?}");
        }
    }
    let made: Vec<String> = redis.command(&["KEYS", "hyperpage:session:*"]).await.unwrap();
    assert!(made.is_empty(), "{made:?}");
    sidecar.stop().await;
}

#[tokio::test]
async fn duplicate_keys_and_unknown_fields_lose_nothing() {
    let (_redis, sidecar) = pair().await;
    let id = new_session(&sidecar).await;
    let path = format!("/v1/sessions/{id}");
    sidecar.app.patch(&path, r#"{"unknown":{"deep":[1]},"kept":1}"#).await.expect(200);
    // The last of two wins, as in JavaScript; or the body is refused. Never both stored.
    let answer = sidecar.app.patch(&path, r#"{"twice":1,"twice":2}"#).await;
    let body = sidecar.app.get(&path).await.body;
    match answer.status {
        200 => assert!(body.contains(r#""twice":2"#) && body.matches("twice").count() == 1, "{body}"),
        400 => assert!(!body.contains("twice"), "{body}"),
        _ => panic!("{answer:?}"),
    }
    assert!(body.contains(r#""unknown":{"deep":[1]},"kept":1"#), "{body}");
    sidecar.stop().await;
}

#[tokio::test]
async fn methods_and_paths_that_do_not_exist_are_405_and_404() {
    let (redis, sidecar) = pair().await;
    for (method, path, status) in [
        ("PUT", "/api/sessions", 405),
        ("POST", "/v1/sessions/x", 405),
        ("DELETE", "/v1/sessions", 405),
        ("GET", "/v1/sessions/x/touch", 405),
        ("BREW", "/v1/sessions", 405),
        ("GET", "/", 404),
        ("GET", "/api", 404),
        ("GET", "/v1", 404),
        ("GET", "/v1/sessions/x/y", 404),
        ("GET", "/metrics", 404),
    ] {
        let answer = sidecar.app.send(Request::new(method, path)).await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
    }
    let made: Vec<String> = redis.command(&["KEYS", "hyperpage:session:*"]).await.unwrap();
    assert!(made.is_empty(), "{made:?}");
    sidecar.stop().await;
}

/// What the socket answers to these bytes until it closes, or falls silent for a second.
async fn raw(sidecar: &Sidecar, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(sidecar.app_address).await.unwrap();
    // The other side may close before it has read all.
    let _ = socket.write_all(bytes).await;
    let mut answer = Vec::new();
    let quiet = Duration::from_secs(1);
    while let Ok(Ok(1..)) = tokio::time::timeout(quiet, socket.read_buf(&mut answer)).await {}
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn bytes_that_are_not_http_harm_nobody() {
    let (_redis, sidecar) = pair().await;
    let long_header = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
    let many_headers = format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(5000));
    let long_path = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "z".repeat(1 << 18));
    let cases: [&[u8]; 7] = [
        b"*1\r\n$4\r\nPING\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/sessions HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n{}",
        long_header.as_bytes(),
        many_headers.as_bytes(),
        long_path.as_bytes(),
    ];
    for case in cases {
        let answer = raw(&sidecar, case).await;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(status.is_empty() || status.starts_with('4') || status == "505", "{answer:.300}");
        sidecar.assert_sound();
    }
    new_session(&sidecar).await;
    sidecar.stop().await;
}

/// Requests in one packet are answered each and in order.
#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (_redis, sidecar) = pair().await;
    let id = new_session(&sidecar).await;
    let get = format!("GET /v1/sessions/{id} HTTP/1.1\r\nhost: x\r\n\r\n");
    let patch = |n: u32| {
        let body = format!(r#"{{"n":{n}}}"#);
        let head =
            format!("PATCH /v1/sessions/{id} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n");
        format!("{head}content-length: {}\r\n\r\n{body}", body.len())
    };
    let all: String = (1..=20).map(|n| patch(n) + &get).collect();
    let answer = raw(&sidecar, all.as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 40, "{answer:.500}");
    let places: Vec<_> = (1..=20).map(|n| answer.rfind(&format!(r#""n":{n}}}"#)).unwrap_or(0)).collect();
    assert!(places.is_sorted() && places[0] > 0, "{places:?}");
    sidecar.stop().await;
}

/// Clients that send a byte now and then hold nobody else up, and are not waited for at the end.
#[tokio::test]
async fn slow_requests_hold_nobody_up() {
    let (_redis, sidecar) = pair().await;
    let mut slow = Vec::new();
    for _ in 0..100 {
        let mut socket = TcpStream::connect(sidecar.app_address).await.unwrap();
        socket.write_all(b"POST /v1/sessions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{").await.unwrap();
        slow.push(socket);
        let mut socket = TcpStream::connect(sidecar.app_address).await.unwrap();
        socket.write_all(b"GET /v1/ses").await.unwrap();
        slow.push(socket);
    }
    for _ in 0..20 {
        let answer = sidecar.app.get("/api/sessions").await.expect(200);
        assert!(answer.elapsed < PROMPT, "{answer:?}");
    }
    sidecar.stop().await;
}

/// Anybody in the cluster's network can open these, and the kubelet restarts a pod whose probe nobody answers.
#[tokio::test]
async fn silent_connections_to_the_admin_port_hold_no_probe_up() {
    let (_redis, sidecar) = pair().await;
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(TcpStream::connect(sidecar.admin_address).await.unwrap());
    }
    for _ in 0..3 {
        let answer = sidecar.admin.get("/healthz").await.expect(200);
        assert!(answer.elapsed < Duration::from_secs(1), "{answer:?}");
    }
    // Nor do they stay: whoever says nothing is shown out.
    let closed = tests::lived::timeout(Duration::from_secs(8), silent[0].read(&mut [0])).await;
    assert!(matches!(closed, Ok(Ok(0) | Err(_))), "{closed:?}");
    sidecar.stop().await;
}
