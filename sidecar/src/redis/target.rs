//! Where Redis is, from `REDIS_URL` and the password file. Nothing here repeats a URL in an error: it may hold a
//! password.

use std::path::PathBuf;
use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, TlsCertificates};

const REDIS_PORT: u16 = crds::contract::REDIS_PORT;
const SENTINEL_PORT: u16 = 26_379;
/// A mounted Secret; anything longer is no password and no URL.
const MAX_FILE: u64 = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    Standalone,
    Sentinel,
    Cluster,
}

/// Files are read anew at each dial and every few seconds, so that a changed Secret is followed. No `Debug`: it may hold a password.
#[derive(Clone)]
pub struct Source {
    pub mode: Mode,
    pub url: Url,
    pub password_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
    /// As it is set; `replicas` is what is asked for.
    pub wait_replicas: u32,
}

#[derive(Clone)]
pub enum Url {
    Given(String),
    File(PathBuf),
}

#[derive(Debug, Clone)]
pub(super) enum Target {
    Standalone(ConnectionInfo),
    /// `data` is how to log in at whatever node the sentinels name.
    Sentinel {
        sentinels: Vec<ConnectionInfo>,
        master_name: String,
        data: ConnectionInfo,
    },
    Cluster {
        seeds: Vec<ConnectionInfo>,
    },
}

/// Where a URL leads, without how to log in there: a new password is no reason to leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Destination {
    hosts: Vec<ConnectionAddr>,
    master_name: String,
    database: i64,
}

impl Source {
    pub(super) fn target(&self) -> Result<Target, String> {
        let password = self.password_file.as_ref().map(read).transpose()?;
        let target = match &self.url {
            Url::Given(url) => Target::parse(self.mode, url, password.as_deref()),
            Url::File(path) => Target::parse(self.mode, &read(path)?, password.as_deref()),
        }?;
        match &self.ca_file {
            None => Ok(target),
            Some(path) => {
                target.trusting(&read(path)?).map_err(|error| format!("{}: {error}", path.display()))
            }
        }
    }

    /// Certificates (PEM) that may have signed Redis' own; of the system where there are none.
    pub(super) fn ca(&self) -> Result<Option<String>, String> {
        self.ca_file.as_ref().map(read).transpose()
    }

    /// How many replicas must confirm what has to survive a failover, and that no other master has taken over. Where
    /// there are sentinels there is a failover, whatever is set.
    pub(super) fn replicas(&self) -> u32 {
        match self.mode {
            Mode::Sentinel => self.wait_replicas.max(1),
            Mode::Standalone | Mode::Cluster => self.wait_replicas,
        }
    }

    /// What is wrong with it, as far as can be said without the files.
    pub fn check(&self) -> Result<(), String> {
        match &self.url {
            Url::Given(url) if self.password_file.is_some() && has_password(url) => {
                Err("holds a password, and a password file is given too".to_owned())
            }
            Url::Given(url) => {
                let target = Target::parse(self.mode, url, None)?;
                let plain = target.infos().iter().any(|info| !is_tls(info));
                if self.ca_file.is_some() && plain { Err(NO_TLS.to_owned()) } else { Ok(()) }
            }
            Url::File(_) => Ok(()),
        }
    }
}

