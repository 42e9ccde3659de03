//! The only code that opens a Redis client. Whatever Redis does (absent, restarted, hung, half-open, loading), a
//! call answers soon and says what may be concluded about its effect; nothing is ever sent twice.

mod canary;
mod clock;
mod cluster;
mod dial;
mod epoch;
mod error;
mod incarnation;
mod lease;
mod link;
mod metrics;
mod own;
mod policy;
mod report;
mod scan;
mod slots;
mod strong;
mod subscribe;
mod supervisor;
mod target;
mod tracking;
mod wires;
mod witness;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::registry::Registry;
use redis::{FromRedisValue, Script, Value};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use epoch::Epoch;
pub use error::Error;
pub use incarnation::Incarnation;
pub(crate) use own::{Own, Seen};
pub(crate) use scan::Node;
pub use strong::{Confirm, Wait};
pub use target::{Mode, Source, Url, has_password};
pub use tracking::Changed;
pub use wires::Changes;
pub use witness::Sighting;

use cluster::Cluster;
use dial::Place;
use link::{ATTEMPT, Answer, Ask, Link, Snapshot};
use metrics::{ErrorLabels, Metrics};
use wires::Wires;

/// All of a call: a cluster may redirect it, and a script may have to be loaded first.
const CALL: Duration = Duration::from_millis(700);

/// A cheap handle to Redis, whatever its topology.
#[derive(Clone)]
pub struct Redis {
    topology: Topology,
    wires: Wires,
    started: Instant,
    replicas: u32,
    source: Arc<Source>,
}

#[derive(Clone)]
enum Topology {
    /// A standalone Redis, or the sentinels' master.
    Single(Link),
    Cluster(Cluster),
}

/// What probes and people want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Of a cluster: all of its nodes.
    pub connected: bool,
    /// It has been connected before.
    pub ever: bool,
    /// Why it is not connected.
    pub reason: Option<String>,
    pub warning: Option<String>,
    /// Why what is read from it is not served from memory.
    pub incoherent: Option<String>,
}

impl Redis {
    /// The caller runs the future, which ends after `stop`. Nothing is waited for: Redis may be absent.
    pub fn connect(
        source: Source,
        registry: &mut Registry,
        stop: CancellationToken,
    ) -> (Redis, impl Future<Output = ()> + Send + 'static) {
        // Features of other crates must not decide which one; a second installation changes nothing.
        let _installed_before = rustls::crypto::ring::default_provider().install_default();
        let wires = Wires::new(Metrics::new(registry));
        let (replicas, source) = (source.replicas(), Arc::new(source));
        let (topology, task) = match source.mode {
            Mode::Standalone | Mode::Sentinel => {
                let (link, task) = Link::new(source.clone(), Place::Master, wires.clone(), false, stop);
                (Topology::Single(link), futures::future::Either::Left(task))
            }
            Mode::Cluster => {
                let (cluster, task) = Cluster::new(source.clone(), wires.clone(), stop);
                (Topology::Cluster(cluster), futures::future::Either::Right(task))
            }
        };
        // Whoever holds it keeps room for it several times over, on the stack that he began on.
        (Redis { topology, wires, started: Instant::now(), replicas, source }, Box::pin(task))
    }

