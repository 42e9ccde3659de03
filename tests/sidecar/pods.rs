//! Pods find each other, and see who comes and who goes.

use std::time::Duration;

use serde_json::Value;
use tests::eventually::{check, eventually};
use tests::redis::RedisServer;
use tests::sidecar::{Settings, Sidecar};

use crate::common::{RECOVERY, pair};

/// Whoever is silent for three seconds is gone, and each looks once a second.
const GONE: Duration = Duration::from_secs(3 + 1);

async fn names(sidecar: &Sidecar) -> Vec<(String, bool)> {
    let answer = sidecar.app.get("/v1/pods").await;
    if answer.status != 200 {
        return Vec::new();
    }
    let body = answer.json();
    let mut pods: Vec<_> = body["pods"].as_array().unwrap().iter().map(told).collect();
    pods.sort();
    assert_eq!(body["count"], pods.len());
    pods
}

fn told(pod: &Value) -> (String, bool) {
    assert!(pod["ageMs"].as_u64().unwrap() < 10_000, "{pod}");
    (pod["pod"].as_str().unwrap().to_owned(), pod["ready"].as_bool().unwrap())
}

async fn sees(sidecar: &Sidecar, within: Duration, expected: &[&str]) {
    let expected: Vec<_> = expected.iter().map(|name| ((*name).to_owned(), true)).collect();
    eventually("the pods are known", within, async || {
        let names = names(sidecar).await;
        check(names == expected, names)
    })
    .await;
}

async fn named(redis: &RedisServer, name: &str) -> Sidecar {
    Sidecar::start(&Settings::redis(redis.url()).env("POD_NAME", name)).await
}

