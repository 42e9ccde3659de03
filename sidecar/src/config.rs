//! Settings, parsed once; nothing else reads the environment.

mod coordination;
mod guards;
mod outage;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser};
pub use coordination::{Coordination, Subscriber};
use crds::contract::env;
pub use guards::{BindIp, Guards};
pub use outage::Outage;
use tracing::level_filters::LevelFilter;

use crate::redis::{Mode, Source, Url, has_password};

pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("BUILD_COMMIT"), ")");

/// Room for some thousands of sessions.
const L1_BYTES: u64 = 8 << 20;
/// The app's own settings, which share our prefix.
const OF_THE_APP: [&str; 1] = ["HYPERPAGE_URL"];
const PREFIX: &str = "HYPERPAGE_";

/// Sessions and coordination on localhost for the app in the same pod.
#[derive(Debug, Parser)]
#[command(name = "hyperpage-sidecar", version = VERSION)]
struct Cli {
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    redis: Redis,
    #[command(flatten)]
    session: Session,
    #[command(flatten)]
    coordination: Coordination,
    #[command(flatten)]
    telemetry: Telemetry,
}

/// Where it listens, and how long it takes its leave.
#[derive(Debug, Clone, Args)]
pub struct Server {
    /// Where the app finds it. Keep it on localhost: whoever reaches it can read every session.
    #[arg(long, env = env::LISTEN, value_name = "ADDRESS", default_value = "127.0.0.1:4100")]
    pub listen: SocketAddr,
    /// Probes and metrics.
    #[arg(long, env = env::ADMIN_LISTEN, value_name = "ADDRESS", default_value = "0.0.0.0:4101")]
    pub admin_listen: SocketAddr,
    /// Seconds that requests in flight get to finish after SIGTERM.
    #[arg(long, env = env::DRAIN_SECONDS, value_name = "SECONDS", default_value_t = 5,
          value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub drain_seconds: u64,
    /// Requests of the app in flight at once; one more is answered 503.
    #[arg(long, env = env::MAX_REQUESTS, value_name = "COUNT", default_value_t = 512,
          value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=65_536))]
    pub max_requests: usize,
}

/// Which Redis.
#[derive(Debug, Clone, Args)]
struct Redis {
    /// redis://[user@]host[:port][/database], rediss:// for TLS. With sentinels or a cluster several hosts,
    /// separated by commas; with sentinels the path is the master's name. A password belongs in a file.
    #[arg(long, env = env::REDIS_URL, hide_env_values = true, value_name = "URL")]
    redis_url: Option<String>,
    /// A file that holds the URL; read again every few seconds, so that a changed Secret is followed.
    #[arg(long, env = env::REDIS_URL_FILE, value_name = "FILE")]
    redis_url_file: Option<PathBuf>,
    /// A file that holds the password; read again at each connection.
    #[arg(long, env = env::REDIS_PASSWORD_FILE, value_name = "FILE")]
    redis_password_file: Option<PathBuf>,
    /// A file (PEM) with the certificates that may have signed Redis' own, instead of those of the system; needs a
    /// rediss:// URL, and is read again at each connection.
    #[arg(long, env = env::REDIS_CA_FILE, value_name = "FILE")]
    redis_ca_file: Option<PathBuf>,
    /// Standalone, unless the URL is of sentinels.
    #[arg(long, env = env::REDIS_MODE)]
    redis_mode: Option<Mode>,
    /// Replicas of each master that must confirm a strong write, and that it still is the master while sessions are
    /// served from memory: half of them, rounded down. With sentinels at least 1.
    #[arg(long, env = env::REDIS_WAIT_REPLICAS, value_name = "COUNT", default_value_t = 0,
          value_parser = clap::value_parser!(u32).range(0..=100))]
    redis_wait_replicas: u32,
    /// For a laptop: readable logs, and without a Redis URL a private redis-server that ends with the sidecar.
    #[arg(long)]
    dev: bool,
}

