//! Those whom `make bench` lets talk to each other: one tells, another process hears, by sidecars or by a client of
//! Redis.
//!
//! `peer hear BY TARGET…`, `peer tell BY TARGET…`, `peer read BY TARGET KEY`, `peer spread TARGET…`: BY is `sidecar`,
//! and TARGET its address; or `redis` or `fred`, and TARGET is the URL of Redis. Each prints a line of `name=value` words
//! at its end; `hear` and `spread` say `ready` when they listen.

mod by;
mod events;
mod hear;
mod spread;
mod tell;
#[path = "../wire.rs"]
mod wire;
mod words;

use anyhow::Result;
use by::By;
use clap::Parser;
use wire::Pacing;

#[derive(Parser)]
enum Args {
    /// Until the end is told, or nothing for long.
    Hear {
        by: By,
        #[arg(required = true)]
        targets: Vec<String>,
    },
    Tell {
        by: By,
        #[arg(required = true)]
        targets: Vec<String>,
        #[command(flatten)]
        pacing: Pacing,
    },
    /// By a client of Redis, on one connection for all that ask.
    Read {
        by: By,
        target: String,
        key: String,
        #[command(flatten)]
        pacing: Pacing,
    },
    /// Invalidates by one sidecar after the other, and waits each time until all have heard it.
    Spread {
        #[arg(required = true)]
        targets: Vec<String>,
        #[arg(long, default_value_t = 100)]
        rounds: usize,
    },
}

// As many as the sidecar has.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    match Args::parse() {
        Args::Hear { by, targets } => hear::hear(by, &targets).await,
        Args::Tell { by, targets, pacing } => tell::tell(by, &targets, &pacing).await,
        Args::Read { by, target, key, pacing } => tell::read(by, &target, &key, &pacing).await,
        Args::Spread { targets, rounds } => spread::spread(&targets, rounds).await,
    }
}
