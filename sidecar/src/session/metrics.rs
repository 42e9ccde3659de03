//! What the sessions count.

use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::metrics::LATENCY_BUCKETS;

#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    seconds: Seconds,
    bounds: Bounds,
    pub(crate) created: Counter,
    pub(crate) updated: Counter,
    pub(crate) touched: Counter,
    pub(crate) deleted: Counter,
    pub(crate) conflicts: Counter,
    pub(crate) resent: Counter,
    pub(crate) filled: Counter,
    unproven: Family<Reason, Counter>,
    pub(crate) combined: Counter,
    pub(crate) turned_away: Counter,
    limited: Family<Rule, Counter>,
    pub(crate) replayed: Counter,
    errors: Family<Kind, Counter>,
}

#[derive(Debug, Clone)]
struct Seconds(Family<Took, Histogram>);

impl Default for Seconds {
    fn default() -> Seconds {
        Seconds(Family::new_with_constructor(|| Histogram::new(LATENCY_BUCKETS)))
    }
}

#[derive(Debug, Clone)]
struct Bounds(Histogram);

impl Default for Bounds {
    /// Seconds: asked of Redis, joined to a read that was under way, and the leases.
    fn default() -> Bounds {
        Bounds(Histogram::new([0.0, 0.01, 0.1, 0.25, 0.3, 0.5, 1.0]))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Took {
    operation: &'static str,
    source: &'static str,
}

/// Who had what an operation needed, or kept what it made.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source {
    Redis,
    /// Redis would have said that it changed.
    L1,
    /// A change waits in this pod for Redis to come back.
    Journal,
    /// What this pod knew when Redis went away.
    Memory,
}

impl Source {
    fn label(self) -> &'static str {
        match self {
            Source::Redis => "redis",
            Source::L1 => "l1",
            Source::Journal => "journal",
            Source::Memory => "memory",
        }
    }
}

/// Tells how long an operation took when it is dropped, however it ended.
#[derive(Debug)]
pub(crate) struct Timer<'a> {
    metrics: &'a Metrics,
    operation: &'static str,
    pub(crate) source: Source,
    begun: Instant,
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        let labels = Took { operation: self.operation, source: self.source.label() };
        self.metrics.seconds.0.get_or_create(&labels).observe(self.begun.elapsed().as_secs_f64());
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rule {
    rule: &'static str,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Metrics {
        let metrics = Metrics::default();
        let Metrics {
            seconds,
            bounds,
            created,
            updated,
            touched,
            deleted,
            conflicts,
            resent,
            filled,
            unproven,
            combined,
            turned_away,
            limited,
            replayed,
            errors,
        } = &metrics;
        registry.register(
            "hyperpage_session_seconds",
            "Time of an operation on a session, by who had what it needed",
            seconds.0.clone(),
        );
        registry.register(
            "sessions_bound_seconds",
            "How much older than its request each session read may be; stale reads are counted apart",
            bounds.0.clone(),
        );
        let mut add =
            |name: &str, help: &str, counter: &Counter| registry.register(name, help, counter.clone());
        add("sessions_created", "Sessions written that did not exist", created);
        add("sessions_updated", "Writes to existing sessions", updated);
        add("sessions_touched", "Touches, whether or not they renewed the life", touched);
        add("sessions_deleted", "Sessions deleted by request", deleted);
        add("sessions_conflicts", "Writes repeated over another writer's bytes", conflicts);
        add(
            "sessions_resent",
            "Attempts repeated because what became of the one before is not known",
            resent,
        );
        add("sessions_filled", "Reads from Redis, of which many who ask at once share one", filled);
        add("sessions_combined", "Writes that went along in another's compare-and-set", combined);
        add("sessions_turned_away", "Writes refused because too many wait for the session", turned_away);
        add(
            "sessions_replayed",
            "Requests answered with what became of the first under their Idempotency-Key",
            replayed,
        );
        registry.register(
            "sessions_unproven",
            "Sessions not found of which nobody can say that they do not exist",
            unproven.clone(),
        );
        // The original's dashboard asks for it by this name.
        registry.register("rate_limit_hits", "Requests refused because of a limit, by rule", limited.clone());
        registry.register("sessions_errors", "Session requests that failed, by kind", errors.clone());
        metrics
    }

    /// As it is told in X-Hyperpage-Bound-Ms.
    pub(crate) fn bound(&self, bound: Duration) {
        self.bounds.0.observe(bound.as_secs_f64());
    }

    pub(crate) fn unproven(&self, reason: &'static str) {
        self.unproven.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn timer(&self, operation: &'static str) -> Timer<'_> {
        Timer { metrics: self, operation, source: Source::Redis, begun: Instant::now() }
    }

    /// A client address wanted too many sessions.
    pub(crate) fn limited(&self) {
        self.limited.get_or_create(&Rule { rule: "session_create" }).inc();
    }

    pub(crate) fn failed(&self, kind: &'static str) {
        self.errors.get_or_create(&Kind { kind }).inc();
    }
}
