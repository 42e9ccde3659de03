//! A hundred sidecars on one machine and one Redis: how soon they know each other, what they cost at rest. It judges
//! nothing.
//!
//! `fleet_bench SIDECAR`: the binary.

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
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let settings = Settings::parse();
    let redis = RedisServer::start().await;
    let fleet = fleet::Fleet::start(&settings, &redis).await?;
    print::discovery(&fleet);
    print::rest(&fleet.rest(&redis, settings.rest).await?);
    Ok(())
}
