use std::process::ExitCode;

use sidecar::config::{Config, Exit};
use sidecar::rules::Rules;
use sidecar::{run, telemetry};

/// As sysexits(3): the command was used incorrectly.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let config = match Config::from_process() {
        Ok(config) => config,
        Err(Exit::Answered(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(Exit::Misused(line)) => {
            eprintln!("hyperpage-sidecar: {line}");
            return ExitCode::from(USAGE);
        }
    };
    telemetry::init(config.telemetry.log_level, config.dev);
    match run::block(config, Rules::default()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
