//! What becomes of requests while Redis is away.

use std::time::Duration;

use clap::Args;
use crds::contract::env;

use crate::session::Fallback;

/// What becomes of requests while Redis does not answer. Sessions that are known here are read as they were known
/// last, marked with X-Hyperpage-Stale-Ms.
#[derive(Debug, Clone, Args)]
pub struct Outage {
    /// Unset: changes that fit whatever the session becomes (merges, touches, deletions) wait in a journal in memory,
    /// are answered 202 and brought to Redis when it is back; all else is 503. True: new sessions wait as well, and
    /// nothing is promised of what is written then. False: every write is 503.
    #[arg(long = "session-fallback-to-memory", env = env::SESSION_FALLBACK_TO_MEMORY, value_name = "BOOLEAN",
          num_args = 0..=1, default_missing_value = "true",
          value_parser = clap::builder::BoolishValueParser::new())]
    pub fallback_to_memory: Option<bool>,
    /// Seconds for which a session is read as it was known last, and never beyond its life.
    #[arg(
        long = "session-max-stale-seconds",
        env = env::SESSION_MAX_STALE_SECONDS,
        value_name = "SECONDS",
        default_value_t = Outage::default().max_stale_seconds
    )]
    pub max_stale_seconds: u32,
    /// What the journal may take of memory; a change that finds it full is 503.
    #[arg(long = "session-journal-bytes", env = "SESSION_JOURNAL_BYTES", value_name = "BYTES",
          default_value_t = Outage::default().journal_bytes)]
    pub journal_bytes: usize,
    /// Seconds after which a change in the journal is dropped and counted. A deleted session cannot be made again
    /// for a minute longer than that, and for ten minutes at least.
    #[arg(long = "session-journal-seconds", env = "SESSION_JOURNAL_SECONDS", value_name = "SECONDS",
          default_value_t = Outage::default().journal_seconds, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub journal_seconds: u32,
}

impl Default for Outage {
    fn default() -> Outage {
        Outage {
            fallback_to_memory: None,
            max_stale_seconds: 300,
            journal_bytes: 4 * 1024 * 1024,
            journal_seconds: 600,
        }
    }
}

impl Outage {
    pub fn fallback(&self) -> Fallback {
        match self.fallback_to_memory {
            None => Fallback::Journal,
            Some(true) => Fallback::Memory,
            Some(false) => Fallback::Reject,
        }
    }

    pub fn max_stale(&self) -> Duration {
        Duration::from_secs(self.max_stale_seconds.into())
    }

    pub fn journal_age(&self) -> Duration {
        Duration::from_secs(self.journal_seconds.into())
    }
}
