//! The only code that opens a Redis client. Whatever Redis does (absent, restarted, hung, half-open, loading), a
//! call answers soon and says what may be concluded about its effect; nothing is ever sent twice.

mod clock;
mod cluster;
mod dial;
mod error;
mod lease;
mod link;
mod metrics;
mod policy;
mod report;
mod slots;
mod target;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::registry::Registry;
use redis::{FromRedisValue, Script, Value};
use tokio_util::sync::CancellationToken;

pub use error::Error;
pub use target::{Mode, Source, Url, has_password};

use cluster::Cluster;
use dial::Place;
use link::{ATTEMPT, Failed, Link};
use metrics::{ErrorLabels, Metrics};

/// All of a call: a cluster may redirect it, and a script may have to be loaded first.
const CALL: Duration = Duration::from_millis(700);

/// A cheap handle to Redis, whatever its topology.
#[derive(Clone)]
pub struct Redis {
    topology: Topology,
    metrics: Metrics,
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
        let metrics = Metrics::new(registry);
        let source = Arc::new(source);
        let (topology, task) = match source.mode {
            Mode::Standalone | Mode::Sentinel => {
                let (link, task) = Link::new(source, Place::Master, metrics.clone(), stop);
                (Topology::Single(link), futures::future::Either::Left(task))
            }
            Mode::Cluster => {
                let (cluster, task) = Cluster::new(source, metrics.clone(), stop);
                (Topology::Cluster(cluster), futures::future::Either::Right(task))
            }
        };
        (Redis { topology, metrics }, task)
    }

    /// Runs `script` on the node that owns `keys[0]`, by its hash; loads it first where Redis does not know it.
    /// Answers within a second whatever Redis does.
    pub async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        args: &[&[u8]],
    ) -> Result<T, Error> {
        let start = Instant::now();
        let answer = self.evaluate(script, keys, args, start + CALL).await;
        self.metrics.calls.observe(start.elapsed().as_secs_f64());
        let answer = answer.map_err(|failed| failed.error).and_then(|value| {
            redis::from_redis_value(value)
                .map_err(|error| Error::Unexpected { reason: format!("a value of another type: {error}") })
        });
        if let Err(error) = &answer {
            self.metrics.errors.get_or_create(&ErrorLabels { kind: error.kind() }).inc();
        }
        answer
    }

    /// The latest Redis TIME, in microseconds, at which a call started now may still act. Scripts that write
    /// take it as an argument and refuse (`LATE`) when TIME is past it. It holds for the node that owns `key`.
    pub async fn deadline_us(&self, key: &str) -> i64 {
        let link = match &self.topology {
            Topology::Single(link) => Some(link.clone()),
            Topology::Cluster(cluster) => cluster.owner(key),
        };
        let redis_us = match link {
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

    pub fn status(&self) -> Status {
        let snapshot = match &self.topology {
            Topology::Single(link) => link.snapshot(),
            Topology::Cluster(cluster) => cluster.snapshot(),
        };
        let connected = snapshot.connection.is_some();
        Status {
            connected,
            ever: snapshot.ever,
            reason: (!connected).then_some(snapshot.reason),
            warning: snapshot.warning,
        }
    }

    async fn evaluate(
        &self,
        script: &Script,
        keys: &[&str],
        args: &[&[u8]],
        end: Instant,
    ) -> Result<Value, Failed> {
        let mut command = redis::pipe();
        command.cmd("EVALSHA").arg(script.get_hash()).arg(keys.len()).arg(keys).arg(args);
        match &self.topology {
            Topology::Single(link) => link.evaluate(script, &command, end).await,
            Topology::Cluster(cluster) => {
                cluster.evaluate(keys.first().copied().unwrap_or_default(), script, command, end).await
            }
        }
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("status", &self.status()).finish_non_exhaustive()
    }
}
