//! The operator's half of `make bench`: what Hyperpages cost against a real API server, in the shape that is shipped
//! and in the naive one, beside the targets. It judges nothing.
//!
//! `operator_bench SHIPPED [NAIVE]`: the binaries.

mod drift;
mod print;
mod run;
mod secrets;
mod stand_in;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use tests::binaries;
use tests::progress::progress;

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Shape {
    Shipped,
    Naive,
}

/// In the order of the columns that compare them.
const SHAPES: [Shape; 2] = [Shape::Shipped, Shape::Naive];

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Shipped => "shipped",
            Self::Naive => "naive",
        })
    }
}

#[derive(Parser)]
pub(crate) struct Settings {
    /// As shipped, and naive if it is to be compared.
    #[arg(num_args = 1..=2, required = true)]
    binaries: Vec<PathBuf>,
    #[arg(long, env = "HYPERPAGES", value_delimiter = ' ', default_value = "0 10 100 1000")]
    hyperpages: Vec<usize>,
    #[arg(long, env = "SECRETS", default_value_t = 8211)]
    secrets: usize,
    #[arg(long, env = "SECRET_KB", default_value_t = 36)]
    secret_kb: usize,
    /// Seconds.
    #[arg(long, env = "REST", default_value_t = 10)]
    rest: u64,
}

impl Settings {
    pub(crate) fn shapes(&self) -> impl Iterator<Item = Shape> {
        SHAPES.into_iter().take(self.binaries.len())
    }

    fn rest(&self) -> Duration {
        Duration::from_secs(self.rest)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let settings = Settings::parse();
    let tools = ["etcd", "kube-apiserver", "kubectl", "helm"];
    if !binaries::present(&tools.map(binaries::kubernetes)) {
        return Ok(());
    }
    print::describe(&settings)?;
    let mut rows = Vec::new();
    for hyperpages in &settings.hyperpages {
        for shape in settings.shapes() {
            match run::run(&settings, shape, *hyperpages).await {
                Ok(row) => rows.push(row),
                Err(error) => {
                    progress(&format!("{hyperpages} Hyperpages, {}: not measured: {error:#}", shape))
                }
            }
        }
    }
    let secrets = secrets::run(&settings).await?;
    print::table(&rows);
    print::calls(&rows);
    print::secrets(&settings, &secrets);
    print::targets(&rows, &secrets);
    Ok(())
}
