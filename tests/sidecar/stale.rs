//! What a sidecar held is told while Redis is away, marked and bounded, and given back to a Redis that has lost it.

use std::time::Duration;

use tests::eventually::{check, eventually};
use tests::http::{Answer, Request};
use tests::redis::RedisServer;
use tests::sidecar::{Settings, Sidecar};

use crate::common::{RECOVERY, assert_unchanged, new_session, new_v1};
use crate::metrics::total;
use crate::outage::{v1, world};

const BOUND: Duration = Duration::from_secs(10);

fn stale_ms(answer: &Answer) -> u64 {
    answer.header("x-hyperpage-stale-ms").and_then(|ms| ms.parse().ok()).unwrap()
}

#[tokio::test]
async fn a_known_session_is_told_in_an_outage_and_marked_as_stale() {
    let world = world(|settings| settings).await;
    let app = &world.sidecar.app;
    let (id, etag) = new_v1(&world.sidecar, r#"{"a":1}"#).await;
    app.get(&v1(&id)).await.expect(200);
    world.cut().await;
    let first = app.get(&v1(&id)).await.expect(200);
    assert_eq!((first.json()["a"].as_i64(), first.etag()), (Some(1), etag.clone()));
    let original = app.get(&format!("/api/sessions?sessionId={id}")).await.expect(200);
    assert_eq!(original.json()["session"]["a"], 1);
    assert!(stale_ms(&original) >= stale_ms(&first), "{original:?}");
    let known = Request::new("GET", v1(&id)).header("if-none-match", etag.clone());
    assert!(stale_ms(&app.send(known).await.expect(304)) > 0);
    let batch = app.post("/v1/sessions:batchGet", format!(r#"{{"ids":["{id}"]}}"#)).await.expect(200);
    assert!(batch.json()["sessions"][0]["staleMs"].as_u64().unwrap() > 0, "{batch:?}");
    // What only Redis can say is not said.
    assert_unchanged("unknown", &app.get(&v1("nobody-knows")).await);
    let fresh = Request::new("GET", v1(&id)).header("cache-control", "no-cache");
    assert_unchanged("no-cache", &app.send(fresh).await);
    let version = Request::new("GET", v1(&id)).header("if-match", etag);
    assert_unchanged("If-Match", &app.send(version).await);
    // Own changes are seen, in bytes that Redis never had.
    app.patch(&v1(&id), r#"{"b":2}"#).await.expect(202);
    let own = app.get(&v1(&id)).await.expect(200);
    assert_eq!((own.json()["a"].as_i64(), own.json()["b"].as_i64()), (Some(1), Some(2)));
    assert_eq!((own.header("etag"), own.header("x-hyperpage-durability")), (None, Some("local")));
    assert!(stale_ms(&own) >= stale_ms(&first), "{own:?}");
    assert!(total(&world.sidecar, "sessions_stale_reads_total").await >= 5.0);
    world.heal().await;
    let read = app.get(&v1(&id)).await.expect(200);
    assert_eq!((read.json()["b"].as_i64(), read.header("x-hyperpage-stale-ms")), (Some(2), None));
    world.sidecar.stop().await;
}

#[tokio::test]
async fn a_stale_read_is_never_older_than_allowed_nor_than_the_session() {
    for (name, seconds) in [("SESSION_MAX_STALE_SECONDS", "3"), ("SESSION_DEFAULT_TTL_SECONDS", "4")] {
        let world = world(|settings| settings.env(name, seconds)).await;
        let id = new_session(&world.sidecar).await;
        world.cut().await;
        let path = v1(&id);
        let mut last = 0;
        eventually(&format!("{name} ends it"), BOUND, async || {
            let read = world.sidecar.app.get(&path).await;
            if read.status == 200 {
                last = stale_ms(&read);
                return Err(read);
            }
            assert_unchanged(name, &read);
            Ok(())
        })
        .await;
        assert!((1_000..=4_000).contains(&last), "{name}: {last}");
        world.sidecar.stop().await;
    }
}

/// Who only read a session holds all that is left of it.
#[tokio::test]
async fn a_redis_that_has_lost_all_is_given_back_what_living_pods_hold() {
    let mut redis = RedisServer::start().await;
    let settings = Settings::redis(redis.url()).env("HYPERPAGE_REPAIR_WINDOW_MS", "5000");
    let writer = Sidecar::start(&settings).await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(new_session(&writer).await);
    }
    writer.stop().await;
    let reader = Sidecar::start(&settings).await;
    let mut before = Vec::new();
    for id in &ids {
        reader.app.get(&v1(id)).await.expect(200);
        before.push(redis.session(id).await.unwrap());
    }
    redis.restart_empty().await;
    // Nothing goes over what somebody else has made meanwhile.
    redis.command::<()>(&["SET", &format!("hyperpage:session:{}", ids[0]), "{}"]).await.unwrap();
    eventually("they are there again", RECOVERY, async || {
        for (id, before) in ids.iter().zip(&before).skip(1) {
            let after = redis.session(id).await;
            check(after.as_ref() == Some(before), (id, after))?;
        }
        Ok::<(), String>(())
    })
    .await;
    assert_eq!(redis.session(&ids[0]).await.as_deref(), Some("{}"));
    for id in &ids {
        let read = reader.app.get(&v1(id)).await.expect(200);
        assert_eq!(read.header("x-hyperpage-stale-ms"), None);
    }
    assert_eq!(total(&reader, "sessions_reseed_total").await, 20.0);
    assert_eq!(total(&reader, "sessions_reseed_restored_total").await, 19.0);
    reader.stop().await;
}
