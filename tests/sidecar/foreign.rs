//! Redis as the original's pods see it: they know nothing of sidecars.

use redis::{FromRedisValue, RedisResult};
use serde_json::json;
use tests::redis::{RedisCluster, RedisServer};
use tests::sidecar::{Settings, Sidecar};

/// A Redis, or three masters, as a foreign client sees them.
pub(crate) struct Foreign {
    pub(crate) nodes: Vec<RedisServer>,
}

impl Foreign {
    pub(crate) async fn both() -> [Foreign; 2] {
        let (one, cluster) = tokio::join!(RedisServer::start(), RedisCluster::start());
        [Foreign { nodes: vec![one] }, Foreign { nodes: cluster.nodes }]
    }

    pub(crate) async fn sidecar(&self) -> Sidecar {
        self.sidecar_with(|settings| settings).await
    }

    pub(crate) async fn sidecar_with(&self, settings: impl FnOnce(Settings) -> Settings) -> Sidecar {
        let urls: Vec<String> = self.nodes.iter().map(RedisServer::url).collect();
        let mode = if self.nodes.len() == 1 { "standalone" } else { "cluster" };
        let here = Settings::redis(urls.join(",")).env("HYPERPAGE_REDIS_MODE", mode);
        Sidecar::start(&settings(here)).await
    }

    /// On the node that owns the key.
    pub(crate) async fn command<T: FromRedisValue>(&self, words: &[&str]) -> T {
        for node in &self.nodes {
            let answer: RedisResult<T> = node.command(words).await;
            match answer {
                Err(error) if error.code() == Some("MOVED") => {}
                answer => return answer.unwrap(),
            }
        }
        panic!("no node owns the key of {words:?}");
    }

    /// As the original's pods write one.
    pub(crate) async fn set(&self, id: &str, user: &str, created: &str) {
        let session = json!({ "userId": user, "metadata": { "created": created, "updated": created } });
        let key = format!("hyperpage:session:{id}");
        self.command::<()>(&["SET", &key, &session.to_string(), "EX", "86400"]).await;
    }

    pub(crate) async fn exists(&self, id: &str) -> bool {
        self.command(&["EXISTS", &format!("hyperpage:session:{id}")]).await
    }
}
