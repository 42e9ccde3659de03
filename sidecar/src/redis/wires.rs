//! What all links of a process share: metrics, and how others hear of what happens to them.

use tokio::sync::watch;

use super::metrics::Metrics;
use super::tracking::Ear;

#[derive(Debug, Clone)]
pub(super) struct Wires {
    pub(super) metrics: Metrics,
    pub(super) ear: Ear,
    pub(super) changes: watch::Sender<Changes>,
}

/// How often something happened to a link; whoever waits for a change looks anew at what concerns him.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// Connections that came or went.
    pub health: u64,
    /// Incarnations that took the place of one that this process knew: data may have been lost.
    pub losses: u64,
}

impl Wires {
    pub(super) fn new(metrics: Metrics) -> Wires {
        Wires { metrics, ear: Ear::default(), changes: watch::Sender::default() }
    }

    pub(super) fn health_changed(&self) {
        self.changes.send_modify(|changes| changes.health += 1);
    }

    pub(super) fn data_lost(&self) {
        self.metrics.losses.inc();
        self.changes.send_modify(|changes| changes.losses += 1);
    }
}
