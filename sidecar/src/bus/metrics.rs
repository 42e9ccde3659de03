//! What the bus does, for /metrics.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::message::{Priority, Rejected};
use crate::coordination::Error;
use crate::metrics::LATENCY_BUCKETS;

#[derive(Debug, Clone)]
pub(super) struct Metrics {
    messages: Family<Way, Counter>,
    delivery: Histogram,
    pub(super) gaps: Counter,
    pub(super) resyncs: Counter,
    pub(super) subscriptions: Counter,
    refused: Family<Reason, Counter>,
    rejected: Family<Reason, Counter>,
    deaf: Counter<f64, AtomicU64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Way {
    direction: &'static str,
    priority: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

impl Metrics {
    pub(super) fn new(registry: &mut Registry) -> Metrics {
        let metrics = Metrics {
            messages: Family::default(),
            delivery: Histogram::new(LATENCY_BUCKETS),
            gaps: Counter::default(),
            resyncs: Counter::default(),
            subscriptions: Counter::default(),
            refused: Family::default(),
            rejected: Family::default(),
            deaf: Counter::default(),
        };
        let Metrics { messages, delivery, gaps, resyncs, subscriptions, refused, rejected, deaf } =
            metrics.clone();
        let registry = registry.sub_registry_with_prefix("hyperpage_bus");
        registry.register("messages", "Messages, by direction (in, out) and priority", messages);
        registry.register("delivery_seconds", "Time from the sending of a message to its delivery", delivery);
        registry.register("gaps", "Times that messages were reported as lost", gaps);
        let help = "Times that all that was derived from messages was reported to be made anew";
        registry.register("resyncs", help, resyncs);
        registry.register("subscriptions", "Times that this pod began to listen, or again", subscriptions);
        registry.register("refused", "Messages of the app that were not sent, by reason", refused);
        registry.register("rejected", "What came and was no message, by reason", rejected);
        registry.register("deaf", "Seconds in which others spoke and this pod heard nothing", deaf);
        metrics
    }

    pub(super) fn sent(&self, priority: Priority) {
        self.messages.get_or_create(&Way { direction: "out", priority: priority.name() }).inc();
    }

    pub(super) fn heard(&self, priority: Priority) {
        self.messages.get_or_create(&Way { direction: "in", priority: priority.name() }).inc();
    }

    pub(super) fn took(&self, us: i64) {
        self.delivery.observe(Duration::from_micros(us.max(0).unsigned_abs()).as_secs_f64());
    }

    pub(super) fn refused(&self, error: &Error) {
        let reason = match error {
            Error::TooManyMessages { .. } => "budget",
            Error::TooLarge => "too_large",
            Error::StaleTerm => "stale_term",
            Error::Unavailable { .. } => "unavailable",
            Error::OutcomeUnknown { .. } => "unknown",
            _ => "invalid",
        };
        self.refused.get_or_create(&Reason { reason }).inc();
    }

    pub(super) fn rejected(&self, reason: Rejected) {
        self.rejected.get_or_create(&Reason { reason: reason.name() }).inc();
    }

    pub(super) fn deaf_for(&self, time: Duration) {
        self.deaf.inc_by(time.as_secs_f64());
    }
}
