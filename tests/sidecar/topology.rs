//! Sentinel groups and Clusters are followed.

use std::time::Duration;

use tests::eventually::{check, eventually};
use tests::http::{Answer, Http};
use tests::redis::{RedisCluster, Sentinels};
use tests::scratch::Scratch;
use tests::sidecar::{Settings, Sidecar};

use crate::common::{PROMPT, RECOVERY, assert_outage, assert_refused_or_kept, new_session};

/// Detection, election and promotion with the down-after of the harness, and some.
const FAILOVER: Duration = Duration::from_secs(20);

async fn write(app: &Http, id: &str) -> Answer {
    let answer = app.patch(&format!("/v1/sessions/{id}"), r#"{"n":1}"#).await;
    assert!(answer.elapsed < PROMPT, "{answer:?}");
    answer
}

#[tokio::test]
async fn a_sentinel_failover_is_followed_and_no_session_is_lost() {
    let mut group = Sentinels::start().await;
    let settings = Settings::sentinels(&group);
    let sidecar = Sidecar::start(&settings).await;
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(new_session(&sidecar).await);
    }
    let replicated: i64 = group.data[0].command(&["WAIT", "2", "5000"]).await.unwrap();
    assert_eq!(replicated, 2);
    group.data[0].kill();
    let answer = write(&sidecar.app, &ids[0]).await;
    assert_outage("the master is gone", &answer);
    eventually("a write reaches the new master", FAILOVER, async || {
        let answer = write(&sidecar.app, &ids[0]).await;
        if answer.status != 200 {
            assert_refused_or_kept("failing over", &answer);
        }
        check(answer.status == 200, answer)
    })
    .await;
    for id in &ids {
        sidecar.app.get(&format!("/v1/sessions/{id}")).await.expect(200);
    }
    // The old master comes back as a replica; nobody is to follow it.
    group.data[0].run().await;
    for _ in 0..50 {
        write(&sidecar.app, &ids[1]).await.expect(200);
    }
    sidecar.stop().await;
}

#[tokio::test]
async fn a_cluster_is_followed_and_a_lost_node_costs_only_its_own_sessions() {
    let mut cluster = RedisCluster::start().await;
    let settings = Settings::cluster(&cluster);
    let sidecar = Sidecar::start(&settings).await;
    let mut ids = Vec::new();
    for _ in 0..30 {
        ids.push(new_session(&sidecar).await);
    }
    for node in &cluster.nodes {
        let keys: i64 = node.command(&["DBSIZE"]).await.unwrap();
        assert!(keys > 0, "30 sessions lie on all three nodes");
    }
    for node in &cluster.nodes {
        let all = ["CONFIG", "SET", "cluster-require-full-coverage", "no"];
        node.command::<()>(&all).await.unwrap();
    }
    let lost: Vec<String> = cluster.nodes[0].command(&["KEYS", "hyperpage:session:*"]).await.unwrap();
    let lost = |id: &String| lost.contains(&format!("hyperpage:session:{id}"));
    cluster.nodes[0].kill();
    eventually("the living nodes go on", RECOVERY, async || {
        for id in ids.iter().filter(|id| !lost(id)) {
            let answer = write(&sidecar.app, id).await;
            check(answer.status == 200, answer)?;
        }
        Ok::<(), String>(())
    })
    .await;
    for id in ids.iter().filter(|id| lost(id)).take(3) {
        assert_outage("its node is gone", &write(&sidecar.app, id).await);
    }
    cluster.nodes[0].run().await;
    eventually("the lost node is found again", FAILOVER, async || {
        let answer = sidecar.app.get("/api/sessions").await;
        check(answer.status == 200, answer)
    })
    .await;
    sidecar.stop().await;
}

/// A slot that moves takes its sessions along; the sidecar asks the new owner.
#[tokio::test]
async fn a_slot_that_moves_is_followed() {
    let cluster = RedisCluster::start().await;
    let settings = Settings::redis(cluster.nodes[0].url()).env("HYPERPAGE_REDIS_MODE", "cluster");
    let sidecar = Sidecar::start(&settings).await;
    let id = new_session(&sidecar).await;
    let key = format!("hyperpage:session:{id}");
    let slot: i64 = cluster.nodes[0].command(&["CLUSTER", "KEYSLOT", &key]).await.unwrap();
    let from = cluster.shard(&key).await;
    let to = (from + 1) % 3;
    let slot = slot.to_string();
    let (source, target) = (&cluster.nodes[from], &cluster.nodes[to]);
    let source_id: String = source.command(&["CLUSTER", "MYID"]).await.unwrap();
    let target_id: String = target.command(&["CLUSTER", "MYID"]).await.unwrap();
    target.command::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source_id]).await.unwrap();
    source.command::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target_id]).await.unwrap();
    let port = target.port().to_string();
    let keys: Vec<String> = source.command(&["CLUSTER", "GETKEYSINSLOT", &slot, "10"]).await.unwrap();
    for key in &keys {
        source.command::<()>(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]).await.unwrap();
    }
    for node in [target, source] {
        node.command::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &target_id]).await.unwrap();
    }
    eventually("the session is found on its new node", RECOVERY, async || {
        let answer = write(&sidecar.app, &id).await;
        assert_ne!(answer.status, 404, "a moved session is not absent");
        check(answer.status == 200, answer)
    })
    .await;
    assert!(target.session(&id).await.unwrap().contains(r#""n":1"#));
    sidecar.stop().await;
}

#[tokio::test]
async fn a_url_file_that_names_another_cluster_is_followed() {
    let (first, second) = tokio::join!(RedisCluster::start(), RedisCluster::start());
    let dir = Scratch::new("url");
    let file = dir.write("url", &first.urls());
    let settings = Settings::bare()
        .env("HYPERPAGE_REDIS_URL_FILE", file.to_str().unwrap())
        .env("HYPERPAGE_REDIS_MODE", "cluster");
    let sidecar = Sidecar::start(&settings).await;
    new_session(&sidecar).await;
    dir.write("url", &second.urls());
    eventually("new sessions lie in the second cluster", RECOVERY, async || {
        let id = new_session(&sidecar).await;
        let mut found = 0;
        for node in &second.nodes {
            let keys: Vec<String> = node.command(&["KEYS", "hyperpage:session:*"]).await.unwrap();
            found += keys.iter().filter(|key| key.ends_with(&id)).count();
        }
        check(found == 1, (id, found))
    })
    .await;
    sidecar.stop().await;
}

/// One of the nodes may throw sessions away, whatever the others say.
#[tokio::test]
async fn one_node_that_evicts_is_named_and_counted() {
    let cluster = RedisCluster::start().await;
    let evict = ["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"];
    cluster.nodes[1].command::<()>(&evict).await.unwrap();
    let settings = Settings::cluster(&cluster);
    let sidecar = Sidecar::start(&settings).await;
    eventually("all nodes have been asked, and one evicts", RECOVERY, async || {
        let metrics = sidecar.admin.get("/metrics").await.body;
        let counted = ["redis_connections 3", "redis_evicts 1"].map(|line| format!("hyperpage_{line}\n"));
        check(counted.iter().all(|line| metrics.contains(line)), metrics)
    })
    .await;
    let ready = sidecar.admin.get("/readyz").await.expect(200).json();
    let warning = ready["redis"]["warning"].as_str().unwrap_or_default();
    assert!(warning.contains("allkeys-lru"), "{ready}");
    assert_eq!(sidecar.logs().matches("allkeys-lru").count(), 1, "{}", sidecar.logs());
    sidecar.stop().await;
}
