//! What somebody needs who only listens: a connection on which Redis speaks, or all that another client must know to
//! open one.

use std::sync::Arc;

use fred::types::RespVersion;
use fred::types::config::{Config, Server, ServerConfig, TlsConfig, TlsConnector, TlsHostMapping};
use redis::{ConnectionAddr, ConnectionInfo, PushInfo};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::Redis;
use super::dial::Connection;
use super::error::{Error, words};
use super::target::Target;

/// Told what Redis says of its own accord, while the connection is read: it must not wait.
pub(crate) type Pushed = Arc<dyn Fn(PushInfo) + Send + Sync>;

impl Redis {
    /// On the node that owns `key`. It ends when it is dropped.
    pub(crate) async fn subscribe(
        &self,
        key: &str,
        channels: &[String],
        pushed: Pushed,
    ) -> Result<Connection, Error> {
        let link = self.owner(key).ok_or_else(|| Error::unavailable("no node owns the key"))?;
        let mut connection = link.dial_listening(&pushed).await?;
        let subscribed = connection.subscribe(channels).await;
        subscribed.map_err(|error| Error::unavailable(words(&error)))?;
        Ok(connection)
    }

    /// Whether `subscribe` is of use: a Redis that speaks RESP3 pushes what is published. Waits for the first connection.
    pub(crate) async fn pushes(&self) -> bool {
        self.met().await;
        !self.snapshot().old
    }

    /// The same Redis for fred; the files are read anew.
    pub(crate) fn fred(&self) -> Result<Config, String> {
        let target = self.source.target()?;
        let data = match &target {
            Target::Standalone(info) => info,
            Target::Sentinel { data, .. } => data,
            Target::Cluster { seeds } => seeds.first().ok_or("no host is given")?,
        };
        let server = match &target {
            Target::Standalone(info) => ServerConfig::Centralized { server: server(info)? },
            Target::Sentinel { sentinels, master_name, .. } => ServerConfig::Sentinel {
                hosts: sentinels.iter().map(server).collect::<Result<_, _>>()?,
                service_name: master_name.clone(),
                username: None,
                password: None,
            },
            Target::Cluster { seeds } => ServerConfig::Clustered {
                hosts: seeds.iter().map(server).collect::<Result<_, _>>()?,
                policy: Default::default(),
            },
        };
        let settings = data.redis_settings();
        // It greets in a line of words.
        let word = |word: &str| word.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'\\".contains(&byte));
        if ![settings.username(), settings.password()].into_iter().flatten().all(word) {
            return Err(
                "fred cannot say a name or a password with blanks, quotes or other letters than ASCII's"
                    .into(),
            );
        }
        Ok(Config {
            // Whoever is not there yet is waited for.
            fail_fast: false,
            server,
            version: if self.snapshot().old { RespVersion::RESP2 } else { RespVersion::RESP3 },
            username: settings.username().map(str::to_owned),
            password: settings.password().map(str::to_owned),
            database: u8::try_from(settings.db()).ok().filter(|database| *database > 0),
            tls: self.tls(data)?,
            ..Config::default()
        })
    }

    fn tls(&self, info: &ConnectionInfo) -> Result<Option<TlsConfig>, String> {
        if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            return Ok(None);
        }
        let connector = match self.source.ca()? {
            None => TlsConnector::default_rustls().map_err(|error| error.to_string())?,
            Some(pem) => {
                let mut roots = rustls::RootCertStore::empty();
                for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                    let certificate = certificate.map_err(|error| error.to_string())?;
                    roots.add(certificate).map_err(|error| error.to_string())?;
                }
                rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth().into()
            }
        };
        Ok(Some(TlsConfig { connector, hostnames: TlsHostMapping::None }))
    }
}

fn server(info: &ConnectionInfo) -> Result<Server, String> {
    match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            Ok(Server::new(host.as_str(), *port))
        }
        _ => Err("fred speaks TCP only".to_owned()),
    }
}