#[tokio::test]
async fn pods_find_each_other_and_see_who_leaves_who_dies_and_who_comes_back() {
    let redis = RedisServer::start().await;
    let (a, b, c) = tokio::join!(named(&redis, "a"), named(&redis, "b"), named(&redis, "c"));
    for sidecar in [&a, &b, &c] {
        sees(sidecar, RECOVERY, &["a", "b", "c"]).await;
    }
    // Told to end, it says so; the others need not wait until it is silent for long.
    let start = std::time::Instant::now();
    c.stop().await;
    sees(&a, RECOVERY, &["a", "b"]).await;
    println!("a pod that stops is gone after {} ms", start.elapsed().as_millis());
    b.kill();
    sees(&a, GONE + RECOVERY, &["a"]).await;
    let b = named(&redis, "b").await;
    sees(&a, RECOVERY, &["a", "b"]).await;
    // The same pod, and another process than before.
    let mine = b.app.get("/v1/pods").await.expect(200).json();
    assert_eq!(mine["self"]["pod"], "b");
    let processes: Vec<_> = mine["pods"].as_array().unwrap().iter().map(|pod| &pod["process"]).collect();
    assert!(processes.contains(&&mine["self"]["process"]), "{mine}");
    for (sidecar, what) in [(&a, "a pod has joined"), (&a, "a pod has left")] {
        assert!(sidecar.logs().contains(what), "{}", sidecar.logs());
    }
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_pod_that_sleeps_is_gone_for_the_others_and_there_again_when_it_wakes() {
    let redis = RedisServer::start().await;
    let (a, b) = tokio::join!(named(&redis, "a"), named(&redis, "b"));
    sees(&a, RECOVERY, &["a", "b"]).await;
    b.pause();
    sees(&a, GONE + RECOVERY, &["a"]).await;
    b.resume();
    sees(&a, RECOVERY, &["a", "b"]).await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn in_an_outage_the_list_is_told_as_it_was_and_marked_and_a_wiped_redis_is_told_anew() {
    let redis = RedisServer::start().await;
    let (a, b) = tokio::join!(named(&redis, "a"), named(&redis, "b"));
    sees(&a, RECOVERY, &["a", "b"]).await;
    redis.hang();
    eventually("the list is marked", GONE + RECOVERY, async || {
        let answer = a.app.get("/v1/pods").await.expect(200);
        let stale = answer.header("x-hyperpage-stale-ms").map(|ms| ms.parse::<u64>().unwrap());
        check(stale.is_some_and(|ms| ms > 3_000) && answer.json()["count"] == 2, answer)
    })
    .await;
    let text = a.admin.get("/metrics").await.expect(200).body;
    let failed = text.lines().find_map(|line| line.strip_prefix("hyperpage_pods_beats_failed_total "));
    assert!(failed.unwrap().parse::<u64>().unwrap() > 0, "{text}");
    redis.resume();
    eventually("the list is no longer marked", RECOVERY, async || {
        let answer = a.app.get("/v1/pods").await.expect(200);
        check(answer.header("x-hyperpage-stale-ms").is_none() && answer.json()["count"] == 2, answer)
    })
    .await;
    redis.command::<()>(&["FLUSHALL"]).await.unwrap();
    eventually("the rows are there again", RECOVERY, async || {
        let rows: u64 = redis.command(&["HLEN", "{hyperpage:coord}:pods"]).await.unwrap();
        check(rows == 2, rows)
    })
    .await;
    sees(&a, RECOVERY, &["a", "b"]).await;
    assert!(!b.logs().contains("a pod has left"), "nobody has left: {}", b.logs());
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn the_originals_pods_find_ours_by_their_heartbeat() {
    let redis = RedisServer::start().await;
    let a = named(&redis, "web-7d9").await;
    let key = "hyperpage:pod:web-7d9:heartbeat";
    let text = eventually("the heartbeat is there", RECOVERY, async || {
        redis.command::<Option<String>>(&["GET", key]).await.unwrap().ok_or("nothing")
    })
    .await;
    let heartbeat: Value = serde_json::from_str(&text).unwrap();
    let timestamp = heartbeat["timestamp"].as_i64().unwrap();
    assert_eq!(text, format!(r#"{{"timestamp":{timestamp},"podId":"web-7d9"}}"#));
    let life: i64 = redis.command(&["TTL", key]).await.unwrap();
    assert!((20..=30).contains(&life), "{life}");
    a.stop().await;
}

#[tokio::test]
async fn rows_that_are_none_of_ours_are_nobody_and_do_not_stay() {
    let redis = RedisServer::start().await;
    let a = named(&redis, "a").await;
    let rows = [("x", "garbage"), ("y", "12 {}"), ("z", r#"12 {"pod":"z","ready":true}"#)];
    for (process, row) in rows {
        redis.command::<()>(&["HSET", "{hyperpage:coord}:pods", process, row]).await.unwrap();
    }
    eventually("they are gone", RECOVERY, async || {
        let rows: Vec<String> = redis.command(&["HKEYS", "{hyperpage:coord}:pods"]).await.unwrap();
        check(rows.len() == 1, rows)
    })
    .await;
    sees(&a, RECOVERY, &["a"]).await;
    a.stop().await;
}

#[tokio::test]
async fn metrics_count_pods_and_those_who_come_and_go() {
    let (redis, a) = pair().await;
    // From its first reading nothing follows about who came.
    sees(&a, RECOVERY, &["local"]).await;
    let b = named(&redis, "b").await;
    let metric = async |name: &str, labels: &str| {
        let text = a.admin.get("/metrics").await.expect(200).body;
        let line = format!("{name}{{{labels}}} ");
        text.lines().find_map(|text| text.strip_prefix(&line)?.parse::<u64>().ok()).unwrap_or(0)
    };
    let counts = async |expected: [u64; 4]| {
        eventually("pods are counted", RECOVERY, async || {
            let seen = [
                metric("hyperpage_pods_known", r#"state="ready""#).await,
                metric("hyperpage_pods_known", r#"state="unready""#).await,
                metric("hyperpage_pods_changes_total", r#"what="joined""#).await,
                metric("hyperpage_pods_changes_total", r#"what="left""#).await,
            ];
            check(seen == expected, seen)
        })
        .await;
    };
    counts([2, 0, 1, 0]).await;
    b.stop().await;
    counts([1, 0, 1, 1]).await;
    // One whose app is to be left alone, for a minute.
    let (seconds, us): (i64, i64) = redis.command(&["TIME"]).await.unwrap();
    let row = format!(r#"{} {{"pod":"c","ready":false}}"#, (seconds + 60) * 1_000_000 + us);
    redis.command::<i64>(&["HSET", "{hyperpage:coord}:pods", "0c", &row]).await.unwrap();
    counts([1, 1, 2, 1]).await;
    a.stop().await;
}

#[tokio::test]
async fn where_coordination_is_off_there_are_no_pods_and_the_answer_says_how_to_have_them() {
    let redis = RedisServer::start().await;
    let settings = Settings::redis(redis.url()).env("POD_COORDINATION_ENABLED", "false");
    let sidecar = Sidecar::start(&settings).await;
    let answer = sidecar.app.get("/v1/pods").await.expect(404);
    assert_eq!(answer.code(), "COORDINATION_DISABLED");
    assert!(answer.body.contains("POD_COORDINATION_ENABLED"), "{answer:?}");
    sidecar.stop().await;
    let keys: Vec<String> = redis.command(&["KEYS", "*coord*"]).await.unwrap();
    assert!(keys.is_empty(), "{keys:?}");
}
