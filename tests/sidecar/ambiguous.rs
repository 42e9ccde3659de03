//! Writes whose answer is lost on the way: each takes effect once, and its client is told what became of it.

use std::time::Duration;

use tests::eventually::{check, eventually};
use tests::http::{Answer, Request};
use tests::proxy::{Mode, Proxy};
use tests::redis::RedisServer;
use tests::sidecar::{Settings, Sidecar};

use crate::common::{PROMPT, RECOVERY, new_v1};

/// The answer to whatever names a session's sibling is lost, and so is all that comes after on that connection.
pub(crate) const LOSE_WRITES: Mode = Mode::Mute("}:m");

async fn behind_a_proxy() -> (RedisServer, Proxy, Sidecar) {
    let redis = RedisServer::start().await;
    let proxy = Proxy::start(redis.port()).await;
    let sidecar = Sidecar::start(&Settings::redis(proxy.url())).await;
    // Redis knows the scripts: else it is the answer "unknown script" that gets lost.
    let (id, _) = new_v1(&sidecar, "{}").await;
    sidecar.app.delete(&format!("/v1/sessions/{id}")).await.expect(204);
    (redis, proxy, sidecar)
}

/// Sends it while answers are lost, until Redis has done it; then the network is as it was.
async fn losing_the_answer(
    redis: &RedisServer,
    proxy: &Proxy,
    sidecar: &Sidecar,
    id: &str,
    request: Request,
) -> Answer {
    let before = redis.session(id).await;
    proxy.set(LOSE_WRITES);
    let heal = async {
        eventually("Redis has executed it", PROMPT, async || {
            let now = redis.session(id).await;
            check(now != before, now)
        })
        .await;
        proxy.set(Mode::Pass);
    };
    let (answer, ()) = tokio::join!(sidecar.app.send(request), heal);
    answer
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_acknowledged_and_took_effect_once() {
    let (redis, proxy, sidecar) = behind_a_proxy().await;
    let (id, _) = new_v1(&sidecar, r#"{"log":[]}"#).await;
    let path = format!("/v1/sessions/{id}");
    for number in 0..5 {
        let etag = sidecar.app.get(&path).await.expect(200).etag();
        let append = format!(r#"[{{"op":"add","path":"/log/-","value":{number}}}]"#);
        let media = "application/json-patch+json";
        let patch = Request::new("PATCH", &path).header("content-type", media).body(append);
        // Sent blindly again, a conditional one would be told 412 about its own effect.
        let patch = if number % 2 == 0 { patch.header("if-match", etag) } else { patch };
        let answer = losing_the_answer(&redis, &proxy, &sidecar, &id, patch).await.expect(200);
        assert!(answer.elapsed > Duration::from_millis(200), "the answer was lost: {answer:?}");
        sidecar.serving(RECOVERY).await;
        let read = sidecar.app.get(&path).await.expect(200);
        assert_eq!(read.etag(), answer.etag());
        assert_eq!(read.json()["log"], serde_json::json!((0..=number).collect::<Vec<_>>()));
    }
    sidecar.stop().await;
}

#[tokio::test]
async fn a_delete_whose_answer_is_lost_is_204_once() {
    let (redis, proxy, sidecar) = behind_a_proxy().await;
    for conditional in [false, true] {
        let (id, etag) = new_v1(&sidecar, "{}").await;
        let delete = Request::new("DELETE", format!("/v1/sessions/{id}"));
        let request = if conditional { delete.clone().header("if-match", etag) } else { delete.clone() };
        losing_the_answer(&redis, &proxy, &sidecar, &id, request).await.expect(204);
        sidecar.serving(RECOVERY).await;
        sidecar.app.send(delete).await.expect(404);
    }
    sidecar.stop().await;
}

/// Who cannot find out says so: never 412, 404 or 200.
#[tokio::test]
async fn an_outcome_that_cannot_be_found_out_is_503_outcome_unknown() {
    let (redis, proxy, sidecar) = behind_a_proxy().await;
    let (id, etag) = new_v1(&sidecar, "{}").await;
    let path = format!("/v1/sessions/{id}");
    let patch = Request::new("PATCH", &path).json(r#"{"n":1}"#).header("if-match", &etag);
    for request in [patch, Request::new("DELETE", &path)] {
        proxy.set(LOSE_WRITES);
        let answer = sidecar.app.send(request).await.expect(503);
        assert_eq!(answer.code(), "OUTCOME_UNKNOWN", "{answer:?}");
        assert!(answer.elapsed < PROMPT, "{answer:?}");
        proxy.set(Mode::Pass);
        sidecar.serving(RECOVERY).await;
    }
    assert_eq!(redis.session(&id).await, None, "the last was done all the same");
    sidecar.stop().await;
}

/// Others have written so often meanwhile that Redis has forgotten the operation, if it ever heard of it.
#[tokio::test]
async fn a_conflict_over_a_full_ring_is_no_proof_that_nothing_happened() {
    let (redis, proxy, sidecar) = behind_a_proxy().await;
    let other = Sidecar::start(&Settings::redis(redis.url())).await;
    let (id, etag) = new_v1(&sidecar, "{}").await;
    let path = format!("/v1/sessions/{id}");
    let before = redis.session(&id).await;
    let patch = Request::new("PATCH", &path).json(r#"{"n":1}"#).header("if-match", &etag);
    proxy.set(LOSE_WRITES);
    let meanwhile = async {
        eventually("Redis has executed it", PROMPT, async || {
            let now = redis.session(&id).await;
            check(now != before, now)
        })
        .await;
        for n in 0..16 {
            other.app.patch(&path, format!(r#"{{"n":{n}}}"#)).await.expect(200);
        }
        proxy.set(Mode::Pass);
    };
    let (answer, ()) = tokio::join!(sidecar.app.send(patch), meanwhile);
    assert_eq!((answer.status, answer.code().as_str()), (503, "OUTCOME_UNKNOWN"), "{answer:?}");
    other.stop().await;
    sidecar.stop().await;
}
