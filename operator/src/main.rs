use std::process::ExitCode;

use clap::Parser;
use operator::{Config, run, telemetry};

/// `EX_USAGE` of sysexits(3).
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let config = match Config::try_parse() {
        Ok(config) => config,
        Err(error) if !error.use_stderr() => error.exit(),
        Err(error) => {
            eprintln!("{}", operator::config::one_line(&error));
            return ExitCode::from(USAGE);
        }
    };
    telemetry::start(config.log_level);
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "operator ends");
            ExitCode::FAILURE
        }
    }
}
