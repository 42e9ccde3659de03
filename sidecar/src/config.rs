//! Settings, parsed once; nothing else reads the environment.

use crds::contract::env;

/// Sessions.
#[derive(Debug, Clone, clap::Args)]
pub struct Session {
    /// Seconds a session lives after its last write or touch.
    #[arg(long = "session-ttl-seconds", env = env::SESSION_TTL_SECONDS, default_value_t = 86_400,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub ttl_seconds: u32,
    /// Let clients choose the id of a session that does not exist.
    #[arg(long = "session-allow-client-ids", env = env::SESSION_ALLOW_CLIENT_IDS, default_value_t = false,
          value_parser = clap::builder::BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub allow_client_ids: bool,
    /// Let clients set `userId`, `user` and `metadata.created` through /api/sessions.
    #[arg(long = "session-allow-identity-writes", env = env::SESSION_ALLOW_IDENTITY_WRITES,
          default_value_t = false, value_parser = clap::builder::BoolishValueParser::new(),
          action = clap::ArgAction::Set)]
    pub allow_identity_writes: bool,
}
