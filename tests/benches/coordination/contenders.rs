//! Two sidecars as the operator sets them up, and servers that ask Redis for one key.

use anyhow::{Context, Result};
use serde_json::Value;
use tests::bench::{Server, Yard, listening};
use tests::eventually::{check, eventually};
use tests::http::Http;
use tests::redis::RedisServer;

use crate::Settings;

/// Where servers look that know sessions only.
pub(crate) const KEY: &str = "hyperpage:session:leader";
pub(crate) const PATH: &str = "/sessions/leader";

pub(crate) struct Field {
    pub(crate) redis: RedisServer,
    pub(crate) yard: Yard,
    pub(crate) pods: [Server; 2],
    pub(crate) floor: Server,
    pub(crate) node: Server,
}

impl Field {
    pub(crate) async fn start(settings: &Settings) -> Result<Field> {
        let (redis, yard) = (RedisServer::start().await, Yard::new(&settings.effort.bin)?);
        let pods = [pod(&yard, &redis, "one").await?, pod(&yard, &redis, "other").await?];
        let (floor, node) = (yard.floor(&redis)?, yard.node("bare", &[&redis.url()])?);
        for server in [&floor, &node] {
            listening(server).await;
        }
        let app = Http::new(pods[0].address);
        let leader = eventually("one of them leads", std::time::Duration::from_secs(30), async || {
            let leader = app.get("/v1/leader").await;
            check(leader.status == 200 && leader.json()["leaderId"] != Value::Null, &leader).map(|()| leader)
        })
        .await;
        redis.command::<()>(&["SET", KEY, &leader.body]).await.context("what others read")?;
        Ok(Field { redis, yard, pods, floor, node })
    }
}

async fn pod(yard: &Yard, redis: &RedisServer, name: &str) -> Result<Server> {
    let env = yard.pod(name)?;
    yard.sidecar(redis, &env.each_ref().map(|(name, value)| (*name, value.as_str()))).await
}
