//! What one client may cost, and by what it is known.

use clap::{Args, ValueEnum};
use crds::contract::env;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct Guards {
    /// Proxies before the app that append to X-Forwarded-For the address they were called from. The client's own is
    /// the one that the outermost of them appended; with 0 no address is believed.
    #[arg(long = "session-trusted-hops", env = env::SESSION_TRUSTED_HOPS, value_name = "COUNT",
          default_value_t = Guards::default().trusted_hops, value_parser = clap::value_parser!(u8).range(0..=16))]
    pub trusted_hops: u8,
    /// New sessions per minute for one client address (IPv6: one /64); 0 for as many as it likes.
    #[arg(long = "session-create-limit-per-minute", env = env::SESSION_CREATE_LIMIT_PER_MINUTE, value_name = "COUNT",
          default_value_t = Guards::default().create_limit_per_minute,
          value_parser = clap::value_parser!(u32).range(0..=60_000))]
    pub create_limit_per_minute: u32,
    /// on or off: whether /v1 gives each new session in the cookie hyperpage-session, and /v1/session is that session.
    #[arg(long = "session-cookie", env = env::SESSION_COOKIE, value_name = "BOOLEAN",
          default_value_t = Guards::default().cookie, action = clap::ArgAction::Set, num_args = 0..=1,
          default_missing_value = "true", value_parser = clap::builder::BoolishValueParser::new())]
    pub cookie: bool,
    /// Whether a session may be used only from the address that it was made from (subnet: from its /24 or /64).
    #[arg(long = "session-bind-ip", env = env::SESSION_BIND_IP, value_name = "HOW",
          default_value_t = Guards::default().bind_ip, value_enum)]
    pub bind_ip: BindIp,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum BindIp {
    #[default]
    Off,
    Subnet,
    Exact,
}

impl Default for Guards {
    fn default() -> Guards {
        Guards { trusted_hops: 0, create_limit_per_minute: 0, cookie: false, bind_ip: BindIp::Off }
    }
}

impl Guards {
    /// What is about addresses needs to know them.
    pub(super) fn check(&self) -> Result<(), String> {
        let Guards { trusted_hops, create_limit_per_minute, cookie: _, bind_ip } = *self;
        let needs = [
            (create_limit_per_minute > 0, env::SESSION_CREATE_LIMIT_PER_MINUTE),
            (bind_ip != BindIp::Off, env::SESSION_BIND_IP),
        ];
        match needs.into_iter().find(|(needs, _)| *needs && trusted_hops == 0) {
            None => Ok(()),
            Some((_, name)) => Err(format!(
                "{name} needs {}: say how many proxies before the app append to X-Forwarded-For",
                env::SESSION_TRUSTED_HOPS
            )),
        }
    }
}
