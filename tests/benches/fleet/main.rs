//! A hundred sidecars on one machine and one Redis: how soon they know each other, what they cost at rest, and how
//! soon another leads when the leader is killed. It judges
//! nothing.
//!
//! `fleet_bench SIDECAR`: the binary.

mod failover;
mod fleet;
mod print;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use tests::redis::RedisServer;

#[derive(Parser)]
pub(crate) struct Settings {
    sidecar: PathBuf,
    /// Sidecars.
    #[arg(long, env = "PODS", default_value_t = 100)]
    pods: usize,
    /// Seconds in which nothing is asked of them.
    #[arg(long, env = "REST", default_value_t = 10)]
    rest: u64,
    /// Leaders to be killed, one after the other.
    #[arg(long, env = "KILLS", default_value_t = 30)]
    kills: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let settings = Settings::parse();
    let redis = RedisServer::start().await;
    let mut fleet = fleet::Fleet::start(&settings, &redis).await?;
    print::discovery(&fleet);
    print::rest(&fleet.rest(&redis, settings.rest).await?);
    print::kills(failover::kills(&mut fleet, &redis, settings.kills).await?);
    Ok(())
}
