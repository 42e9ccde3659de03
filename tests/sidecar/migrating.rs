//! A slot of a Cluster on its way to another node: its sessions are there all the while.

use tests::eventually::{check, eventually};
use tests::http::Request;
use tests::redis::{RedisCluster, RedisServer};
use tests::sidecar::{Settings, Sidecar};

use crate::common::{RECOVERY, assert_unchanged, new_session};

/// The way of one session's slot from its node to another.
struct Migration<'a> {
    slot: String,
    source: &'a RedisServer,
    target: &'a RedisServer,
    target_id: String,
}

impl Migration<'_> {
    /// Both nodes know of it; the session is where it was.
    async fn begin<'a>(cluster: &'a RedisCluster, key: &str) -> Migration<'a> {
        let slot: usize = cluster.nodes[0].command(&["CLUSTER", "KEYSLOT", key]).await.unwrap();
        let from = cluster.shard(key).await;
        let (source, target) = (&cluster.nodes[from], &cluster.nodes[(from + 1) % 3]);
        let source_id: String = source.command(&["CLUSTER", "MYID"]).await.unwrap();
        let target_id: String = target.command(&["CLUSTER", "MYID"]).await.unwrap();
        let slot = slot.to_string();
        target.command::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source_id]).await.unwrap();
        source.command::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target_id]).await.unwrap();
        Migration { slot, source, target, target_id }
    }

    async fn carry(&self, key: &str) {
        let port = self.target.port().to_string();
        self.source.command::<()>(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]).await.unwrap();
    }

    /// How many keys of the slot lie on this node.
    async fn keys(&self, node: &RedisServer) -> i64 {
        node.command(&["CLUSTER", "COUNTKEYSINSLOT", &self.slot]).await.unwrap()
    }

    async fn end(&self) {
        for node in [self.target, self.source] {
            let to = ["CLUSTER", "SETSLOT", &self.slot, "NODE", &self.target_id];
            node.command::<()>(&to).await.unwrap();
        }
    }
}

/// Before its key has moved the old node has it, after that the new one, which has to be asked for it expressly.
#[tokio::test]
async fn a_session_is_read_and_touched_while_its_slot_moves() {
    let cluster = RedisCluster::start().await;
    let settings = Settings::cluster(&cluster);
    let sidecar = Sidecar::start(&settings).await;
    let id = new_session(&sidecar).await;
    let (key, path) = (format!("hyperpage:session:{id}"), format!("/v1/sessions/{id}"));
    let served = async || {
        let etag = sidecar.app.get(&path).await.expect(200).etag();
        assert_eq!(sidecar.app.get(&path).await.expect(200).etag(), etag);
        sidecar.app.get(&format!("/api/sessions?sessionId={id}")).await.expect(200);
        let touch = Request::new("POST", format!("{path}/touch"));
        assert_eq!(sidecar.app.send(touch.clone()).await.expect(204).etag(), etag);
        sidecar.app.send(touch.header("if-match", &etag)).await.expect(204);
        sidecar.app.patch(&path, r#"{"n":1}"#).await
    };
    let migration = Migration::begin(&cluster, &key).await;
    served().await.expect(200);
    migration.carry(&key).await;
    assert_eq!((migration.keys(migration.source).await, migration.keys(migration.target).await), (1, 1));
    // A write needs what is known of the session too, and Redis refuses two keys of which one is elsewhere.
    assert_unchanged("its slot is moving", &served().await);
    migration.carry(&format!("{{{key}}}:m")).await;
    served().await.expect(200);
    migration.end().await;
    eventually("it is written on its new node", RECOVERY, async || {
        let write = sidecar.app.patch(&path, r#"{"n":1}"#).await;
        check(write.status == 200, write)
    })
    .await;
    sidecar.app.get(&path).await.expect(200);
    sidecar.stop().await;
}
