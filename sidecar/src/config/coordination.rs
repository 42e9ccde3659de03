//! How pods find each other, agree on a leader and talk.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use crds::contract::{CHANNEL_PREFIX, env};

use crate::key::GroupKeys;
use crate::leader::{Profile, Timing};

/// Messages per minute that an app may send, as the original documents them.
const HIGH: u32 = 100;
const NORMAL: u32 = 500;

/// How pods find each other, agree on a leader and talk.
#[derive(Debug, Clone, Args)]
pub struct Coordination {
    /// No election, no messages and no list of pods where it is false: their paths answer 404.
    #[arg(long = "pod-coordination-enabled", env = env::POD_COORDINATION_ENABLED, value_name = "BOOLEAN",
          default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true",
          value_parser = clap::builder::BoolishValueParser::new())]
    pub enabled: bool,
    /// What the names of all channels begin with, and of the keys behind them. Apps on one Redis that have the same are one
    /// app: they elect one leader, and hear each other.
    #[arg(long = "pod-channel-prefix", env = env::POD_CHANNEL_PREFIX, value_name = "PREFIX",
          default_value = CHANNEL_PREFIX)]
    pub channel_prefix: String,
    /// How soon another pod leads when the leader is gone: less than a second, or half a minute as in the original.
    /// Unset: fast, but relaxed where LEADER_ELECTION_TIMEOUT or LEADER_HEARTBEAT_INTERVAL is set.
    #[arg(long = "leader-profile", env = env::LEADER_PROFILE)]
    profile: Option<Profile>,
    /// Milliseconds that a leader leads after its last renewal.
    #[arg(long = "leader-election-timeout", env = env::LEADER_ELECTION_TIMEOUT, value_name = "MILLISECONDS",
          value_parser = clap::value_parser!(u64).range(100..=600_000))]
    election_timeout: Option<u64>,
    /// Milliseconds between two renewals; at most half of the election timeout.
    #[arg(long = "leader-heartbeat-interval", env = env::LEADER_HEARTBEAT_INTERVAL, value_name = "MILLISECONDS",
          value_parser = clap::value_parser!(u64).range(10..=300_000))]
    heartbeat_interval: Option<u64>,
    /// Messages of high priority that the app may send per minute; one more is answered 429. 0: as many as it likes.
    #[arg(long = "coord-high-priority-threshold", env = env::COORD_HIGH_PRIORITY_THRESHOLD,
          value_name = "COUNT", default_value_t = HIGH)]
    pub high_per_minute: u32,
    /// The same, of normal priority. Those of low priority have no limit of their own.
    #[arg(long = "coord-normal-priority-threshold", env = env::COORD_NORMAL_PRIORITY_THRESHOLD,
          value_name = "COUNT", default_value_t = NORMAL)]
    pub normal_per_minute: u32,
    /// Whether pods of the original hear what is sent, and are heard: in plain text, by whoever reaches Redis.
    /// Unset: as long as there is no key.
    #[arg(long = "coord-compat", env = env::COORD_COMPAT)]
    compat: Option<Compat>,
    /// A file with the keys that messages are sealed with; read again every few seconds. A line for each of at most
    /// two: an id of 1 to 16 letters or digits, a blank, 32 bytes in base64. The first seals, all open.
    #[arg(long = "bus-keys-file", env = env::BUS_KEYS_FILE, value_name = "FILE")]
    pub bus_keys_file: Option<PathBuf>,
    /// The client that hears what others say. Both hear the same; where Redis does not speak RESP3 it is fred.
    #[arg(long = "bus-subscriber", env = "HYPERPAGE_BUS_SUBSCRIBER", default_value = "redis")]
    pub bus_subscriber: Subscriber,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Subscriber {
    Fred,
    Redis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Compat {
    Original,
    Off,
}

impl Default for Coordination {
    fn default() -> Coordination {
        Coordination {
            enabled: true,
            channel_prefix: CHANNEL_PREFIX.to_owned(),
            profile: None,
            election_timeout: None,
            heartbeat_interval: None,
            high_per_minute: HIGH,
            normal_per_minute: NORMAL,
            compat: None,
            bus_keys_file: None,
            bus_subscriber: Subscriber::Redis,
        }
    }
}

impl Coordination {
    /// What the settings contradict each other in, or what the log shall say about them.
    pub(super) fn check(&self) -> Result<Option<String>, String> {
        let prefix = &self.channel_prefix;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        if prefix.is_empty() || prefix.len() > 192 || !prefix.bytes().all(plain) {
            return Err(format!(
                "{}: 1 to 192 letters, digits, '.', '_', ':' and '-'",
                env::POD_CHANNEL_PREFIX
            ));
        }
        let given = self.election_timeout.is_some() || self.heartbeat_interval.is_some();
        let names = format!("{} and {}", env::LEADER_ELECTION_TIMEOUT, env::LEADER_HEARTBEAT_INTERVAL);
        if given && self.profile == Some(Profile::Fast) {
            return Err(format!("{} fast has times of its own: leave out {names}", env::LEADER_PROFILE));
        }
        if self.made().is_none() {
            return Err(format!(
                "{} must be at most half of {}",
                env::LEADER_HEARTBEAT_INTERVAL,
                env::LEADER_ELECTION_TIMEOUT
            ));
        }
        let quiet = !given || self.profile.is_some() || !self.enabled;
        Ok((!quiet).then(|| {
            format!(
                "{names} make fail-over slow; without them, or with {}=fast, it takes less than a second",
                env::LEADER_PROFILE
            )
        }))
    }

    pub(crate) fn keys(&self) -> GroupKeys {
        GroupKeys::new(&self.channel_prefix)
    }

    /// Checked when it was parsed.
    pub fn timing(&self) -> Timing {
        self.made().unwrap_or_else(|| Profile::Fast.timing())
    }

    fn made(&self) -> Option<Timing> {
        let (timeout, interval) = (self.election_timeout, self.heartbeat_interval);
        if timeout.is_none() && interval.is_none() {
            return Some(self.profile.unwrap_or(Profile::Fast).timing());
        }
        let usual = Profile::Relaxed.timing();
        let or = |given: Option<u64>, usual| given.map_or(usual, Duration::from_millis);
        Timing::checked(or(timeout, usual.ttl), or(interval, usual.renew))
    }

    /// Whether plain messages are sent and taken.
    pub fn compat(&self) -> bool {
        self.compat.map_or(self.bus_keys_file.is_none(), |compat| compat == Compat::Original)
    }
}