    /// Runs `script` on the node that owns `keys[0]`, by its hash; loads it first where Redis does not know it.
    /// Answers within a second whatever Redis does.
    pub async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        args: &[&[u8]],
    ) -> Result<T, Error> {
        Ok(self.run_at(script, keys, args).await?.0)
    }

    /// Like `run`, and what may be concluded from an answer that says that there is nothing.
    pub async fn run_seen<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        args: &[&[u8]],
    ) -> Result<(T, Sighting), Error> {
        let (value, Answer { sighting, .. }) = self.evaluate(script, keys, args, true, None).await?;
        Ok((value, sighting))
    }

    /// Like `run`, on a connection of its own, and whether replicas have confirmed what it wrote.
    pub async fn run_confirmed<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        args: &[&[u8]],
        confirm: Confirm,
    ) -> Result<(T, bool), Error> {
        let ((answer, confirmed), _) = self.evaluate(script, keys, args, false, Some(confirm)).await?;
        let Metrics { confirmed: yes, unconfirmed: no, .. } = &self.wires.metrics;
        if confirmed {
            yes.inc()
        } else {
            no.inc()
        };
        Ok((answer, confirmed))
    }

    /// Like `run`, and whether as many replicas have it as are to have it: true where there are none.
    pub async fn run_replicated<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        args: &[&[u8]],
    ) -> Result<(T, bool), Error> {
        match self.replicas {
            0 => Ok((self.run(script, keys, args).await?, true)),
            replicas => self.run_confirmed(script, keys, args, Confirm { replicas, wait: Wait::Here }).await,
        }
    }

    /// Like `run`, and in whose time the answer was given.
    pub async fn run_at<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        args: &[&[u8]],
    ) -> Result<(T, Option<Arc<Epoch>>), Error> {
        let (value, Answer { epoch, .. }) = self.evaluate(script, keys, args, false, None).await?;
        Ok((value, epoch))
    }

    /// The string at `key`; the milliseconds that are left of its life, negative if it has no end; and in whose time
    /// they were read. Two commands cost Redis a third of what a script of the two does.
    pub async fn get_at(&self, key: &str) -> Result<(Option<(Vec<u8>, i64)>, Option<Arc<Epoch>>), Error> {
        let mut commands = redis::pipe();
        commands.cmd("GET").arg(key).cmd("PTTL").arg(key);
        let (value, Answer { epoch, .. }) = self.call(key, Ask::plain(commands)).await?;
        let (bytes, left_ms): (Option<Vec<u8>>, i64) = value;
        // -2: it went between the two, and was there when it was read.
        let left_ms = if left_ms == -2 { 0 } else { left_ms };
        Ok((bytes.map(|bytes| (bytes, left_ms)), epoch))
    }

    /// Sets a string that lives for so many seconds.
    pub async fn set_for(&self, key: &str, value: &[u8], seconds: u32) -> Result<(), Error> {
        let mut commands = redis::pipe();
        commands.cmd("SET").arg(key).arg(value).arg("EX").arg(seconds);
        self.call::<Value>(key, Ask::plain(commands)).await.map(|_ok| ())
    }

    /// The hash at `key`, and Redis TIME in us, right before.
    pub async fn hash_at(&self, key: &str) -> Result<(i64, Vec<(String, String)>), Error> {
        let mut commands = redis::pipe();
        commands.cmd("TIME").cmd("HGETALL").arg(key);
        type Rows = Vec<(String, String)>;
        let ((time, rows), _) = self.call::<((i64, i64), Rows)>(key, Ask::plain(commands)).await?;
        Ok((time.0.saturating_mul(1_000_000).saturating_add(time.1), rows))
    }

    /// From the next connection on, `listener` is told what somebody else changes, while that connection is read.
    pub fn listen(&self, listener: impl Fn(Changed<'_>) + Send + Sync + 'static) {
        self.wires.ear.listen(listener);
    }

    /// The time of the present connection to the node that owns `key`, if changes are heard of on it.
    pub fn epoch(&self, key: &str) -> Option<Arc<Epoch>> {
        self.owner(key)?.epoch()
    }

    /// Which incarnation of its data the node that owns `key` has, while it is connected.
    pub fn incarnation(&self, key: &str) -> Option<Incarnation> {
        self.owner(key)?.incarnation()
    }

    /// Since when the node that owns `key` is not connected. None while it is.
    pub fn down_since(&self, key: &str) -> Option<Instant> {
        self.owner(key).map_or(Some(self.started), |link| link.down_since(self.started))
    }

    /// How many replicas are to confirm a strong write; 0 where there are none.
    pub fn replicas(&self) -> u32 {
        self.replicas
    }

    pub fn is_cluster(&self) -> bool {
        matches!(self.topology, Topology::Cluster(_))
    }

    /// Changes when a connection comes or goes, and when data may have been lost.
    pub fn changes(&self) -> watch::Receiver<Changes> {
        self.wires.changes.subscribe()
    }

    /// Ends with the first connection.
    pub async fn met(&self) {
        let mut changes = self.changes();
        while !self.status().ever && changes.changed().await.is_ok() {}
    }

    fn owner(&self, key: &str) -> Option<Link> {
        match &self.topology {
            Topology::Single(link) => Some(link.clone()),
            Topology::Cluster(cluster) => cluster.owner(key),
        }
    }

    /// The latest Redis TIME, in microseconds, at which a call started now may still act. Scripts that write
    /// take it as an argument and refuse (`LATE`) when TIME is past it. It holds for the node that owns `key`.
    pub async fn deadline_us(&self, key: &str) -> i64 {
        let redis_us = match self.owner(key) {
            Some(link) => {
                link.blinked().await;
                link.now_us(Instant::now())
            }
            None => None,
        };
        let attempt = i64::try_from(ATTEMPT.as_micros()).unwrap_or(i64::MAX);
        // Not connected: what is sent to the next connection was not meant for it.
        redis_us.map_or(0, |redis_us| redis_us.saturating_add(attempt))
    }

    /// What the clock of the node that owns `key` shows, in microseconds, while it is connected.
    pub fn now_us(&self, key: &str) -> Option<i64> {
        self.owner(key)?.now_us(Instant::now())
    }

    pub fn status(&self) -> Status {
        let snapshot = self.snapshot();
        let connected = snapshot.connection.is_some();
        Status {
            connected,
            ever: snapshot.ever,
            reason: (!connected).then_some(snapshot.reason),
            warning: snapshot.warning,
            incoherent: snapshot.incoherent,
        }
    }

    fn snapshot(&self) -> Snapshot {
        match &self.topology {
            Topology::Single(link) => link.snapshot(),
            Topology::Cluster(cluster) => cluster.snapshot(),
        }
    }

    async fn evaluate<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        args: &[&[u8]],
        seen: bool,
        confirm: Option<Confirm>,
    ) -> Result<(T, Answer), Error> {
        let mut commands = redis::pipe();
        commands.cmd("EVALSHA").arg(script.get_hash()).arg(keys.len()).arg(keys).arg(args);
        let ask = Ask { script: Some(script), commands, asking: false, seen, confirm };
        self.call(keys.first().copied().unwrap_or_default(), ask).await
    }

    /// On the node that owns `key`.
    async fn call<T: FromRedisValue>(&self, key: &str, ask: Ask<'_>) -> Result<(T, Answer), Error> {
        let start = Instant::now();
        let end = start + CALL;
        let answer = match &self.topology {
            Topology::Single(link) => link.evaluate(&ask, end).await,
            Topology::Cluster(cluster) => Box::pin(cluster.evaluate(key, ask, end)).await,
        };
        self.wires.metrics.calls.observe(start.elapsed().as_secs_f64());
        let answer = answer.map_err(|failed| failed.error).and_then(|mut answer| {
            let value = redis::from_redis_value(std::mem::replace(&mut answer.value, Value::Nil))
                .map_err(|error| Error::Unexpected { reason: format!("a value of another type: {error}") })?;
            Ok((value, answer))
        });
        if let Err(error) = &answer {
            self.wires.metrics.errors.get_or_create(&ErrorLabels { kind: error.kind() }).inc();
        }
        answer
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("status", &self.status()).finish_non_exhaustive()
    }
}
