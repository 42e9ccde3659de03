//! What it costs to tell others something through sidecars, and to ask one who leads, beside what a client of Redis does
//! without them: in one run on one machine, so that ratios mean something where figures do not. It judges nothing.
//!
//! `coordination_bench BIN`: the folder in which sidecar, floor, load and peer are built.

mod contenders;
mod print;
mod run;

use anyhow::Result;
use clap::Parser;
use tests::bench::{Effort, Pacing};

#[derive(Parser)]
pub(crate) struct Settings {
    #[command(flatten)]
    effort: Effort,
    /// Per second, where not as much as is answered.
    #[arg(long, env = "RATE", default_value_t = 1000)]
    rate: u32,
}

impl Settings {
    fn paces(&self) -> [Pacing; 2] {
        [None, Some(self.rate)].map(|rate| self.effort.pacing(rate))
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
