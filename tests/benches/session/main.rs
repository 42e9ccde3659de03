//! The sidecar's half of `make bench`: beside what a developer would use instead, in one run on one machine, so that
//! ratios mean something where figures do not. It judges nothing.
//!
//! `session_bench BIN`: the folder in which sidecar, floor and load are built.

mod boot;
mod contender;
mod contention;
mod memory;
mod outage;
mod print;
mod speed;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use tests::bench::{Effort, Pacing};
use tests::redis::RedisServer;

#[derive(Parser)]
pub(crate) struct Settings {
    #[command(flatten)]
    effort: Effort,
    #[arg(long, env = "SESSIONS", default_value_t = 1000)]
    sessions: usize,
    /// Requests per second of the open loop.
    #[arg(long, env = "RATES", value_delimiter = ' ', default_value = "1000 5000 20000")]
    rates: Vec<u32>,
    /// Sessions at once in Redis, to be weighed.
    #[arg(long, env = "MANY", default_value_t = 100_000)]
    many: usize,
    /// Seconds that Redis is gone.
    #[arg(long, env = "OUTAGES", value_delimiter = ' ', default_value = "1 5 30")]
    outages: Vec<u64>,
    /// A daprd binary to be measured too.
    #[arg(long, env = "DAPRD")]
    daprd: Option<PathBuf>,
}

impl Settings {
    fn each(&self) -> Duration {
        Duration::from_secs_f64(self.effort.seconds)
    }

    fn pacing(&self, pace: speed::Pace) -> Pacing {
        let rate = match pace {
            speed::Pace::Fast => None,
            speed::Pace::Open(rate) => Some(rate),
        };
        self.effort.pacing(rate)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let settings = Settings::parse();
    let redis = RedisServer::start().await;
    let field = contender::Field::start(&settings, &redis).await?;
    print::describe(&settings, &field, &redis).await?;
    let speed = speed::measure(&settings, &field, &redis).await?;
    print::speed(&settings, &speed);
    let contention = contention::measure(&settings, &redis).await?;
    print::contention(&contention);
    drop(field);
    let boots = boot::measure(&settings, &redis).await?;
    print::boots(&boots);
    let weight = memory::measure(&settings).await?;
    print::weight(&weight);
    let outages = outage::measure(&settings).await?;
    print::outages(&outages);
    print::targets(&settings, &speed, &weight);
    Ok(())
}
