//! What Redis does, for /metrics.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::metrics::LATENCY_BUCKETS;

#[derive(Debug, Clone)]
pub(super) struct Metrics {
    pub(super) up: Gauge,
    pub(super) dials: Counter,
    pub(super) evicts: Gauge,
    pub(super) evicting: Gauge,
    pub(super) incarnations: Counter,
    pub(super) losses: Counter,
    pub(super) confirmed: Counter,
    pub(super) unconfirmed: Counter,
    pub(super) coherent: Gauge,
    pub(super) invalidations: Counter,
    pub(super) flushes: Counter,
    pub(super) leases_lost: Counter,
    pub(super) canary_failures: Counter,
    pub(super) errors: Family<ErrorLabels, Counter>,
    pub(super) calls: Histogram,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ErrorLabels {
    pub(super) kind: &'static str,
}

impl Metrics {
    pub(super) fn new(registry: &mut Registry) -> Metrics {
        let metrics = Metrics {
            up: Gauge::default(),
            dials: Counter::default(),
            evicts: Gauge::default(),
            evicting: Gauge::default(),
            incarnations: Counter::default(),
            losses: Counter::default(),
            confirmed: Counter::default(),
            unconfirmed: Counter::default(),
            coherent: Gauge::default(),
            invalidations: Counter::default(),
            flushes: Counter::default(),
            leases_lost: Counter::default(),
            canary_failures: Counter::default(),
            errors: Family::default(),
            calls: Histogram::new(LATENCY_BUCKETS),
        };
        let registry = registry.sub_registry_with_prefix("hyperpage_redis");
        let Metrics {
            up,
            dials,
            evicts,
            evicting,
            incarnations,
            losses,
            confirmed,
            unconfirmed,
            errors,
            calls,
            ..
        } = metrics.clone();
        registry.register("connections", "Connections that answer PING; one, or one for each node", up);
        registry.register("dials", "Attempts to connect", dials);
        registry.register(
            "evicts",
            "Nodes whose maxmemory-policy is not noeviction: sessions may be lost",
            evicts,
        );
        registry.register("evicting", "Nodes that have lately evicted keys: absence is not proven", evicting);
        registry.register("incarnations", "Incarnations of a node's data that were met", incarnations);
        registry.register(
            "losses",
            "Incarnations that took the place of a known one: data may have been lost",
            losses,
        );
        registry.register("confirmed", "Strong writes that enough replicas have confirmed", confirmed);
        registry.register(
            "unconfirmed",
            "Strong writes that too few replicas have confirmed in time",
            unconfirmed,
        );
        metrics.register_tracking(registry);
        registry.register("errors", "Calls that failed", errors);
        registry.register("call_seconds", "Time of a call, answered or not", calls);
        metrics
    }

    fn register_tracking(&self, registry: &mut Registry) {
        let Metrics { coherent, invalidations, flushes, leases_lost, canary_failures, .. } = self.clone();
        registry.register("coherent", "Connections whose reads may be served from memory", coherent);
        registry.register("invalidations", "Keys that Redis said somebody else has changed", invalidations);
        registry.register("flushes", "Times that Redis said that every key may have changed", flushes);
        registry.register("leases_lost", "Times that copies ceased to be served", leases_lost);
        registry.register("canary_failures", "Changes made to be heard of that were not", canary_failures);
    }
}

/// One link's share of a gauge that counts links; it ends with the link.
#[derive(Debug)]
pub(super) struct Share {
    gauge: Gauge,
    counted: bool,
}

impl Share {
    pub(super) fn of(gauge: &Gauge) -> Share {
        Share { gauge: gauge.clone(), counted: false }
    }

    pub(super) fn set(&mut self, counted: bool) {
        match (std::mem::replace(&mut self.counted, counted), counted) {
            (false, true) => self.gauge.inc(),
            (true, false) => self.gauge.dec(),
            (true, true) | (false, false) => 0,
        };
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_counts_the_links_that_say_so() {
        let gauge = Gauge::default();
        let (mut one, mut other) = (Share::of(&gauge), Share::of(&gauge));
        one.set(true);
        other.set(false);
        one.set(true);
        assert_eq!(gauge.get(), 1);
        other.set(true);
        assert_eq!(gauge.get(), 2);
        drop(one);
        other.set(false);
        assert_eq!(gauge.get(), 0);
    }
}
