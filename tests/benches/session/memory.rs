//! What many sessions weigh, in Redis and in the sidecar.

use anyhow::{Context, Result};
use serde_json::json;
use tests::bench::Yard;
use tests::http::Http;
use tests::process::memory;
use tests::progress::progress;
use tests::redis::RedisServer;

use crate::Settings;
use crate::contender::{Cache, seed};

pub(crate) struct Weight {
    pub(crate) sessions: usize,
    /// `MEMORY USAGE` of a session as it is made without any fields.
    pub(crate) one: u64,
    /// Redis' used memory per session, all keys beside the session's own included.
    pub(crate) each: f64,
    /// MB of the sidecar that made them, and after it has read all of them.
    pub(crate) made: f64,
    pub(crate) read: f64,
}

pub(crate) async fn measure(settings: &Settings) -> Result<Weight> {
    progress(&format!("{} sessions", settings.many));
    let redis = RedisServer::start().await;
    let yard = Yard::new(&settings.effort.bin)?;
    let sidecar = yard.sidecar(&redis, Cache::On.env()).await?;
    let pid = sidecar.process.pid();
    let before = used(&redis).await?;
    let ids = seed(&sidecar, settings.many, &json!({})).await?;
    let each = (used(&redis).await? - before) as f64 / ids.len() as f64;
    let one = redis.command(&["MEMORY", "USAGE", &format!("hyperpage:session:{}", ids[0])]).await?;
    let made = memory(pid)?.rss;
    let http = Http::new(sidecar.address);
    for ids in ids.chunks(64) {
        let paths: Vec<String> = ids.iter().map(|id| format!("/v1/sessions/{id}")).collect();
        futures::future::join_all(paths.iter().map(|path| http.get(path))).await;
    }
    Ok(Weight { sessions: ids.len(), one, each, made, read: memory(pid)?.rss })
}

async fn used(redis: &RedisServer) -> Result<u64> {
    let info: String = redis.command(&["INFO", "memory"]).await?;
    let line = info.lines().find_map(|line| line.strip_prefix("used_memory:")).context("no used_memory")?;
    Ok(line.trim().parse()?)
}