fn read(path: &PathBuf) -> Result<String, String> {
    let failed = |error: &dyn std::fmt::Display| format!("cannot read {}: {error}", path.display());
    let length = std::fs::metadata(path).map_err(|error| failed(&error))?.len();
    if length > MAX_FILE {
        return Err(failed(&"it is too long"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

impl Target {
    /// Whom to ask first.
    fn infos(&self) -> &[ConnectionInfo] {
        match self {
            Target::Standalone(info) => std::slice::from_ref(info),
            Target::Sentinel { sentinels, .. } => sentinels,
            Target::Cluster { seeds } => seeds,
        }
    }

    pub(super) fn destination(&self) -> Destination {
        let (name, database) = match self {
            Target::Standalone(info) => ("", info.redis_settings().db()),
            Target::Sentinel { sentinels: _, master_name, data } => {
                (master_name.as_str(), data.redis_settings().db())
            }
            Target::Cluster { seeds: _ } => ("", 0),
        };
        let hosts = self.infos().iter().map(|info| info.addr().clone()).collect();
        Destination { hosts, master_name: name.to_owned(), database }
    }

    /// The same, where only these certificates (PEM) may have signed Redis' own.
    fn trusting(self, pem: &str) -> Result<Target, String> {
        let trust = |info: ConnectionInfo| trusting(info, pem);
        Ok(match self {
            Target::Standalone(info) => Target::Standalone(trust(info)?),
            Target::Sentinel { sentinels, master_name, data } => Target::Sentinel {
                sentinels: sentinels.into_iter().map(trust).collect::<Result<_, _>>()?,
                master_name,
                data: trust(data)?,
            },
            Target::Cluster { seeds } => {
                Target::Cluster { seeds: seeds.into_iter().map(trust).collect::<Result<_, _>>()? }
            }
        })
    }

    /// `redis://[user[:password]@]host[:port][,…][/database]`; with sentinels `…/master-name[/database]`.
    /// Hosts may repeat scheme, user part and path, as a list of URLs does.
    pub(super) fn parse(mode: Mode, url: &str, password: Option<&str>) -> Result<Target, String> {
        if url.starts_with("unix:") || url.starts_with("redis+unix:") {
            return match mode {
                Mode::Standalone => Ok(Target::Standalone(login(url, password)?)),
                Mode::Sentinel | Mode::Cluster => {
                    Err("a Unix socket is one Redis: standalone only".to_owned())
                }
            };
        }
        let list = List::parse(url)?;
        match mode {
            Mode::Standalone => match &list.hosts[..] {
                [host] if !list.sentinel => Ok(Target::Standalone(list.login(host, password)?)),
                [_] => Err("the scheme is for sentinels, the mode is standalone".to_owned()),
                _ => Err("several hosts need the mode sentinel or cluster".to_owned()),
            },
            Mode::Sentinel => {
                let (name, database) = list.path.split_once('/').unwrap_or((list.path, ""));
                if name.is_empty() {
                    return Err("the master's name is missing: redis://host:26379,…/NAME".to_owned());
                }
                let sentinels: Result<_, _> = list.hosts.iter().map(|host| list.sentinel(host)).collect();
                let data = List { path: database, ..list.clone() };
                let data = data.login(list.hosts[0], password)?;
                Ok(Target::Sentinel { sentinels: sentinels?, master_name: name.to_owned(), data })
            }
            Mode::Cluster if list.sentinel => {
                Err("the scheme is for sentinels, the mode is cluster".to_owned())
            }
            Mode::Cluster if !matches!(list.path, "" | "0") => {
                Err("a cluster has no database but 0".to_owned())
            }
            Mode::Cluster => {
                let seeds: Result<_, _> = list.hosts.iter().map(|host| list.login(host, password)).collect();
                Ok(Target::Cluster { seeds: seeds? })
            }
        }
    }
}

/// Whether a URL, or one of a list, holds a password. In doubt it does.
pub fn has_password(urls: &str) -> bool {
    // Up to the last `@`, so that a password with a slash in it is one too.
    let mut users = urls.split("://").filter_map(|part| Some(part.rsplit_once('@')?.0));
    let in_user = |users: &str| {
        let (hosts, user) = users.rsplit_once(',').unwrap_or(("", users));
        let is_port = |port: &str| port.bytes().all(|digit| digit.is_ascii_digit());
        let no_host = |host: &str| host.rsplit_once(':').is_some_and(|(_, port)| !is_port(port));
        user.contains(':') || hosts.split(',').any(no_host)
    };
    urls.contains("?pass=") || urls.contains("&pass=") || users.any(in_user)
}

#[derive(Clone)]
struct List<'a> {
    tls: bool,
    sentinel: bool,
    user: &'a str,
    hosts: Vec<&'a str>,
    path: &'a str,
}

impl<'a> List<'a> {
    fn parse(url: &'a str) -> Result<List<'a>, String> {
        let (scheme, _) = url.split_once("://").ok_or("it must begin with redis:// or rediss://")?;
        let (tls, sentinel) = match scheme {
            "redis" => (false, false),
            "rediss" => (true, false),
            "redis-sentinel" => (false, true),
            "rediss-sentinel" => (true, true),
            _ => return Err("the scheme is not redis://, rediss:// or redis-sentinel://".to_owned()),
        };
        let mut list = List { tls, sentinel, user: "", hosts: Vec::new(), path: "" };
        for item in url.split(',') {
            let rest = match item.split_once("://") {
                Some((same, rest)) if same == scheme => rest,
                Some(_) => return Err("its hosts have different schemes".to_owned()),
                None => item,
            };
            if rest.contains(['?', '#']) {
                return Err("parameters (`?`, `#`) are not supported".to_owned());
            }
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
            same(&mut list.user, user, "user parts")?;
            same(&mut list.path, path.trim_end_matches('/'), "paths")?;
            if host.is_empty() {
                return Err("a host is empty".to_owned());
            }
            list.hosts.push(host);
        }
        Ok(list)
    }

    fn login(&self, host: &str, password: Option<&str>) -> Result<ConnectionInfo, String> {
        let scheme = if self.tls { "rediss" } else { "redis" };
        let at = if self.user.is_empty() { "" } else { "@" };
        let port = default_port(host, REDIS_PORT);
        login(&format!("{scheme}://{}{at}{host}{port}/{}", self.user, self.path), password)
    }

    /// Sentinels are asked without a password: theirs is not the data nodes'.
    fn sentinel(&self, host: &str) -> Result<ConnectionInfo, String> {
        let scheme = if self.tls { "rediss" } else { "redis" };
        login(&format!("{scheme}://{host}{}", default_port(host, SENTINEL_PORT)), None)
    }
}

fn same<'a>(known: &mut &'a str, new: &'a str, what: &str) -> Result<(), String> {
    match (known.is_empty(), new.is_empty()) {
        (_, true) => Ok(()),
        (true, false) => {
            *known = new;
            Ok(())
        }
        (false, false) if *known == new => Ok(()),
        (false, false) => Err(format!("its hosts have different {what}")),
    }
}

fn default_port(host: &str, port: u16) -> String {
    let after_address = host.rsplit(']').next().unwrap_or(host);
    if after_address.contains(':') { String::new() } else { format!(":{port}") }
}

fn login(url: &str, password: Option<&str>) -> Result<ConnectionInfo, String> {
    let info = url.into_connection_info().map_err(|_| "it is not the URL of a Redis".to_owned())?;
    let mut settings =
        info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name();
    if let Some(password) = password {
        settings = settings.set_password(password);
    }
    Ok(info.set_redis_settings(settings).set_tcp_settings(tcp_settings()))
}

const NO_TLS: &str = "certificates are given, and the URL is not rediss://";

fn is_tls(info: &ConnectionInfo) -> bool {
    matches!(info.addr(), ConnectionAddr::TcpTls { .. })
}

fn trusting(info: ConnectionInfo, pem: &str) -> Result<ConnectionInfo, String> {
    if !is_tls(&info) {
        return Err(NO_TLS.to_owned());
    }
    if !pem.contains("-----BEGIN CERTIFICATE-----") {
        return Err("it holds no certificate in PEM".to_owned());
    }
    let certificates = TlsCertificates { client_tls: None, root_cert: Some(pem.as_bytes().to_vec()) };
    let client = Client::build_with_tls(info, certificates).map_err(|error| error.to_string())?;
    Ok(client.get_connection_info().clone())
}

/// The same login in the protocol that every Redis speaks.
pub(super) fn plain(info: ConnectionInfo) -> ConnectionInfo {
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2);
    info.set_redis_settings(settings)
}

/// A connection that is given up must not deliver what it still holds: no lingering.
fn tcp_settings() -> TcpSettings {
    let settings = TcpSettings::default().set_nodelay(true).set_linger_time(Duration::ZERO);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(Duration::from_secs(1));
    settings
}

/// The same login at another address.
pub(super) fn elsewhere(info: &ConnectionInfo, host: &str, port: u16) -> ConnectionInfo {
    let addr = match info.addr() {
        ConnectionAddr::TcpTls { tls_params, .. } => ConnectionAddr::TcpTls {
            host: host.to_owned(),
            port,
            insecure: false,
            tls_params: tls_params.clone(),
        },
        _ => ConnectionAddr::Tcp(host.to_owned(), port),
    };
    info.clone().set_addr(addr)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(info: &ConnectionInfo) -> String {
        info.addr().to_string()
    }

    #[test]
    fn one_url_of_each_topology() {
        let target = Target::parse(Mode::Standalone, "redis://h/3", Some("pw")).unwrap();
        let Target::Standalone(info) = target else { panic!("{target:?}") };
        assert_eq!((address(&info), info.redis_settings().db()), ("h:6379".to_owned(), 3));
        assert_eq!(info.redis_settings().password(), Some("pw"));

        let url = "redis-sentinel://u:p%40@a,[::1]:7000/mymaster/2";
        let target = Target::parse(Mode::Sentinel, url, None).unwrap();
        let Target::Sentinel { sentinels, master_name, data } = target else { panic!("{target:?}") };
        assert_eq!(sentinels.iter().map(address).collect::<Vec<_>>(), ["a:26379", "::1:7000"]);
        assert!(sentinels.iter().all(|sentinel| sentinel.redis_settings().password().is_none()));
        assert_eq!(master_name, "mymaster");
        let settings = data.redis_settings();
        assert_eq!((settings.username(), settings.password(), settings.db()), (Some("u"), Some("p@"), 2));

        let target = Target::parse(Mode::Cluster, "redis://a:1,redis://b:2", None).unwrap();
        let Target::Cluster { seeds } = target else { panic!("{target:?}") };
        assert_eq!(seeds.iter().map(address).collect::<Vec<_>>(), ["a:1", "b:2"]);
    }

    #[test]
    fn another_destination_is_noticed_and_another_login_is_none() {
        let to = |mode, url, password| Target::parse(mode, url, password).unwrap().destination();
        let one = to(Mode::Standalone, "redis://a", None);
        assert_eq!(one, to(Mode::Standalone, "redis://u:p@a:6379/0", Some("q")));
        for other in ["redis://b", "redis://a:1", "redis://a/1", "rediss://a", "redis+unix:///a"] {
            assert_ne!(one, to(Mode::Standalone, other, None), "{other}");
        }
        let group = to(Mode::Sentinel, "redis://a,b/m/2", None);
        for other in ["redis://a,c/m/2", "redis://a,b/n/2", "redis://a,b/m"] {
            assert_ne!(group, to(Mode::Sentinel, other, None), "{other}");
        }
        assert_ne!(to(Mode::Cluster, "redis://a", None), to(Mode::Cluster, "redis://a,b", None));
    }

    #[test]
    fn tls_always_verifies() {
        let Ok(Target::Standalone(info)) = Target::parse(Mode::Standalone, "rediss://h", None) else {
            panic!()
        };
        assert!(matches!(info.addr(), ConnectionAddr::TcpTls { insecure: false, .. }));
        assert!(matches!(elsewhere(&info, "x", 1).addr(), ConnectionAddr::TcpTls { insecure: false, .. }));
        assert!(Target::parse(Mode::Standalone, "rediss://h/#insecure", None).is_err());
    }

    #[test]
    fn contradictions_are_named_without_the_url() {
        let cases = [
            (Mode::Standalone, "redis://a,b"),
            (Mode::Standalone, "redis-sentinel://:secret@a/m"),
            (Mode::Sentinel, "redis://:secret@a:26379"),
            (Mode::Cluster, "redis://:secret@a/1"),
            (Mode::Cluster, "redis://:secret@a,redis://:other@b"),
            (Mode::Standalone, "http://:secret@a"),
            (Mode::Standalone, ":secret@a"),
            (Mode::Standalone, "redis://:secret@"),
            (Mode::Standalone, "redis://:secret@a:port"),
            (Mode::Cluster, "redis+unix:///socket"),
        ];
        for (mode, url) in cases {
            let error = Target::parse(mode, url, None).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_password_is_found_wherever_it_hides() {
        for url in ["redis://:p@h", "redis://u:p@h:1", "redis://a,redis://u:p/p@h", "redis+unix:///s?pass=p"]
        {
            assert!(has_password(url), "{url}");
        }
        for url in
            ["redis://h:6379", "redis://user@h:6379", "redis://a:1,redis://user@b:2/m", "redis+unix:///s"]
        {
            assert!(!has_password(url), "{url}");
        }
    }
}
