//! The operator in its naive shape, which no flag of the shipped one reaches: what `make bench` compares it with.

use clap::Parser;
use operator::{Config, Shape, run_in, telemetry};

fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    telemetry::start(config.log_level);
    run_in(Shape::Naive, config)
}
