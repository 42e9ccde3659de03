//! The record of a Redis' incarnation: the same while nothing can have been lost, another one when something may be.

use std::time::Duration;

use tests::eventually::{check, eventually};
use tests::proxy::{Mode, Proxy};
use tests::redis::{RedisCluster, RedisServer};
use tests::sidecar::{Settings, Sidecar};

use crate::common::{RECOVERY, pair};
use crate::metrics::total;

const KEY: &str = "hyperpage:inc";

#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    n: u64,
    run_id: String,
    since_us: i64,
}

/// None where there is something else.
async fn read(redis: &RedisServer, key: &str) -> Option<Record> {
    let text: String = redis.command(&["GET", key]).await.ok()?;
    let [n, run_id, since_us] = text.split(' ').collect::<Vec<_>>().try_into().ok()?;
    Some(Record { n: n.parse().ok()?, run_id: run_id.to_owned(), since_us: since_us.parse().ok()? })
}

async fn record(redis: &RedisServer) -> Record {
    read(redis, KEY).await.expect("a sidecar has enrolled")
}

async fn run_id(redis: &RedisServer) -> String {
    let info: String = redis.command(&["INFO", "server"]).await.unwrap();
    info.lines().find_map(|line| line.strip_prefix("run_id:")).unwrap().trim().to_owned()
}

/// Until the record is such, and has been so for longer than anybody waits before asking again.
async fn settled(redis: &RedisServer, such: impl Fn(&Record) -> bool) -> Record {
    eventually("the record settles", RECOVERY, async || {
        let found = read(redis, KEY).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        let again = read(redis, KEY).await;
        match found.filter(|found| again.as_ref() == Some(found) && such(found)) {
            Some(record) => Ok(record),
            None => Err(again),
        }
    })
    .await
}

#[tokio::test]
async fn every_sidecar_holds_the_one_record_and_a_broken_connection_changes_nothing() {
    let redis = RedisServer::start().await;
    let proxy = Proxy::start(redis.port()).await;
    let one = Sidecar::start(&Settings::redis(proxy.url())).await;
    let first = record(&redis).await;
    assert_eq!((first.n, &first.run_id), (1, &run_id(&redis).await));
    let other = Sidecar::start(&Settings::redis(redis.url())).await;
    proxy.set(Mode::Cut);
    eventually("the connection is lost", RECOVERY, async || {
        check(total(&one, "redis_connections").await == 0.0, "it is there")
    })
    .await;
    proxy.set(Mode::Pass);
    one.serving(RECOVERY).await;
    assert_eq!(record(&redis).await, first);
    for sidecar in [&one, &other] {
        assert_eq!(total(sidecar, "redis_incarnations_total").await, 1.0);
        assert_eq!(total(sidecar, "redis_losses_total").await, 0.0);
    }
    other.stop().await;
    one.stop().await;
}

#[tokio::test]
async fn a_restart_from_disk_an_empty_one_and_a_flush_are_new_incarnations_that_all_agree_on() {
    let mut redis = RedisServer::durable().await;
    let settings = Settings::redis(redis.url());
    let (one, other) = (Sidecar::start(&settings).await, Sidecar::start(&settings).await);
    let first = record(&redis).await;
    redis.restart().await;
    let second = settled(&redis, |record| *record != first).await;
    assert_eq!((second.n, &second.run_id), (2, &run_id(&redis).await));
    assert!(second.since_us > first.since_us);
    redis.restart_empty().await;
    let third = settled(&redis, |record| *record != second).await;
    assert!(third.n > 2, "whoever remembers more has the last word: {third:?}");
    redis.command::<()>(&["FLUSHALL"]).await.unwrap();
    let fourth = settled(&redis, |record| *record != third).await;
    assert!(fourth.n > third.n && fourth.run_id == third.run_id, "{fourth:?}");
    for sidecar in [&one, &other] {
        eventually("each hears of all three", RECOVERY, async || {
            let losses = total(sidecar, "redis_losses_total").await;
            check(losses >= 3.0, losses)
        })
        .await;
        assert!(sidecar.logs().contains("data may be lost"), "{}", sidecar.logs());
    }
    other.stop().await;
    one.stop().await;
}

/// Somebody wrote the same number anew, or something that is no record at all.
#[tokio::test]
async fn a_record_that_a_stranger_replaced_is_noticed_without_an_outage() {
    let (redis, sidecar) = pair().await;
    let mut before = record(&redis).await;
    let forged = format!("{} {} 17", before.n, before.run_id);
    for stranger in [&["SET", KEY, &forged][..], &["SET", KEY, "nonsense"], &["DEL", KEY]] {
        redis.command::<()>(stranger).await.unwrap();
        let after = settled(&redis, |record| record.n > before.n).await;
        assert_eq!(after.run_id, before.run_id, "{stranger:?}");
        before = after;
    }
    let hash = "redis.call('DEL', KEYS[1]) return redis.call('HSET', KEYS[1], 'a', '1')";
    redis.command::<i64>(&["EVAL", hash, "1", KEY]).await.unwrap();
    settled(&redis, |record| record.n > before.n).await;
    sidecar.stop().await;
}

#[tokio::test]
async fn every_master_of_a_cluster_has_a_record_of_its_own() {
    let cluster = RedisCluster::start().await;
    let settings = Settings::cluster(&cluster);
    let sidecar = Sidecar::start(&settings).await;
    let mut found = Vec::new();
    for node in &cluster.nodes {
        let keys: Vec<String> = node.command(&["KEYS", "hyperpage:inc:*"]).await.unwrap();
        let [key] = keys.try_into().expect("one record");
        assert_eq!(read(node, &key).await.unwrap().run_id, run_id(node).await);
        found.push((key, node));
    }
    let (key, node) = &found[1];
    node.command::<()>(&["FLUSHALL"]).await.unwrap();
    eventually("that node's record is made anew", RECOVERY, async || {
        let record = read(node, key).await;
        check(record.as_ref().is_some_and(|record| record.n == 2), record)
    })
    .await;
    assert_eq!(read(found[0].1, &found[0].0).await.unwrap().n, 1);
    sidecar.stop().await;
}

/// Then nobody can say whether it is still the same server, and each connection counts as one to another.
#[tokio::test]
async fn a_redis_that_refuses_info_is_named_and_no_two_sidecars_quarrel_about_it() {
    let redis = RedisServer::start().await;
    redis.command::<()>(&["ACL", "SETUSER", "default", "-info"]).await.unwrap();
    let settings = Settings::redis(redis.url());
    let (one, other) = (Sidecar::start(&settings).await, Sidecar::start(&settings).await);
    let record = settled(&redis, |record| record.n == 2).await;
    assert_eq!(record.run_id, "?");
    for sidecar in [&one, &other] {
        let ready = sidecar.admin.get("/readyz").await.expect(200).json();
        assert!(ready["redis"]["warning"].as_str().unwrap().contains("INFO"), "{ready}");
    }
    other.stop().await;
    one.stop().await;
}