/// Sessions.
#[derive(Debug, Clone, Args)]
pub struct Session {
    /// Seconds a session lives after its last write or touch.
    #[arg(long = "session-ttl-seconds", env = env::SESSION_TTL_SECONDS, value_name = "SECONDS",
          default_value_t = Session::default().ttl_seconds, value_parser = clap::value_parser!(u32).range(1..))]
    pub ttl_seconds: u32,
    /// Let clients choose the id of a session that does not exist.
    #[arg(long = "session-allow-client-ids", env = env::SESSION_ALLOW_CLIENT_IDS, value_name = "BOOLEAN",
          default_value_t = Session::default().allow_client_ids, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true",
          value_parser = clap::builder::BoolishValueParser::new())]
    pub allow_client_ids: bool,
    /// Let clients set `userId`, `user` and `metadata.created` through /api/sessions.
    #[arg(long = "session-allow-identity-writes", env = env::SESSION_ALLOW_IDENTITY_WRITES,
          value_name = "BOOLEAN", default_value_t = Session::default().allow_identity_writes, action = clap::ArgAction::Set, num_args = 0..=1,
          default_missing_value = "true", value_parser = clap::builder::BoolishValueParser::new())]
    pub allow_identity_writes: bool,
    /// Milliseconds after Redis may have lost data (a restart, a failover, a flush) in which no session is said to be
    /// absent: 503 instead of 401, and Retry-After, while sidecars bring back what they know.
    #[arg(long, env = env::REPAIR_WINDOW_MS, value_name = "MILLISECONDS", default_value_t = 5_000,
          value_parser = clap::value_parser!(u64).range(0..=600_000))]
    pub repair_window_ms: u64,
    /// Bytes of memory in which sessions are kept that Redis would say somebody had changed. 0: none.
    #[arg(long = "session-l1-bytes", env = env::SESSION_L1_BYTES, value_name = "BYTES",
          default_value_t = L1_BYTES, value_parser = clap::value_parser!(u64).range(0..=1 << 32))]
    pub l1_bytes: u64,
    #[command(flatten)]
    pub guards: Guards,
    /// Minutes between two looks, by one pod at a time, for what is left of sessions that are gone; 0 for none.
    #[arg(long = "session-cleanup-interval-minutes", env = "SESSION_CLEANUP_INTERVAL_MINUTES",
          value_name = "MINUTES", default_value_t = 60, value_parser = clap::value_parser!(u32).range(0..=10_080))]
    pub cleanup_interval_minutes: u32,
    #[command(flatten)]
    pub outage: Outage,
}

/// What it says about itself.
#[derive(Debug, Clone, Args)]
pub struct Telemetry {
    /// error, warn, info, debug or trace.
    #[arg(long, env = env::LOG_LEVEL, value_name = "LEVEL", default_value = "info")]
    pub log_level: LevelFilter,
    /// The name of this pod.
    #[arg(long, env = env::POD_NAME, value_name = "NAME", default_value = "local")]
    pub pod_name: String,
}

/// Everything, without contradictions.
pub struct Config {
    pub server: Server,
    pub redis: Store,
    pub session: Session,
    pub coordination: Coordination,
    pub telemetry: Telemetry,
    pub dev: bool,
    /// What the log shall say about the settings themselves.
    pub notes: Vec<String>,
}

pub enum Store {
    At(Source),
    /// A private redis-server, started for this process.
    Private,
}

/// Why there is nothing to run.
#[derive(Debug, PartialEq, Eq)]
pub enum Exit {
    /// Help or the version: to be printed, and done.
    Answered(String),
    /// One line that names the setting.
    Misused(String),
}

impl Server {
    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }
}

impl Default for Session {
    fn default() -> Session {
        Session {
            ttl_seconds: 86_400,
            allow_client_ids: false,
            allow_identity_writes: false,
            repair_window_ms: 5_000,
            l1_bytes: L1_BYTES,
            guards: Guards::default(),
            cleanup_interval_minutes: 60,
            outage: Outage::default(),
        }
    }
}

impl Config {
    pub fn from_process() -> Result<Config, Exit> {
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
        Config::parse(std::env::args_os(), names)
    }

    /// `names` are those of the environment's variables; clap reads their values itself.
    fn parse(args: impl IntoIterator<Item = OsString>, names: Vec<String>) -> Result<Config, Exit> {
        let matches = Cli::command().try_get_matches_from(args).map_err(|error| exit(&error))?;
        let cli = Cli::from_arg_matches(&matches).map_err(|error| exit(&error))?;
        if let Some(unknown) = unknown(&names) {
            return Err(Exit::Misused(format!("{unknown} is no setting of the sidecar (see --help)")));
        }
        let Cli { server, redis, session, coordination, telemetry } = cli;
        if server.listen == server.admin_listen && server.listen.port() != 0 {
            return Err(Exit::Misused(format!(
                "{} and {} are the same address",
                env::LISTEN,
                env::ADMIN_LISTEN
            )));
        }
        session.guards.check().map_err(Exit::Misused)?;
        let mut notes: Vec<String> = coordination.check().map_err(Exit::Misused)?.into_iter().collect();
        let dev = redis.dev;
        let redis = redis.store(&matches, &mut notes).map_err(Exit::Misused)?;
        Ok(Config { server, redis, session, coordination, telemetry, dev, notes })
    }
}

