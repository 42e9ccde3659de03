//! What it costs to tell others something through sidecars, and to ask one who leads, beside what a client of Redis does
//! without them: in one run on one machine, so that ratios mean something where figures do not. It judges nothing.
//!
//! `coordination_bench BIN`: the folder in which sidecar, floor, load and peer are built.

mod contenders;
mod print;
mod run;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use tests::bench::Pacing;

#[derive(Parser)]
pub(crate) struct Settings {
    /// Where `hyperpage-sidecar` and `examples/{floor,load,peer}` are.
    bin: PathBuf,
    #[arg(long, env = "ROUNDS", default_value_t = 3)]
    rounds: usize,
    /// Of each measurement.
    #[arg(long, env = "SECONDS_EACH", default_value_t = 3.0)]
    seconds: f64,
    /// How many ask, or tell, at the same time.
    #[arg(long, env = "CONNECTIONS", default_value_t = 16)]
    connections: usize,
    /// Per second, where not as much as is answered.
    #[arg(long, env = "RATE", default_value_t = 1000)]
    rate: u32,
}

impl Settings {
    fn paces(&self) -> [Pacing; 2] {
        [None, Some(self.rate)].map(|rate| Pacing {
            connections: self.connections,
            seconds: self.seconds,
            rate,
        })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let settings = Settings::parse();
    let field = contenders::Field::start(&settings).await?;
    print::describe(&settings)?;
    let figures = run::measure(&settings, &field).await?;
    print::figures(&settings, &figures);
    Ok(())
}
