//! What is known of pods, for /metrics.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::view::{Change, View};

#[derive(Debug, Clone, Default)]
pub(super) struct Metrics {
    pods: Family<State, Gauge>,
    changes: Family<What, Counter>,
    failed: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct What {
    what: &'static str,
}

impl Metrics {
    pub(super) fn new(registry: &mut Registry) -> Metrics {
        let metrics = Metrics::default();
        let Metrics { pods, changes, failed } = metrics.clone();
        let registry = registry.sub_registry_with_prefix("hyperpage_pods");
        registry.register("known", "Pods that have lately said that they live, by state", pods);
        registry.register("changes", "Pods that were seen to join or to leave", changes);
        registry.register("beats_failed", "Times that this pod could not say that it lives", failed);
        metrics
    }

    pub(super) fn seen(&self, view: &View, changes: &[Change]) {
        let ready = view.present().filter(|(_, seen)| seen.row.ready).count();
        for (state, count) in [("ready", ready), ("unready", view.present().count() - ready)] {
            self.pods.get_or_create(&State { state }).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        for change in changes {
            self.changes.get_or_create(&What { what: change.what() }).inc();
        }
    }

    pub(super) fn failed(&self) {
        self.failed.inc();
    }
}
