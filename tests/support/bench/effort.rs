//! How much is asked of a server, how often and for how long.

use std::path::PathBuf;

/// What the benches that measure in rounds are told.
#[derive(Debug, Clone, clap::Args)]
pub struct Effort {
    /// Where `hyperpage-sidecar` is, and in `examples` what asks it and what it is compared with.
    pub bin: PathBuf,
    #[arg(long, env = "ROUNDS", default_value_t = 3)]
    pub rounds: usize,
    /// Of each measurement.
    #[arg(long, env = "SECONDS_EACH", default_value_t = 3.0)]
    pub seconds: f64,
    /// How many ask, or tell, at the same time.
    #[arg(long, env = "CONNECTIONS", default_value_t = 16)]
    pub connections: usize,
}

impl Effort {
    pub fn pacing(&self, rate: Option<u32>) -> Pacing {
        Pacing { connections: self.connections, seconds: self.seconds, rate }
    }
}

#[derive(Debug, Clone)]
pub struct Pacing {
    pub connections: usize,
    pub seconds: f64,
    /// Per second; without it, as much as is answered.
    pub rate: Option<u32>,
}

impl Pacing {
    pub fn args(&self) -> Vec<String> {
        let Pacing { connections, seconds, rate } = self;
        let mut args = vec![format!("--connections={connections}"), format!("--seconds={seconds}")];
        args.extend(rate.map(|rate| format!("--rate={rate}")));
        args
    }
}
