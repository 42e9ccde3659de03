//! A hundred sidecars on one machine and one Redis: how soon they know each other, what they cost at rest, how soon the
//! last hears what one of them invalidates, whether anything is lost when much is told, and how soon another leads when
//! the leader is killed. It judges nothing.
//!
//! `fleet_bench BIN`: the folder in which sidecar and peer are built.

mod failover;
mod fleet;
mod messages;
mod print;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use tests::bench;
use tests::redis::RedisServer;

#[derive(Parser)]
pub(crate) struct Settings {
    /// Where `hyperpage-sidecar` and `examples/peer` are.
    bin: PathBuf,
    /// Sidecars.
    #[arg(long, env = "PODS", default_value_t = 100)]
    pods: usize,
    /// Seconds in which nothing is asked of them.
    #[arg(long, env = "REST", default_value_t = 10)]
    rest: u64,
    /// Invalidations, each by another pod.
    #[arg(long, env = "INVALIDATIONS", default_value_t = 200)]
    invalidations: usize,
    /// Messages per second of many pods.
    #[arg(long, env = "RATE", default_value_t = 1000)]
    rate: u32,
    /// Seconds of that.
    #[arg(long, env = "SECONDS_TOLD", default_value_t = 60.0)]
    seconds: f64,
    /// Leaders to be killed, one after the other.
    #[arg(long, env = "KILLS", default_value_t = 30)]
    kills: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let settings = Settings::parse();
    bench::describe(&settings.bin.join("hyperpage-sidecar"))?;
    let redis = RedisServer::start().await;
    let mut fleet = fleet::Fleet::start(&settings, &redis).await?;
    print::discovery(&fleet);
    print::rest(&fleet.rest(&redis, settings.rest).await?);
    print::spread(&messages::spread(&fleet, settings.invalidations).await?);
    print::rate(&messages::rate(&fleet, &redis, &settings).await?, settings.rate);
    print::kills(failover::kills(&mut fleet, &redis, settings.kills).await?);
    Ok(())
}
