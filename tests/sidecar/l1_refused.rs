//! A Redis, or a proxy before it, that does not say what changes: every read asks Redis, and somebody is told why.

use std::time::Duration;

use tests::eventually::{check, eventually};
use tests::proxy::{Mode, Proxy};
use tests::redis::RedisServer;
use tests::sidecar::{Settings, Sidecar};

use crate::common::{RECOVERY, new_session};
use crate::l1::bound_ms;
use crate::metrics::total;

/// The canary is written every five seconds.
const CANARY: Duration = Duration::from_secs(12);

/// A stranger's change is seen by the next read, and `/readyz` names the reason.
async fn serves_without_memory(redis: &RedisServer, sidecar: &Sidecar, reason: &str) {
    let ready = eventually("the reason is told", RECOVERY, async || {
        let ready = sidecar.admin.get("/readyz").await.expect(200).json();
        let told = ready["l1"]["reason"].as_str().unwrap_or_default().contains(reason);
        if told { Ok(ready) } else { Err(ready) }
    })
    .await;
    assert_eq!(ready["l1"]["on"], false);
    assert_eq!(total(sidecar, "redis_coherent").await, 0.0);
    let id = new_session(sidecar).await;
    for round in 0..50 {
        let (key, text) = (format!("hyperpage:session:{id}"), format!(r#"{{"n":{round}}}"#));
        redis.command::<()>(&["SET", &key, &text]).await.unwrap();
        let answer = sidecar.app.get(&format!("/v1/sessions/{id}")).await.expect(200);
        assert_eq!((answer.json()["n"].as_i64(), bound_ms(&answer)), (Some(round), 0));
    }
}

#[tokio::test]
async fn a_redis_that_refuses_tracking_is_asked_each_time() {
    let redis = RedisServer::start().await;
    redis.command::<()>(&["ACL", "SETUSER", "default", "-client|tracking"]).await.unwrap();
    let sidecar = Sidecar::start(&Settings::redis(redis.url())).await;
    serves_without_memory(&redis, &sidecar, "CLIENT TRACKING").await;
    sidecar.stop().await;
}

#[tokio::test]
async fn a_redis_that_does_not_speak_resp3_is_asked_each_time() {
    let redis = RedisServer::with(&["--save", "", "--rename-command", "HELLO", ""]).await;
    let sidecar = Sidecar::start(&Settings::redis(redis.url())).await;
    serves_without_memory(&redis, &sidecar, "RESP3").await;
    sidecar.stop().await;
}

/// It says OK, answers every PING, and tells nothing: only the canary notices, and later that all is well.
#[tokio::test]
async fn a_proxy_that_swallows_what_redis_says_is_noticed_by_the_canary() {
    let redis = RedisServer::start().await;
    let proxy = Proxy::start(redis.port()).await;
    proxy.set(Mode::Deaf);
    let sidecar = Sidecar::start(&Settings::redis(proxy.url())).await;
    serves_without_memory(&redis, &sidecar, "not heard of").await;
    assert!(total(&sidecar, "redis_canary_failures_total").await >= 1.0);
    assert_eq!(sidecar.logs().matches("read from Redis only").count(), 1, "{}", sidecar.logs());
    proxy.set(Mode::Cut);
    eventually("the connection is lost", RECOVERY, async || {
        let connections = total(&sidecar, "redis_connections").await;
        check(connections == 0.0, connections)
    })
    .await;
    proxy.set(Mode::Pass);
    eventually("it is served from memory", CANARY, async || {
        let ready = sidecar.admin.get("/readyz").await.expect(200).json();
        check(ready["l1"]["on"] == true, ready)
    })
    .await;
    sidecar.stop().await;
}

/// A connection that falls silent about changes while it answers everything else.
#[tokio::test]
async fn tracking_that_ends_without_a_word_is_noticed_by_the_canary() {
    let redis = RedisServer::start().await;
    let sidecar = Sidecar::start(&Settings::redis(redis.url())).await;
    let id = new_session(&sidecar).await;
    let path = format!("/v1/sessions/{id}");
    eventually("it is served from memory", RECOVERY, async || {
        let answer = sidecar.app.get(&path).await.expect(200);
        check(bound_ms(&answer) == 300, answer)
    })
    .await;
    // Redis drops what it tracks, and cannot tell because nobody may be told.
    redis.command::<()>(&["ACL", "SETUSER", "default", "-set", "-eval"]).await.unwrap();
    eventually("the canary cannot be written", CANARY, async || {
        let ready = sidecar.admin.get("/readyz").await.expect(200).json();
        check(ready["l1"]["on"] == false, ready)
    })
    .await;
    assert_eq!(bound_ms(&sidecar.app.get(&path).await.expect(200)), 0);
    redis.command::<()>(&["ACL", "SETUSER", "default", "+set", "+eval"]).await.unwrap();
    eventually("it is served from memory again", CANARY, async || {
        let answer = sidecar.app.get(&path).await.expect(200);
        check(bound_ms(&answer) == 300, answer)
    })
    .await;
    sidecar.stop().await;
}
