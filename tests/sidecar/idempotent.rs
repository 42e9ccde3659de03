//! `Idempotency-Key`: however often and wherever a request comes, it takes effect once.

use tests::http::{Answer, Request};
use tests::proxy::{Mode, Proxy};
use tests::redis::RedisServer;
use tests::sidecar::{Settings, Sidecar};

use crate::common::{RECOVERY, new_v1, pair};
use crate::metrics::total;

async fn two() -> (RedisServer, [Sidecar; 2]) {
    let redis = RedisServer::start().await;
    let settings = Settings::redis(redis.url());
    let (one, other) = tokio::join!(Sidecar::start(&settings), Sidecar::start(&settings));
    (redis, [one, other])
}

fn append(path: &str, number: usize) -> Request {
    let body = format!(r#"[{{"op":"add","path":"/log/-","value":{number}}}]"#);
    Request::new("PATCH", path).header("content-type", "application/json-patch+json").body(body)
}

async fn log(sidecar: &Sidecar, path: &str) -> serde_json::Value {
    sidecar.app.get(path).await.expect(200).json()["log"].clone()
}

#[track_caller]
fn assert_replayed(answer: &Answer, first: &Answer) {
    assert_eq!(answer.status, first.status, "{answer:?}");
    assert_eq!(answer.header("idempotency-replayed"), Some("true"), "{answer:?}");
    assert_eq!(first.header("idempotency-replayed"), None, "{first:?}");
    for name in ["etag", "location"] {
        assert_eq!(answer.header(name), first.header(name), "{answer:?}");
    }
}

#[tokio::test]
async fn a_key_is_replayed_across_pods_with_what_became_of_the_first_request() {
    let (_redis, [one, other]) = two().await;
    let create =
        Request::new("POST", "/v1/sessions").json(r#"{"log":[]}"#).header("idempotency-key", "create");
    let created = one.app.send(create.clone()).await.expect(201);
    let again = other.app.send(create.clone()).await;
    assert_replayed(&again, &created);
    assert_eq!(again.body, created.body);
    let path = created.header("location").unwrap().to_owned();

    // Judged again, its own effect would be a reason to refuse it.
    let patch = append(&path, 1).header("if-match", created.etag()).header("idempotency-key", "patch");
    let put = Request::new("PUT", &path).json(r#"{"log":[7]}"#).header("idempotency-key", "put");
    for (request, other_body) in [(patch, "[]"), (put, r#"{"log":[9]}"#)] {
        let first = one.app.send(request.clone()).await.expect(200);
        let again = other.app.send(request.clone()).await;
        assert_replayed(&again, &first);
        assert_eq!(again.body, first.body);
        one.app.patch(&path, r#"{"since":1}"#).await.expect(200);
        let late = other.app.send(request.clone()).await;
        assert_replayed(&late, &first);
        assert_eq!(late.body, "", "what it wrote is there no more");
        let reused = other.app.send(request.body(other_body)).await.expect(422);
        assert_eq!(reused.code(), "IDEMPOTENCY_KEY_REUSED");
    }
    assert_eq!(log(&one, &path).await, serde_json::json!([7]));
    assert_eq!(other.app.send(create.clone().body("{}")).await.expect(422).code(), "IDEMPOTENCY_KEY_REUSED");

    let delete = Request::new("DELETE", &path).header("idempotency-key", "delete");
    let deleted = one.app.send(delete.clone()).await.expect(204);
    assert_replayed(&other.app.send(delete).await, &deleted);
    one.app.delete(&path).await.expect(404);
    assert_replayed(&other.app.send(create).await, &created);
    other.app.get(&path).await.expect(404);
    assert!(total(&other, "sessions_replayed_total").await >= 6.0);
    one.stop().await;
    other.stop().await;
}

/// The client learns through another pod what the first could not say.
#[tokio::test]
async fn a_key_tells_what_became_of_a_request_whose_answer_was_lost() {
    let redis = RedisServer::start().await;
    let proxy = Proxy::start(redis.port()).await;
    let behind = Sidecar::start(&Settings::redis(proxy.url())).await;
    let other = Sidecar::start(&Settings::redis(redis.url())).await;
    let (id, _) = new_v1(&behind, r#"{"log":[]}"#).await;
    let path = format!("/v1/sessions/{id}");
    // Redis knows the scripts then.
    behind.app.send(append(&path, 0).header("idempotency-key", "0")).await.expect(200);
    for number in 1..4_usize {
        let request = append(&path, number).header("idempotency-key", number.to_string());
        // With what nobody answers any more.
        proxy.set(Mode::Mute("EVALSHA"));
        let lost = behind.app.send(request.clone()).await.expect(503);
        proxy.set(Mode::Pass);
        let answer = other.app.send(request.clone()).await.expect(200);
        // The first pod had not got to the write, or nobody but Redis knows that it had.
        let replayed = answer.header("idempotency-replayed").is_some();
        assert!(!replayed || lost.code() == "OUTCOME_UNKNOWN", "{lost:?} {answer:?}");
        behind.serving(RECOVERY).await;
        behind.app.send(request).await.expect(200);
        assert_eq!(log(&other, &path).await, serde_json::json!((0..=number).collect::<Vec<_>>()));
        proxy.set(Mode::Mute("}:m"));
        let blind = append(&path, number).header("idempotency-key", number.to_string());
        behind.app.send(blind).await.expect(503);
        proxy.set(Mode::Pass);
        behind.serving(RECOVERY).await;
        assert_eq!(log(&other, &path).await, serde_json::json!((0..=number).collect::<Vec<_>>()));
    }
    behind.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn of_concurrent_requests_under_one_key_one_takes_effect() {
    let (_redis, sidecars) = two().await;
    for round in 0..5 {
        let create = Request::new("POST", "/v1/sessions").json(r#"{"log":[]}"#);
        let create = create.header("idempotency-key", format!("create-{round}"));
        let creates = (0..20).map(|number| sidecars[number % 2].app.send(create.clone()));
        let created = futures::future::join_all(creates).await;
        let path = created[0].header("location").unwrap().to_owned();
        for answer in &created {
            assert_eq!((answer.status, answer.header("location")), (201, Some(path.as_str())), "{answer:?}");
            assert_eq!(answer.etag(), created[0].etag(), "{answer:?}");
        }
        let patch = append(&path, round).header("idempotency-key", "patch");
        let patches = (0..20).map(|number| sidecars[number % 2].app.send(patch.clone()));
        let patched = futures::future::join_all(patches).await;
        let firsts = patched.iter().filter(|answer| answer.header("idempotency-replayed").is_none()).count();
        assert_eq!(firsts, 1, "{patched:?}");
        for answer in &patched {
            assert_eq!((answer.status, answer.etag()), (200, patched[0].etag()), "{answer:?}");
        }
        assert_eq!(log(&sidecars[1], &path).await, serde_json::json!([round]));
    }
    for sidecar in sidecars {
        sidecar.stop().await;
    }
}

#[tokio::test]
async fn the_last_eight_keys_of_a_session_are_known_and_a_wrong_key_is_400() {
    let (_redis, sidecar) = pair().await;
    let (id, _) = new_v1(&sidecar, r#"{"log":[]}"#).await;
    let path = format!("/v1/sessions/{id}");
    let keyed = |number: usize| append(&path, number).header("idempotency-key", number.to_string());
    for number in 0..9 {
        sidecar.app.send(keyed(number)).await.expect(200);
    }
    for number in 1..9 {
        let answer = sidecar.app.send(keyed(number)).await.expect(200);
        assert_eq!(answer.header("idempotency-replayed"), Some("true"), "{number}");
    }
    let forgotten = sidecar.app.send(keyed(0)).await.expect(200);
    assert_eq!(forgotten.header("idempotency-replayed"), None);
    assert_eq!(log(&sidecar, &path).await, serde_json::json!([0, 1, 2, 3, 4, 5, 6, 7, 8, 0]));
    for wrong in ["", "a b", &"x".repeat(256)] {
        let answer = sidecar.app.send(append(&path, 0).header("idempotency-key", wrong)).await.expect(400);
        assert_eq!(answer.code(), "INVALID_SESSION_REQUEST");
    }
    sidecar.stop().await;
}
