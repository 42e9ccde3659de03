//! Bodies that come slowly: a clear end for those that take too long, and the same time for everybody's answer.

use std::time::{Duration, Instant};

use tests::sidecar::Sidecar;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{PROMPT, new_session, pair};

const BODY: &str = r#"{"a":1}"#;

/// Sends the head, after `pause` the body, if any, and returns the answer with how long it took since the head.
async fn slowly(sidecar: &Sidecar, head: &str, pause: Duration, body: &str) -> (String, Duration) {
    let mut socket = TcpStream::connect(sidecar.app_address).await.unwrap();
    let head = format!(
        "{head} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        BODY.len()
    );
    let start = Instant::now();
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let exchange = async {
        // The clock of the test: it is the slow client.
        tokio::time::sleep(pause).await;
        socket.write_all(body.as_bytes()).await.unwrap();
        socket.read_to_end(&mut answer).await
    };
    tests::lived::timeout(Duration::from_secs(10), exchange).await.expect("an answer").unwrap();
    (String::from_utf8(answer).unwrap(), start.elapsed())
}

#[tokio::test]
async fn a_body_that_takes_longer_than_a_second_is_408() {
    let (redis, sidecar) = pair().await;
    let id = new_session(&sidecar).await;
    let before = redis.session(&id).await;
    let heads = [
        "POST /api/sessions".to_owned(),
        format!("PATCH /api/sessions?sessionId={id}"),
        "POST /v1/sessions".to_owned(),
        format!("PUT /v1/sessions/{id}"),
        format!("PATCH /v1/sessions/{id}"),
    ];
    let answers = heads.iter().map(|head| slowly(&sidecar, head, Duration::ZERO, "{"));
    for (head, (answer, took)) in heads.iter().zip(futures::future::join_all(answers).await) {
        assert!(answer.starts_with("HTTP/1.1 408 "), "{head}: {answer}");
        assert!(answer.contains(r#""code":"REQUEST_TIMEOUT""#), "{head}: {answer}");
        assert!(answer.contains("the body did not arrive within 1 s"), "{head}: {answer}");
        assert!(took < PROMPT, "{head}: {took:?}");
    }
    assert_eq!(redis.session(&id).await, before);
    sidecar.stop().await;
}

/// The time for a write begins with its head. Each of these waits for the others, and Redis answers none.
#[tokio::test]
async fn a_slow_body_is_part_of_the_time_for_its_answer() {
    let (redis, sidecar) = pair().await;
    let id = new_session(&sidecar).await;
    let head = format!("PATCH /v1/sessions/{id}");
    let pause = Duration::from_millis(800);
    let (answer, _) = slowly(&sidecar, &head, pause, BODY).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    redis.hang();
    let writes = (0..20).map(|_| slowly(&sidecar, &head, pause, BODY));
    for (answer, took) in futures::future::join_all(writes).await {
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("SESSION_STORE_UNAVAILABLE"), "{answer}");
        assert!(took < 2 * pause, "{took:?}: {answer}");
    }
    redis.resume();
    sidecar.stop().await;
}
