//! Sessions: read → rule → compare-and-set, three steps that do not know each other.

mod absence;
mod address;
pub mod api;
mod attempt;
mod away;
mod basis;
mod batch;
mod bind;
pub(crate) mod body;
mod budget;
pub mod bulk;
mod combiner;
mod condition;
pub mod cookie;
mod count;
pub(crate) mod document;
mod durability;
mod entry;
mod equal;
mod error;
mod flight;
#[cfg(test)]
mod fuzz;
mod gate;
pub(crate) mod id;
mod idempotency;
mod import;
mod index;
mod journal;
mod l1;
mod lead;
pub(crate) mod limit;
mod lines;
mod merge;
mod metrics;
mod op;
mod outage;
mod owned;
mod patch;
mod read;
mod recent;
mod recovery;
mod renewal;
mod repair;
mod replay;
mod reply;
mod reseed;
mod ring;
mod room;
mod rule;
mod rules;
mod scan;
mod store;
mod sweep;
#[cfg(test)]
mod tests;
mod text;
mod user;
pub mod v1;
mod version;
mod work;
mod write;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::now_ms;
use crate::config;
use crate::redis::Redis;
use away::Away;
use basis::Basis;
pub(crate) use body::MAX_BODY;
use combiner::Combiner;
use count::Count;
pub use error::Error;
pub use id::SessionId;
use index::Index;
use l1::L1;
use limit::Creations;
use metrics::Metrics;
pub use outage::Fallback;
use renewal::Renewal;
use room::Room;
use rule::Identity;
pub use rules::{Coherence, Rules};
pub use store::Scripts;
use store::Store;
use sweep::Sweep;
pub use text::Text;
use user::Users;

/// A cheap handle to the sessions in Redis.
#[derive(Debug, Clone)]
pub struct Sessions(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    redis: Redis,
    store: Store,
    away: Away,
    l1: Arc<L1>,
    rules: Rules,
    metrics: Metrics,
    combiner: Combiner,
    leaders: TaskTracker,
    users: Users,
    count: Count,
    sweep: Sweep,
    /// Places for imports.
    imports: Arc<Semaphore>,
    room: Room,
    /// How long after data may have been lost nobody is told that a session does not exist.
    window: Duration,
    guards: config::Guards,
    creations: Option<Creations>,
    allow_client_ids: bool,
    /// What `/api/sessions` may do to a session's identity.
    identity: Identity,
}

/// One session as it was read or written.
#[derive(Debug, Clone)]
pub struct Session {
    pub id: SessionId,
    text: Text,
    renewed: Option<Renewal>,
    basis: Basis,
    /// How much older than the request it may be; none of a write.
    bound_ms: Option<u64>,
}

impl Sessions {
    /// The caller runs the future, which ends after `stop`: what the sessions do when nobody asks.
    pub fn new(
        redis: Redis,
        settings: &config::Session,
        rules: Rules,
        registry: &mut Registry,
        stop: CancellationToken,
    ) -> (Sessions, impl Future<Output = ()> + Send + use<>) {
        let config::Session {
            ttl_seconds,
            allow_client_ids,
            allow_identity_writes,
            repair_window_ms,
            l1_bytes,
            guards,
            cleanup_interval_minutes,
            ref outage,
        } = *settings;
        let life_ms = u64::from(ttl_seconds) * 1000;
        let window = Duration::from_millis(repair_window_ms);
        let l1 = memory(&redis, l1_bytes, &rules, registry);
        let tombstone = (rules.tombstone)(outage.journal_age());
        let store = Store::new(redis.clone(), &rules, life_ms, tombstone, l1.clone());
        let away = Away::new(outage, store.life(), registry);
        let (users, named) = Users::new(Index::new(redis.clone(), life_ms), life_ms, registry);
        let count = Count::new(redis.clone(), registry);
        let every = Some(cleanup_interval_minutes).filter(|minutes| *minutes > 0);
        let every = every.map(|minutes| Duration::from_secs(60 * u64::from(minutes)));
        let sweep = Sweep::new(redis.clone(), every, registry);
        let identity = if allow_identity_writes { Identity::Writable } else { Identity::Kept };
        let metrics = Metrics::register(registry);
        let (combiner, leaders) = (Combiner::default(), TaskTracker::new());
        let imports = Arc::new(Semaphore::new(import::IMPORTS));
        let creations = match guards.create_limit_per_minute {
            0 => None,
            per_minute => Some(Creations::new(per_minute, Instant::now())),
        };
        let sessions = Sessions(Arc::new(Inner {
            redis,
            store,
            away,
            l1,
            rules,
            metrics,
            combiner,
            leaders,
            users,
            count,
            sweep,
            imports,
            room: Room::default(),
            window,
            guards,
            creations,
            allow_client_ids,
            identity,
        }));
        (sessions.clone(), work::run(sessions, named, stop))
    }
}

impl Session {
    fn written(id: SessionId, text: Text) -> Session {
        Session { id, text, renewed: None, basis: Basis::Redis, bound_ms: None }
    }

    /// A header for an answer to a read.
    fn bound(&self) -> Option<[(&'static str, String); 1]> {
        self.bound_ms.map(|bound_ms| [("x-hyperpage-bound-ms", bound_ms.to_string())])
    }

    /// Of an answer that is nothing else; a copy only where it tells a touch.
    fn body(&self) -> Bytes {
        match self.answer() {
            Cow::Borrowed(_) => Bytes::from_owner(self.text.clone()),
            Cow::Owned(told) => told.into(),
        }
    }

    fn answer(&self) -> Cow<'_, str> {
        match &self.renewed {
            None => Cow::Borrowed(&self.text),
            Some(renewal) => Cow::Owned(renewal.told(&self.text)),
        }
    }
}

/// What Redis says is heard before the first connection.
fn memory(redis: &Redis, bytes: u64, rules: &Rules, registry: &mut Registry) -> Arc<L1> {
    let l1 = L1::new(usize::try_from(bytes).unwrap_or(usize::MAX), rules.coherence, registry);
    let l1 = Arc::new(l1);
    if l1.is_on() {
        let l1 = l1.clone();
        redis.listen(move |changed| l1.heard(changed));
    }
    l1
}

fn random() -> Result<u128, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Error::Internal { reason: error.to_string() })?;
    Ok(u128::from_ne_bytes(bytes))
}
