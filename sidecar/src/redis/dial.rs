//! Opens connections: directly, or by asking the sentinels first.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, ErrorKind, RedisError, Value};
use tokio::time::timeout;

use super::error::{words, words_without};
use super::subscribe::Pushed;
use super::target::{Destination, Source, Target, elsewhere, plain};

const CONNECT: Duration = Duration::from_millis(200);
/// A TLS handshake takes more round trips, and a busy processor more time.
const CONNECT_TLS: Duration = Duration::from_millis(1_000);
const ASK: Duration = Duration::from_millis(150);
/// Calls waiting to be written; more wait for a place, each within its own deadline.
const PIPELINE: usize = 1_024;

pub(super) type Connection = MultiplexedConnection;
/// Host and port, as Redis names its nodes.
pub(super) type Address = (String, u16);

#[derive(Debug)]
pub(super) struct Failure {
    pub(super) reason: String,
    /// Redis answered, and will not have us.
    pub(super) rejected: bool,
    /// It does not speak RESP3.
    old: bool,
}

impl Failure {
    fn unreachable(reason: impl Into<String>) -> Failure {
        Failure { reason: reason.into(), rejected: false, old: false }
    }

    fn rejected(reason: impl Into<String>) -> Failure {
        Failure { reason: reason.into(), rejected: true, old: false }
    }
}

#[derive(Clone)]
pub(super) struct Held {
    pub(super) connection: Connection,
    /// It can say of its own accord what changes.
    pub(super) pushes: bool,
    /// It does not speak RESP3.
    pub(super) old: bool,
    /// As the sentinels named it. None without sentinels: then nobody can name another.
    master: Option<Address>,
    destination: Destination,
}

/// Which Redis a link leads to.
#[derive(Clone)]
pub(super) enum Place {
    /// The standalone Redis, or whatever master the sentinels name.
    Master,
    /// A node of a cluster.
    Node(Address),
}

/// `pushed` hears what Redis says of its own accord.
pub(super) async fn dial(source: &Source, place: &Place, pushed: Option<&Pushed>) -> Result<Held, Failure> {
    let target = source.target().map_err(Failure::rejected)?;
    let destination = target.destination();
    let (Reached { connection, old }, master) = reach(target, place, pushed).await?;
    Ok(Held { connection, pushes: pushed.is_some() && !old, old, master, destination })
}

struct Reached {
    connection: Connection,
    old: bool,
}

async fn reach(
    target: Target,
    place: &Place,
    pushed: Option<&Pushed>,
) -> Result<(Reached, Option<Address>), Failure> {
    match (target, place) {
        (Target::Standalone(info), Place::Master) => Ok((data(info, pushed).await?, None)),
        (Target::Sentinel { sentinels, master_name, data }, Place::Master) => {
            let (host, port) = master(&sentinels, &master_name).await?;
            let mut reached = self::data(elsewhere(&data, &host, port), pushed).await?;
            verify(&mut reached.connection).await?;
            Ok((reached, Some((host, port))))
        }
        (Target::Cluster { seeds }, Place::Node((host, port))) => match seeds.first() {
            Some(seed) => Ok((data(elsewhere(seed, host, *port), pushed).await?, None)),
            None => Err(Failure::rejected("no host is given")),
        },
        (Target::Cluster { .. }, Place::Master) => {
            Err(Failure::rejected("the topology has changed: restart"))
        }
        (Target::Standalone(_) | Target::Sentinel { .. }, Place::Node(_)) => {
            Err(Failure::rejected("the topology has changed: restart"))
        }
    }
}

/// Without RESP3 there is nothing to hear, and everything else works.
async fn data(info: ConnectionInfo, pushed: Option<&Pushed>) -> Result<Reached, Failure> {
    match connect(info.clone(), pushed).await {
        Err(Failure { old: true, .. }) => {
            Ok(Reached { connection: connect(plain(info), None).await?, old: true })
        }
        connected => Ok(Reached { connection: connected?, old: false }),
    }
}

/// Any of a cluster's nodes, for its map of slots; with the host it was reached by.
pub(super) async fn dial_seed(seed: &ConnectionInfo) -> Result<(Connection, String), Failure> {
    let host = match seed.addr() {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host.clone(),
        _ => String::new(),
    };
    Ok((connect(seed.clone(), None).await?, host))
}

