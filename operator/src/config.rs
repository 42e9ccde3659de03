//! Settings, parsed once; nothing else reads the environment.

use std::{collections::BTreeSet, net::SocketAddr, str::FromStr};

use clap::Parser;
use tracing_subscriber::filter::LevelFilter;

use crate::scope::Scope;

/// Turns Hyperpages into running apps.
///
/// Kubernetes is found as kubectl finds it: KUBECONFIG or ~/.kube/config, else the pod's service account.
#[derive(Parser, Clone, Debug)]
#[command(name = "hyperpage-operator", version = VERSION)]
pub struct Config {
    /// Image of the sidecar in pods of a Hyperpage that names none.
    #[arg(long, env = "HYPERPAGE_SIDECAR_IMAGE", default_value = concat!("localhost/hyperpage-sidecar:", env!("CARGO_PKG_VERSION")))]
    pub sidecar_image: String,
    /// Image of Redis for a Hyperpage that names none; 7.0 or later.
    #[arg(long, env = "HYPERPAGE_REDIS_IMAGE", default_value = "redis:7-alpine")]
    pub redis_image: String,
    /// Namespaces to work in, with commas between them: nothing elsewhere is read. Empty: all.
    #[arg(long, env = "HYPERPAGE_WATCH_NAMESPACES", default_value = "")]
    pub watch_namespaces: Namespaces,
    /// Seconds between the three steps of a bus key's rotation: longer than kubelets take to bring a changed Secret to
    /// their pods, which is their syncFrequency and as much again.
    #[arg(long, env = "HYPERPAGE_BUS_KEY_WAIT", value_name = "SECONDS", default_value_t = 150,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub bus_key_wait: u64,
    /// Namespace of the Lease that elects one of the operator's replicas.
    #[arg(long, env = "POD_NAMESPACE", default_value = "hyperpage-system")]
    pub namespace: String,
    /// Name of this replica in the Lease and in events; unset: made of the process id.
    #[arg(long, env = "POD_NAME")]
    pub identity: Option<String>,
    /// Where /healthz, /readyz and /metrics are served; port 0 takes a free one.
    #[arg(long, env = "HYPERPAGE_ADMIN_LISTEN", default_value = "0.0.0.0:8080")]
    pub admin_listen: SocketAddr,
    /// off, error, warn, info, debug or trace.
    #[arg(long, env = "HYPERPAGE_LOG_LEVEL", default_value = "info")]
    pub log_level: LevelFilter,
}

impl Config {
    pub fn identity(&self) -> String {
        self.identity.clone().unwrap_or_else(|| format!("local-{}", std::process::id()))
    }
}

/// Namespaces to watch; none named means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces(BTreeSet<String>);

impl Namespaces {
    /// What to watch, one after the other.
    pub fn scopes(&self) -> Vec<Scope> {
        match self.0.is_empty() {
            true => vec![Scope::All],
            false => self.0.iter().cloned().map(Scope::Namespace).collect(),
        }
    }
}

impl FromStr for Namespaces {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        let names: BTreeSet<_> = names.map(str::to_owned).collect();
        match names.iter().find(|name| !is_label(name)) {
            Some(name) => Err(format!("{name:?} is not the name of a namespace")),
            None => Ok(Self(names)),
        }
    }
}

fn is_label(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    name.len() <= 63 && name.bytes().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}

/// What clap prints over many lines, as the one line of a log.
pub fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    paragraph.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The version, with the commit it was built from.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("BUILD_COMMIT"), ")");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_setting_is_one_line_that_names_it() {
        let error = Config::try_parse_from(["hyperpage-operator", "--admin-listen", "nowhere"]).unwrap_err();
        let line = one_line(&error);
        assert!(!line.contains('\n'), "{line}");
        assert!(line.contains("--admin-listen") && line.contains("nowhere"), "{line}");
    }

    #[test]
    fn the_version_names_the_commit() {
        let commit = VERSION.strip_prefix(env!("CARGO_PKG_VERSION")).and_then(|rest| rest.strip_prefix(" ("));
        assert!(commit.is_some_and(|commit| commit.len() > ")".len()), "{VERSION}");
    }

    #[test]
    fn defaults_parse() {
        let config = Config::try_parse_from(["hyperpage-operator"]).unwrap();
        assert_eq!(config.admin_listen.port(), 8080);
        assert!(config.sidecar_image.ends_with(env!("CARGO_PKG_VERSION")));
        assert_eq!(config.watch_namespaces.scopes(), [Scope::All]);
    }

    #[test]
    fn namespaces_are_named_once_and_checked() {
        let scopes = |text: &str| text.parse::<Namespaces>().map(|it| it.scopes());
        let named = ["a", "b-2"].map(|name| Scope::Namespace(name.to_owned()));
        assert_eq!(scopes("b-2, a,,b-2,").unwrap(), named);
        for bad in ["*", "a b", "-a", "A", &"a".repeat(64)] {
            let bad = format!("--watch-namespaces={bad}");
            let error = Config::try_parse_from(["hyperpage-operator", &bad]).unwrap_err();
            let line = one_line(&error);
            assert!(line.contains("--watch-namespaces") && line.contains("not the name"), "{line}");
        }
    }
}
