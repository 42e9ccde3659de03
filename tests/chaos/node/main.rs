//! The sidecar with one of its rules broken, by the name in `MUTANT`, or none; everything else is its own `main`.

mod mutants;

use anyhow::Context;
use sidecar::config::{Config, Exit};
use sidecar::session::Rules;
use sidecar::{run, telemetry};

fn main() -> anyhow::Result<()> {
    let rules = match std::env::var_os("MUTANT") {
        Some(name) => {
            let rules = name.to_str().and_then(mutants::rules);
            rules.with_context(|| format!("there is no mutant {name:?}"))?
        }
        None => Rules::default(),
    };
    let config = Config::from_process().map_err(|exit| match exit {
        Exit::Answered(text) | Exit::Misused(text) => anyhow::Error::msg(text),
    })?;
    telemetry::init(config.telemetry.log_level, config.dev);
    run::block(config, rules)
}
