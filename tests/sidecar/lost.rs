//! A Redis that comes back without its last writes is told them by the sidecars that they were acknowledged to.

use std::time::Duration;

use tests::eventually::{check, eventually};
use tests::http::Request;
use tests::proxy::Mode;
use tests::redis::{RedisServer, Sentinels};
use tests::sidecar::{Settings, Sidecar};

use crate::common::{RECOVERY, new_v1};
use crate::metrics::total;
use crate::outage::{sibling, state, v1, world};

const FAILOVER: Duration = Duration::from_secs(20);

/// What was acknowledged in the last seconds is there again, and what was deleted stays deleted.
#[tokio::test]
async fn writes_of_the_last_seconds_survive_a_wipe() {
    let mut redis = RedisServer::start().await;
    let sidecar = Sidecar::start(&Settings::redis(redis.url())).await;
    let (kept, _) = new_v1(&sidecar, r#"{"a":1}"#).await;
    let (deleted, _) = new_v1(&sidecar, r#"{"a":1}"#).await;
    sidecar.app.patch(&v1(&kept), r#"{"b":2}"#).await.expect(200);
    sidecar.app.delete(&v1(&deleted)).await.expect(204);
    let before = redis.session(&kept).await.unwrap();
    redis.restart_empty().await;
    eventually("what was lost is there again", RECOVERY, async || {
        let after = redis.session(&kept).await;
        check(after.as_ref() == Some(&before), after)
    })
    .await;
    let tombstone: i64 = redis.command(&["HEXISTS", &sibling(&deleted), "deleted"]).await.unwrap();
    assert_eq!((tombstone, redis.session(&deleted).await), (1, None));
    let life: i64 = redis.command(&["PTTL", &format!("hyperpage:session:{kept}")]).await.unwrap();
    assert!((1..86_400_000).contains(&life), "what was left of its life: {life}");
    assert_eq!(total(&sidecar, "sessions_forked_total").await, 0.0);
    sidecar.app.patch(&v1(&kept), r#"{"c":3}"#).await.expect(200);
    sidecar.stop().await;
}

/// The replicas never get the last write; the one that is promoted is told it, once.
#[tokio::test]
async fn a_failover_that_loses_the_last_write_is_told_it_again() {
    let mut group = Sentinels::start().await;
    let sidecar = Sidecar::start(&Settings::sentinels(&group)).await;
    let (id, _) = new_v1(&sidecar, r#"{"a":1}"#).await;
    let master = &group.data[0];
    let replicated: i64 = master.command(&["WAIT", "2", "5000"]).await.unwrap();
    assert_eq!(replicated, 2);
    master.command::<()>(&["CONFIG", "SET", "min-replicas-to-write", "0"]).await.unwrap();
    for replica in &group.data[1..] {
        replica.hang();
    }
    master.command::<()>(&["CLIENT", "KILL", "TYPE", "replica"]).await.unwrap();
    let written = sidecar.app.patch(&v1(&id), r#"{"b":2}"#).await.expect(200);
    let lost = master.session(&id).await.unwrap();
    group.data[0].kill();
    for replica in &group.data[1..] {
        replica.resume();
    }
    eventually("the new master has the write", FAILOVER, async || {
        let read = sidecar.app.get(&v1(&id)).await;
        check(read.header("x-hyperpage-stale-ms").is_none() && read.body == lost, read)
    })
    .await;
    assert_eq!(sidecar.app.get(&v1(&id)).await.etag(), written.etag());
    assert_eq!(total(&sidecar, "sessions_ring_restored_total").await, 1.0);
    assert_eq!(total(&sidecar, "sessions_forked_total").await, 0.0);
    sidecar.stop().await;
}

/// It answers, and takes no write before a replica follows it: so nobody can say either what it may have lost.
#[tokio::test]
async fn what_a_promoted_replica_lacks_comes_before_what_is_new() {
    let mut world = world(|settings| settings).await;
    let (sidecar, redis) = (&world.sidecar, &mut world.redis);
    let (id, _) = new_v1(sidecar, r#"{"a":1}"#).await;
    let replicated = redis.session(&id).await.unwrap();
    sidecar.app.patch(&v1(&id), r#"{"b":2}"#).await.expect(200);
    world.proxy.set(Mode::Cut);
    redis.restart_empty().await;
    redis.command::<()>(&["SET", &format!("hyperpage:session:{id}"), &replicated]).await.unwrap();
    redis.command::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"]).await.unwrap();
    world.proxy.set(Mode::Pass);
    eventually("it is connected and no record is written", RECOVERY, async || {
        let ready = sidecar.admin.get("/readyz").await.expect(200).json();
        check(ready["redis"]["connected"] == true && !ready["redis"]["warning"].is_null(), ready)
    })
    .await;
    sidecar.app.patch(&v1(&id), r#"{"c":3}"#).await.expect(503);
    redis.command::<()>(&["CONFIG", "SET", "min-replicas-to-write", "0"]).await.unwrap();
    eventually("the next write is taken", RECOVERY, async || {
        let patched = sidecar.app.patch(&v1(&id), r#"{"c":3}"#).await;
        check(patched.status == 200, patched)
    })
    .await;
    let after = redis.session(&id).await.unwrap();
    assert!([r#""a":1"#, r#""b":2"#, r#""c":3"#].iter().all(|member| after.contains(member)), "{after}");
    assert_eq!(total(sidecar, "sessions_forked_total").await, 0.0);
    assert_eq!(total(sidecar, "sessions_ring_restored_total").await, 1.0);
    world.sidecar.stop().await;
}

/// Somebody has written to the new incarnation before we could tell it: what was meant for any state is laid over that,
/// what was meant for one is reported alone.
#[tokio::test]
async fn a_history_that_forked_is_merged_where_it_can_be_and_counted() {
    let mut world = world(|settings| settings).await;
    let sidecar = &world.sidecar;
    let (merged, _) = new_v1(sidecar, r#"{"a":0}"#).await;
    let (bound, _) = new_v1(sidecar, r#"{"a":0}"#).await;
    sidecar.app.patch(&v1(&merged), r#"{"a":1}"#).await.expect(200);
    let etag = sidecar.app.get(&v1(&bound)).await.etag();
    let conditional = Request::new("PATCH", v1(&bound)).json(r#"{"a":1}"#).header("if-match", etag);
    sidecar.app.send(conditional).await.expect(200);
    world.proxy.set(Mode::Cut);
    state(sidecar, "outage").await;
    // What waits is brought to Redis after what was lost, or that would count as repaired.
    for id in [&merged, &bound] {
        sidecar.app.patch(&v1(id), r#"{"later":true}"#).await.expect(202);
    }
    world.redis.restart_empty().await;
    for id in [&merged, &bound] {
        let key = format!("hyperpage:session:{id}");
        world.redis.command::<()>(&["SET", &key, r#"{"a":9,"theirs":true}"#]).await.unwrap();
    }
    world.proxy.set(Mode::Pass);
    eventually("nothing waits any more", RECOVERY, async || {
        let replayed = total(sidecar, "sessions_journal_replayed_total").await;
        check(replayed == 2.0, replayed)
    })
    .await;
    // Each was made, and changed once.
    assert_eq!(total(sidecar, "sessions_forked_total").await, 4.0);
    for (id, a) in [(&merged, 1), (&bound, 9)] {
        let after = world.redis.session(id).await.unwrap();
        let holds = [&format!(r#""a":{a},"#), r#""theirs":true"#, r#""later":true"#];
        assert!(holds.iter().all(|member| after.contains(*member)), "{after}");
    }
    world.sidecar.stop().await;
}