impl Redis {
    fn store(self, matches: &ArgMatches, notes: &mut Vec<String>) -> Result<Store, String> {
        let Redis {
            redis_url,
            redis_url_file,
            redis_password_file,
            redis_ca_file,
            redis_mode,
            redis_wait_replicas,
            dev,
        } = self;
        let given = redis_url.filter(|url| !url.is_empty());
        let mode = redis_mode.unwrap_or(match &given {
            Some(url) if url.split_once("://").is_some_and(|(scheme, _)| scheme.ends_with("-sentinel")) => {
                Mode::Sentinel
            }
            Some(_) | None => Mode::Standalone,
        });
        let url = match (given, redis_url_file) {
            (Some(_), Some(_)) => {
                return Err(format!("{} and {} contradict", env::REDIS_URL, env::REDIS_URL_FILE));
            }
            (Some(url), None) => {
                let argument = matches.value_source("redis_url") == Some(ValueSource::CommandLine);
                check_password(&url, argument, notes)?;
                Url::Given(url)
            }
            (None, Some(file)) => Url::File(file),
            (None, None) if !dev => {
                return Err(format!("{} is not set: give the URL of a Redis, or --dev", env::REDIS_URL));
            }
            (None, None) if redis_password_file.is_some() => {
                return Err(format!("{} needs a {}", env::REDIS_PASSWORD_FILE, env::REDIS_URL));
            }
            (None, None) if redis_ca_file.is_some() => {
                return Err(format!("{} needs a {}", env::REDIS_CA_FILE, env::REDIS_URL));
            }
            (None, None) if redis_wait_replicas > 0 => {
                return Err(format!(
                    "{}: the private Redis of --dev has no replicas",
                    env::REDIS_WAIT_REPLICAS
                ));
            }
            (None, None) if mode != Mode::Standalone => {
                return Err(format!("{}: the private Redis of --dev is standalone", env::REDIS_MODE));
            }
            (None, None) => return Ok(Store::Private),
        };
        let source = Source {
            mode,
            url,
            password_file: redis_password_file,
            ca_file: redis_ca_file,
            wait_replicas: redis_wait_replicas,
        };
        source.check().map_err(|error| format!("{}: {error}", env::REDIS_URL))?;
        Ok(Store::At(source))
    }
}

/// Arguments are shown to everybody on the machine.
fn check_password(url: &str, argument: bool, notes: &mut Vec<String>) -> Result<(), String> {
    if !has_password(url) {
        return Ok(());
    }
    if argument {
        return Err(format!(
            "--redis-url holds a password: put it into a file, {}",
            env::REDIS_PASSWORD_FILE
        ));
    }
    notes.push(format!("{} holds a password; {} is safer", env::REDIS_URL, env::REDIS_PASSWORD_FILE));
    Ok(())
}

fn unknown(names: &[String]) -> Option<&str> {
    let command = Cli::command();
    let known: Vec<&str> = command.get_arguments().filter_map(|arg| arg.get_env()?.to_str()).collect();
    let ours = names.iter().map(String::as_str).filter(|name| name.starts_with(PREFIX));
    let strange = |name: &&str| !known.contains(name) && !OF_THE_APP.contains(name) && !of_a_service(name);
    ours.filter(strange).min()
}

/// What Kubernetes adds to the environment for each Service.
fn of_a_service(name: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.contains("_PORT_")
}

fn exit(error: &clap::Error) -> Exit {
    let text = error.to_string();
    if !error.use_stderr() {
        return Exit::Answered(text);
    }
    // What follows the first sentence is a list of what to type, and never the reason.
    let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    Exit::Misused(match environment(error) {
        Some(name) => format!("{line} (or {name} in the environment)"),
        None => line.to_owned(),
    })
}

/// The variable that sets the argument in question.
fn environment(error: &clap::Error) -> Option<String> {
    let argument = error.get(clap::error::ContextKind::InvalidArg)?.to_string();
    let long = argument.split([' ', '=', '[']).next()?.trim_start_matches("--").to_owned();
    let command = Cli::command();
    let argument = command.get_arguments().find(|argument| argument.get_long() == Some(&long))?;
    Some(argument.get_env()?.to_str()?.to_owned())
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