async fn connect(info: ConnectionInfo, pushed: Option<&Pushed>) -> Result<Connection, Failure> {
    let limit = if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) { CONNECT_TLS } else { CONNECT };
    let secret = info.redis_settings().password().map(str::to_owned);
    let address = info.addr().to_string();
    let failed = |error: RedisError| {
        let reason = words_without(&error, secret.as_deref());
        let rejected = !matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse);
        let unknown = reason.contains("HELLO") && reason.to_lowercase().contains("unknown command");
        let old = unknown || error.kind() == ErrorKind::RESP3NotSupported || reason.starts_with("NOPROTO");
        Failure { reason: format!("{address}: {reason}"), rejected, old }
    };
    #[expect(clippy::disallowed_methods, reason = "this is the place that owns the connections")]
    let client = redis::Client::open(info).map_err(&failed)?;
    let mut config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(limit))
        .set_response_timeout(None)
        .set_pipeline_buffer_size(PIPELINE);
    if let Some(pushed) = pushed.cloned() {
        config = config.set_push_sender(move |push| {
            pushed(push);
            Ok::<(), Infallible>(())
        });
    }
    client.get_multiplexed_async_connection_with_config(&config).await.map_err(failed)
}

/// The sentinels' master, by the majority of those that answer in time. All are asked at once.
pub(super) async fn master(sentinels: &[ConnectionInfo], name: &str) -> Result<Address, Failure> {
    let mut answers: FuturesUnordered<_> =
        sentinels.iter().map(|sentinel| ask(sentinel.clone(), name)).collect();
    let mut votes: HashMap<Address, usize> = HashMap::new();
    let mut failure = Failure::unreachable("no sentinel is given");
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(address) => {
                let count = votes.entry(address.clone()).or_default();
                *count += 1;
                if *count > sentinels.len() / 2 {
                    return Ok(address);
                }
            }
            Err(error) => failure = error,
        }
    }
    votes.into_iter().max_by_key(|(_, count)| *count).map(|(address, _)| address).ok_or(failure)
}

async fn ask(sentinel: ConnectionInfo, name: &str) -> Result<Address, Failure> {
    let mut connection = connect(sentinel, None).await?;
    let mut command = redis::cmd("SENTINEL");
    command.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
    match timeout(ASK, command.query_async::<Option<Address>>(&mut connection)).await {
        Ok(Ok(Some(address))) => Ok(address),
        Ok(Ok(None)) => Err(Failure::rejected(format!("the sentinels know no master named {name}"))),
        Ok(Err(error)) => Err(Failure::unreachable(format!("sentinel: {}", words(&error)))),
        Err(_) => Err(Failure::unreachable("a sentinel does not answer")),
    }
}

/// Sentinels name the old master for a while after a failover.
async fn verify(connection: &mut Connection) -> Result<(), Failure> {
    match timeout(ASK, redis::cmd("ROLE").query_async::<Vec<Value>>(connection)).await {
        Ok(Ok(role)) => match role.first() {
            Some(Value::BulkString(role)) if role == b"master" => Ok(()),
            _ => Err(Failure::unreachable("the sentinels' master is none, or not yet")),
        },
        Ok(Err(error)) => Err(Failure::unreachable(format!("ROLE: {}", words(&error)))),
        Err(_) => Err(Failure::unreachable("the sentinels' master does not answer")),
    }
}

/// Why this connection is to be left for another. Only a clear word is a reason: an unreadable file is none.
pub(super) async fn left(source: &Source, held: &Held) -> Option<&'static str> {
    match source.target().ok()? {
        // Whoever has the map knows what becomes of its nodes.
        Target::Cluster { .. } => None,
        target if target.destination() != held.destination => Some("the URL has changed"),
        Target::Standalone(_) => None,
        Target::Sentinel { sentinels, master_name, .. } => {
            let known = held.master.as_ref()?;
            let named = master(&sentinels, &master_name).await.ok()?;
            (named != *known).then_some("the sentinels name another master")
        }
    }
}
