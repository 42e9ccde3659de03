//! What an election counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, Default)]
pub(super) struct Metrics {
    pub(super) elections: Counter,
    pub(super) is_leader: Gauge,
    pub(super) term: Gauge,
    pub(super) renewals_failed: Counter,
    pub(super) foreign_mirrors: Counter,
}

impl Metrics {
    pub(super) fn new(registry: &mut Registry) -> Metrics {
        let metrics = Metrics::default();
        let Metrics { elections, is_leader, term, renewals_failed, foreign_mirrors } = metrics.clone();
        let registry = registry.sub_registry_with_prefix("hyperpage_leader");
        registry.register("elections", "Times that this pod became the leader", elections);
        registry.register("is_leader", "1 while this pod is the leader", is_leader);
        registry.register("term", "The highest term that this pod knows of", term);
        registry.register(
            "renewals_failed",
            "Renewals of the lease that were not confirmed",
            renewals_failed,
        );
        let help = "Times that somebody else had written hyperpage:leader while this pod was the leader";
        registry.register("foreign_mirrors", help, foreign_mirrors);
        metrics
    }
}
