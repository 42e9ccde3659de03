//! One node of a Cluster is away: its own sessions wait for it, and the others' notice nothing.

use std::time::Duration;

use tests::eventually::{check, eventually};
use tests::http::Request;
use tests::redis::RedisCluster;
use tests::sidecar::{Settings, Sidecar};

use crate::common::{assert_unchanged, new_v1};
use crate::outage::{assert_journaled, sibling, state, v1};

/// Back among the others, on a busy machine.
const JOINED: Duration = Duration::from_secs(20);

#[tokio::test]
async fn with_one_node_of_a_cluster_away_only_its_own_sessions_are_stale_and_journaled_and_replayed() {
    let cluster = RedisCluster::start().await;
    for node in &cluster.nodes {
        let some = ["CONFIG", "SET", "cluster-require-full-coverage", "no"];
        node.command::<()>(&some).await.unwrap();
    }
    let settings = Settings::cluster(&cluster);
    let sidecar = Sidecar::start(&settings).await;
    let (mut lost, mut there) = (Vec::new(), Vec::new());
    for _ in 0..30 {
        let (id, etag) = new_v1(&sidecar, r#"{"n":0}"#).await;
        sidecar.app.get(&v1(&id)).await.expect(200);
        let shard = cluster.shard(&format!("hyperpage:session:{id}")).await;
        if shard == 0 { lost.push((id, etag)) } else { there.push((id, etag)) }
    }
    assert!(!lost.is_empty() && !there.is_empty(), "30 sessions lie on all three nodes");
    let others = async |n: u32| {
        for (id, _) in &there {
            sidecar.app.patch(&v1(id), format!(r#"{{"n":{n}}}"#)).await.expect(200);
            let read = sidecar.app.get(&v1(id)).await.expect(200);
            assert_eq!(
                (read.json()["n"].as_u64(), read.header("x-hyperpage-stale-ms")),
                (Some(n.into()), None)
            );
        }
    };
    cluster.nodes[0].hang();
    state(&sidecar, "outage").await;
    eventually("the others know that it is away", JOINED, async || {
        let info: String = cluster.nodes[1].command(&["CLUSTER", "NODES"]).await.unwrap();
        check(info.contains("master,fail "), info)
    })
    .await;
    others(1).await;
    for (id, etag) in &lost {
        let read = sidecar.app.get(&v1(id)).await.expect(200);
        assert!(read.header("x-hyperpage-stale-ms").is_some() && read.etag() == *etag, "{read:?}");
        assert_journaled("merge", &sidecar.app.patch(&v1(id), r#"{"n":1}"#).await);
        let if_match = Request::new("PATCH", v1(id)).json(r#"{"n":9}"#).header("if-match", etag);
        assert_unchanged("If-Match", &sidecar.app.send(if_match).await);
        let read = sidecar.app.get(&v1(id)).await.expect(200);
        assert!(read.header("x-hyperpage-stale-ms").is_some() && read.json()["n"] == 1, "{read:?}");
    }
    others(2).await;
    cluster.nodes[0].resume();
    state(&sidecar, "healthy").await;
    others(3).await;
    for (id, _) in &lost {
        let read = sidecar.app.get(&v1(id)).await.expect(200);
        assert_eq!((read.json()["n"].as_u64(), read.header("x-hyperpage-stale-ms")), (Some(1), None));
        let ops: Vec<u8> = cluster.nodes[0].command(&["HGET", &sibling(id), "ops"]).await.unwrap();
        assert_eq!(ops.len() / 8, 2, "the creation and the merge, each once");
    }
    let ready = sidecar.admin.get("/readyz").await.expect(200).json();
    assert_eq!(ready["sessions"]["journal"]["replayed"], lost.len(), "{ready}");
    sidecar.stop().await;
}
