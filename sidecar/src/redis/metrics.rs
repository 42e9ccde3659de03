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
            errors: Family::default(),
            calls: Histogram::new(LATENCY_BUCKETS),
        };
        let registry = registry.sub_registry_with_prefix("hyperpage_redis");
        let Metrics { up, dials, evicts, errors, calls } = metrics.clone();
        registry.register("connections", "Connections that answer PING; one, or one for each node", up);
        registry.register("dials", "Attempts to connect", dials);
        registry.register(
            "evicts",
            "1 when maxmemory-policy is not noeviction: sessions may be lost",
            evicts,
        );
        registry.register("errors", "Calls that failed", errors);
        registry.register("call_seconds", "Time of a call, answered or not", calls);
        metrics
    }
}
