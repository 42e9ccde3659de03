//! What the sessions hold for the time in which Redis is away, or has come back without all that it was told.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

use super::journal::{Depth, Journal, Limits};
use super::outage::{Effect, Event, Fallback, State, step};
use super::reseed::Seeds;
use super::ring::Ring;
use crate::config;

#[derive(Debug)]
pub(crate) struct Away {
    pub(crate) fallback: Fallback,
    pub(crate) max_stale: Duration,
    pub(crate) journal: Journal,
    pub(crate) ring: Ring,
    pub(crate) seeds: Seeds,
    pub(crate) metrics: Metrics,
    state: Mutex<State>,
    /// When Redis was lost that has come back since.
    lost: Mutex<Option<Instant>>,
}

/// Why a journaled change never reached Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reason {
    /// Its session's life was over, as far as this process knew it.
    Expired,
    /// There is no such session any more.
    Gone,
    Tombstoned,
    /// It cannot be applied to what the session has become.
    Unfit,
    TooOld,
    /// It was sent and not answered, and Redis no longer knows whether it was applied.
    Unknown,
}

impl Reason {
    fn name(self) -> &'static str {
        match self {
            Reason::Expired => "expired",
            Reason::Gone => "gone",
            Reason::Tombstoned => "tombstoned",
            Reason::Unfit => "unfit",
            Reason::TooOld => "too_old",
            Reason::Unknown => "unknown",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    reason: &'static str,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    state: Gauge,
    depth: Gauge,
    bytes: Gauge,
    age: Gauge,
    pub(crate) journaled: Counter,
    pub(crate) overflowed: Counter,
    pub(crate) replayed: Counter,
    dropped: Family<Why, Counter>,
    pub(crate) stale: Counter,
    pub(crate) forked: Counter,
    pub(crate) restored: Counter,
    pub(crate) forgotten: Counter,
    pub(crate) reseed: Counter,
    pub(crate) reseeded: Counter,
}

impl Away {
    pub(crate) fn new(settings: &config::Outage, life: Duration, registry: &mut Registry) -> Away {
        let fallback = settings.fallback();
        if fallback == Fallback::Memory {
            tracing::warn!(
                "SESSION_FALLBACK_TO_MEMORY=true: nothing is promised of what is written in an outage"
            );
        }
        let limits = Limits { bytes: settings.journal_bytes, age: settings.journal_age(), life };
        Away {
            fallback,
            max_stale: settings.max_stale(),
            journal: Journal::new(limits),
            ring: Ring::default(),
            seeds: Seeds::default(),
            metrics: Metrics::register(registry),
            state: Mutex::new(State::Healthy),
            lost: Mutex::default(),
        }
    }

    /// One look at Redis; what has changed is said once.
    pub(crate) fn look(&self, down_since: Option<Instant>, now: Instant) -> Option<Effect> {
        let dropped = self.journal.expire(now);
        self.metrics.drop_many(Reason::TooOld, dropped);
        let waiting = !self.journal.is_empty();
        let event = down_since.map_or(Event::Answered { waiting }, |since| Event::Silent { since });
        let (next, effect) = step(self.state(), event, now);
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = next;
        let Depth { entries, bytes, oldest } = self.journal.depth(now);
        self.metrics.show(next, entries, bytes, oldest);
        match effect {
            Some(Effect::Begins) => {
                tracing::warn!("Redis is away: sessions are read as they were known last")
            }
            Some(Effect::Recovers) => {
                tracing::info!(changes = entries, "Redis is back: the journal is replayed")
            }
            Some(Effect::Over) => tracing::info!("Redis is back: nothing is left to be replayed"),
            None => {}
        }
        effect
    }

    pub(crate) fn was_lost(&self, since: Instant) {
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(since);
    }

    /// When the data was lost of which that is told now: with the connection, or under our eyes.
    pub(crate) fn lost(&self, now: Instant) -> Instant {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or(now)
    }

    pub(crate) fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For `/readyz`.
    pub(crate) fn report(&self, now: Instant) -> Value {
        let Depth { entries, bytes, oldest } = self.journal.depth(now);
        json!({
            "state": self.state().name(),
            "journal": {
                "entries": entries,
                "bytes": bytes,
                "ageMs": u64::try_from(oldest.as_millis()).unwrap_or(u64::MAX),
                "replayed": self.metrics.replayed.get(),
                "dropped": self.metrics.dropped(),
            },
        })
    }
}

const REASONS: [Reason; 6] =
    [Reason::Expired, Reason::Gone, Reason::Tombstoned, Reason::Unfit, Reason::TooOld, Reason::Unknown];

impl Metrics {
    fn register(registry: &mut Registry) -> Metrics {
        let metrics = Metrics::default();
        let Metrics {
            state,
            depth,
            bytes,
            age,
            journaled,
            overflowed,
            replayed,
            dropped,
            stale,
            forked,
            restored,
            forgotten,
            reseed,
            reseeded,
        } = metrics.clone();
        let mut add = |name: &str, help: &str, counter: Counter| registry.register(name, help, counter);
        add("sessions_journaled", "Changes acknowledged while Redis was away", journaled);
        add("sessions_journal_overflows", "Changes refused because the journal was full", overflowed);
        add("sessions_journal_replayed", "Journaled changes that reached Redis", replayed);
        add("sessions_stale_reads", "Sessions told as they were known last, marked as such", stale);
        add("sessions_forked", "Acknowledged writes that Redis lost after others had written", forked);
        add("sessions_ring_restored", "Acknowledged writes that Redis lost and was told again", restored);
        add("sessions_reseed", "Sessions held here when Redis lost its data", reseed);
        add("sessions_reseed_restored", "Those of them that Redis was given back", reseeded);
        add("sessions_ring_forgotten", "Acknowledged writes not kept for want of room", forgotten);
        registry.register("sessions_journal_dropped", "Journaled changes that never reached Redis", dropped);
        let mut add = |name: &str, help: &str, gauge: Gauge| registry.register(name, help, gauge);
        add("sessions_outage_state", "0 healthy, 1 suspect, 2 outage, 3 recovering", state);
        add("sessions_journal_depth", "Changes that wait for Redis", depth);
        add("sessions_journal_bytes", "What they take of memory", bytes);
        add("sessions_journal_age_seconds", "How long the oldest of them has waited", age);
        for reason in REASONS {
            metrics.drop_many(reason, 0);
        }
        metrics
    }

    pub(crate) fn drop_many(&self, reason: Reason, count: usize) {
        self.dropped.get_or_create(&Why { reason: reason.name() }).inc_by(count as u64);
    }

    fn dropped(&self) -> Value {
        let count = |reason: Reason| {
            let count = self.dropped.get_or_create(&Why { reason: reason.name() }).get();
            (reason.name().to_owned(), count.into())
        };
        Value::Object(REASONS.into_iter().map(count).collect())
    }

    fn show(&self, now: State, entries: usize, bytes: usize, oldest: Duration) {
        let number = match now {
            State::Healthy => 0,
            State::Suspect { .. } => 1,
            State::Outage { .. } => 2,
            State::Recovering { .. } => 3,
        };
        let Metrics { state, depth, bytes: taken, age, .. } = self;
        state.set(number);
        depth.set(i64::try_from(entries).unwrap_or(i64::MAX));
        taken.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        age.set(i64::try_from(oldest.as_secs()).unwrap_or(i64::MAX));
    }
}
