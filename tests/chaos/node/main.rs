//! The sidecar with the rules replaced that `MUTANT` names; everything else is its own `main`.

mod mutants;

use anyhow::ensure;
use sidecar::config::{Config, Exit};
use sidecar::rules::Rules;
use sidecar::{run, telemetry};

fn main() -> anyhow::Result<()> {
    let mut rules = Rules::default();
    let names = std::env::var_os("MUTANT").unwrap_or_default().into_string().unwrap_or_default();
    for name in names.split_whitespace() {
        ensure!(mutants::replace(&mut rules, name), "there is no mutant {name}");
    }
    let config = Config::from_process().map_err(|exit| match exit {
        Exit::Answered(text) | Exit::Misused(text) => anyhow::Error::msg(text),
    })?;
    telemetry::init(config.telemetry.log_level, config.dev);
    run::block(config, rules)
}
