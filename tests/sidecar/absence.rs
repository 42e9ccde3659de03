//! No session is said to be absent while Redis may have lost it: 503 and Retry-After, never 401 or 404.

use std::time::{Duration, Instant};

use tests::eventually::{check, eventually};
use tests::http::{Answer, Request};
use tests::redis::{MASTER_NAME, RedisServer, Sentinels};
use tests::sidecar::{Settings, Sidecar};

use crate::common::{RECOVERY, assert_unchanged, new_session, pair};
use crate::metrics::{total, values};

/// The product's own, as it is when nobody sets it.
const WINDOW: Duration = Duration::from_secs(5);
const FAILOVER: Duration = Duration::from_secs(20);

fn settings(url: impl Into<String>) -> Settings {
    Settings::redis(url).env("HYPERPAGE_REPAIR_WINDOW_MS", WINDOW.as_millis().to_string())
}

/// Every request that can be told that there is no such session.
async fn ask_for(sidecar: &Sidecar, id: &str) -> Vec<Answer> {
    let (api, v1) = (format!("/api/sessions?sessionId={id}"), format!("/v1/sessions/{id}"));
    let requests = [
        Request::new("GET", &api),
        Request::new("PATCH", &api).json(r#"{"a":1}"#),
        Request::new("POST", "/api/sessions").json(format!(r#"{{"sessionId":"{id}","updates":{{"a":1}}}}"#)),
        Request::new("DELETE", &api),
        Request::new("GET", &v1),
        Request::new("GET", &v1).header("if-match", "\"x\""),
        Request::new("PATCH", &v1).json(r#"{"a":1}"#),
        Request::new("PUT", &v1).json(r#"{"a":1}"#),
        Request::new("POST", format!("{v1}/touch")),
        Request::new("DELETE", &v1),
    ];
    let mut answers = Vec::new();
    for request in requests {
        answers.push(sidecar.app.send(request).await);
    }
    answers
}

/// A session that no sidecar has heard of, so that none can bring it back.
async fn unheard_of(redis: &RedisServer) -> String {
    redis.command::<()>(&["SET", "hyperpage:session:foreign", "{}"]).await.unwrap();
    "foreign".to_owned()
}

async fn since(redis: &RedisServer) -> Duration {
    let record: String = redis.command(&["GET", "hyperpage:inc"]).await.unwrap();
    Duration::from_micros(record.rsplit(' ').next().unwrap().parse().unwrap())
}

async fn time(redis: &RedisServer) -> Duration {
    let (seconds, micros): (u64, u64) = redis.command(&["TIME"]).await.unwrap();
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}

/// 503 for as long as the window lasts, and absence after it; never earlier, and not much later.
async fn unproven_and_then_absent(sidecar: &Sidecar, redis: &RedisServer, id: &str) {
    for answer in ask_for(sidecar, id).await {
        assert_unchanged("in the window", &answer);
    }
    sidecar.app.get("/api/sessions").await.expect(200);
    sidecar.app.post("/v1/sessions", "{}").await.expect(201);
    assert!(time(redis).await < since(redis).await + WINDOW, "the machine was too slow for this test");
    let api = format!("/api/sessions?sessionId={id}");
    eventually("its absence is proven", WINDOW + RECOVERY, async || {
        let answer = sidecar.app.get(&api).await;
        match answer.status {
            401 => Ok(()),
            _ => {
                assert_unchanged("in the window", &answer);
                Err(answer)
            }
        }
    })
    .await;
    assert!(time(redis).await >= since(redis).await + WINDOW, "it was told too early");
    let expected = [401, 401, 401, 401, 404, 412, 404, 404, 404, 404];
    let statuses = ask_for(sidecar, id).await.into_iter().map(|answer| answer.status);
    assert_eq!(statuses.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_new_redis_proves_nothing_until_the_window_is_over() {
    let redis = RedisServer::start().await;
    let sidecar = Sidecar::spawn(&settings(redis.url())).await;
    eventually("it serves", RECOVERY, async || {
        let answer = sidecar.app.get("/api/sessions").await;
        check(answer.status == 200, answer)
    })
    .await;
    unproven_and_then_absent(&sidecar, &redis, "nobody").await;
    assert!(values(&sidecar, "sessions_unproven_total", &[r#"reason="window""#]).await[0] >= 10.0);
    sidecar.stop().await;
}

#[tokio::test]
async fn a_redis_that_restarts_empty_logs_nobody_out_within_the_window() {
    let mut redis = RedisServer::start().await;
    let sidecar = Sidecar::start(&settings(redis.url())).await;
    let id = unheard_of(&redis).await;
    redis.restart_empty().await;
    new_session(&sidecar).await;
    unproven_and_then_absent(&sidecar, &redis, &id).await;
    sidecar.stop().await;
}

/// Nobody sees an outage, and the first read after it is early.
#[tokio::test]
async fn a_flush_by_a_stranger_logs_nobody_out_within_the_window() {
    let redis = RedisServer::start().await;
    let sidecar = Sidecar::start(&settings(redis.url())).await;
    for flush in ["FLUSHALL", "FLUSHDB"] {
        let id = unheard_of(&redis).await;
        redis.command::<()>(&[flush]).await.unwrap();
        unproven_and_then_absent(&sidecar, &redis, &id).await;
    }
    assert_eq!(total(&sidecar, "redis_losses_total").await, 2.0);
    sidecar.stop().await;
}

/// Fewer prove nothing, however long a busy machine needs for them.
const MISSES: usize = 100;

/// The read that finds nothing is answered before anybody has seen the flush, thousands of times.
#[tokio::test]
async fn no_read_that_races_a_flush_is_told_absence() {
    let redis = RedisServer::start().await;
    let sidecar = Sidecar::start(&settings(redis.url())).await;
    let (mut asked, begun) = (0, Instant::now());
    while asked < MISSES || begun.elapsed() < Duration::from_secs(4) {
        assert!(begun.elapsed() < Duration::from_secs(120), "{asked} misses prove nothing");
        let id = new_session(&sidecar).await;
        let path = format!("/v1/sessions/{id}");
        let reads = async {
            let mut statuses = Vec::new();
            for _ in 0..20 {
                statuses.push(sidecar.app.get(&path).await.status);
            }
            statuses
        };
        let flush = redis.command::<()>(&["FLUSHALL"]);
        let (statuses, flushed) = tokio::join!(reads, flush);
        flushed.unwrap();
        assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
        asked += statuses.iter().filter(|status| **status == 503).count();
    }
    println!("{asked} misses in {:?}", begun.elapsed());
    sidecar.stop().await;
}

#[tokio::test]
async fn a_failover_logs_nobody_out_within_the_window() {
    let mut group = Sentinels::start().await;
    let url = format!("{}/{MASTER_NAME}", group.urls());
    let sidecar = Sidecar::start(&settings(url).env("HYPERPAGE_REDIS_MODE", "sentinel")).await;
    group.data[0].kill();
    eventually("the new master answers", FAILOVER, async || {
        let answer = sidecar.app.get("/v1/sessions/nobody").await;
        assert_unchanged("failing over", &answer);
        let made = sidecar.app.get("/api/sessions").await;
        check(made.status == 200, made)
    })
    .await;
    for answer in ask_for(&sidecar, "nobody").await {
        assert_unchanged("after a failover", &answer);
    }
    eventually("absence is proven", WINDOW + RECOVERY, async || {
        let answer = sidecar.app.get("/v1/sessions/nobody").await;
        check(answer.status == 404, answer)
    })
    .await;
    sidecar.stop().await;
}

/// The tombstone says so itself.
#[tokio::test]
async fn a_deleted_session_is_absent_at_once() {
    let redis = RedisServer::start().await;
    let sidecar = Sidecar::start(&settings(redis.url())).await;
    redis.command::<()>(&["FLUSHALL"]).await.unwrap();
    let id = new_session(&sidecar).await;
    let path = format!("/v1/sessions/{id}");
    sidecar.app.get("/v1/sessions/nobody").await.expect(503);
    sidecar.app.delete(&path).await.expect(204);
    sidecar.app.get(&path).await.expect(404);
    sidecar.app.patch(&path, r#"{"a":1}"#).await.expect(404);
    sidecar.app.delete(&path).await.expect(404);
    sidecar.stop().await;
}

/// A miss may be a session that Redis has thrown away.
#[tokio::test]
async fn absence_is_unproven_while_redis_evicts() {
    let redis = RedisServer::with(&["--save", "", "--maxmemory-policy", "allkeys-lru"]).await;
    let sidecar = Sidecar::start(&Settings::redis(redis.url())).await;
    sidecar.app.get("/v1/sessions/nobody").await.expect(404);
    redis.command::<()>(&["CONFIG", "SET", "maxmemory", "4mb"]).await.unwrap();
    let big = "x".repeat(100_000);
    let mut number = 0;
    eventually("it is noticed", Duration::from_secs(20), async || {
        for _ in 0..20 {
            number += 1;
            redis.command::<()>(&["SET", &format!("filler:{number}"), &big]).await.unwrap();
        }
        // The record itself may be among what was thrown away.
        let evicting = values(&sidecar, "sessions_unproven_total", &[r#"reason="evicting""#]).await;
        sidecar.app.get("/v1/sessions/nobody").await;
        check(evicting.first().is_some_and(|count| *count > 0.0), number)
    })
    .await;
    assert_eq!(total(&sidecar, "redis_evicting").await, 1.0);
    let ready = sidecar.admin.get("/readyz").await.expect(200).json();
    assert!(ready["redis"]["warning"].as_str().unwrap().contains("evicted"), "{ready}");
    sidecar.stop().await;
}

/// Whoever may not keep a record can serve, and cannot say that a session does not exist.
#[tokio::test]
async fn without_a_record_absence_is_unproven_and_said_so() {
    let (redis, sidecar) = pair().await;
    let id = new_session(&sidecar).await;
    redis.command::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"]).await.unwrap();
    redis.command::<()>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await.unwrap();
    eventually("absence is unproven for as long as there is no record", RECOVERY, async || {
        let ready = sidecar.admin.get("/readyz").await.expect(200).json();
        let warning = ready["redis"]["warning"].as_str().unwrap_or_default().to_owned();
        let absent = sidecar.app.get("/v1/sessions/nobody").await;
        check(warning.contains("no record") && absent.status == 503, (warning, absent))
    })
    .await;
    sidecar.app.get(&format!("/v1/sessions/{id}")).await.expect(200);
    redis.command::<()>(&["CONFIG", "SET", "min-replicas-to-write", "0"]).await.unwrap();
    sidecar.serving(RECOVERY).await;
    sidecar.stop().await;
}
