//! What the operator counts.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, PoisonError, atomic::AtomicU64},
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::scope::Watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Outcome {
    /// Everything asked for has been applied, or was so already.
    Done,
    /// The spec, or an object in the way, stops it until somebody acts.
    Stalled,
    /// Its user wants it left alone.
    Paused,
    /// Somebody else wrote first; it looks again.
    Conflicted,
    /// The API server did not answer as hoped; it is tried again.
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByResult {
    result: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCall {
    verb: &'static str,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByWatch {
    kind: &'static str,
    /// Empty: all.
    namespace: String,
}

pub struct Metrics {
    registry: Registry,
    heard: Mutex<BTreeMap<Watch, Instant>>,
    age: Family<ByWatch, Gauge<f64, AtomicU64>>,
    reconciles: Family<ByResult, Counter>,
    duration: Histogram,
    calls: Family<ByCall, Counter>,
    skipped: Counter,
    leader: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let buckets = [0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];
        let mut registry = Registry::with_prefix("hyperpage_operator");
        let (reconciles, calls, age) = (Family::default(), Family::default(), Family::default());
        let (skipped, leader) = (Counter::default(), Gauge::default());
        let duration = Histogram::new(buckets);
        registry.register("reconciles", "Reconciles by result", reconciles.clone());
        registry.register("reconcile_duration_seconds", "How long a reconcile took", duration.clone());
        registry.register("api_calls", "Requests to the API server, watches excepted", calls.clone());
        registry.register("applies_skipped", "Children found as they should be", skipped.clone());
        registry.register(
            "watch_age_seconds",
            "Since a watch last heard anything; the API server says something at least each minute",
            age.clone(),
        );
        registry.register("leader", "1 while this replica leads", leader.clone());
        Self { registry, heard: Mutex::default(), age, reconciles, duration, calls, skipped, leader }
    }
}

impl Metrics {
    pub fn reconciled(&self, result: Outcome, took: Duration) {
        self.reconciles.get_or_create(&ByResult { result }).inc();
        self.duration.observe(took.as_secs_f64());
    }

    pub fn call(&self, verb: &'static str, kind: &'static str) {
        self.calls.get_or_create(&ByCall { verb, kind }).inc();
    }

    pub fn skipped(&self, children: usize) {
        self.skipped.inc_by(children as u64);
    }

    pub fn heard(&self, watch: &Watch, now: Instant) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        match heard.get_mut(watch) {
            Some(at) => *at = now,
            None => drop(heard.insert(watch.clone(), now)),
        }
    }

    pub fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    pub fn encode(&self, now: Instant) -> Result<String, fmt::Error> {
        for (watch, at) in self.heard.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let label = ByWatch { kind: watch.kind, namespace: watch.scope.namespace().to_owned() };
            self.age.get_or_create(&label).set(now.saturating_duration_since(*at).as_secs_f64());
        }
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope::Scope;

    #[test]
    fn counts_show_in_the_text() {
        let metrics = Metrics::default();
        metrics.reconciled(Outcome::Done, Duration::from_millis(3));
        metrics.call("apply", "Service");
        metrics.skipped(5);
        metrics.leads(true);
        let now = Instant::now();
        metrics.heard(&Watch { kind: "Service", scope: Scope::Namespace("a".to_owned()) }, now);
        let text = metrics.encode(now + Duration::from_secs(7)).unwrap();
        for line in [
            "hyperpage_operator_reconciles_total{result=\"Done\"} 1",
            "hyperpage_operator_api_calls_total{verb=\"apply\",kind=\"Service\"} 1",
            "hyperpage_operator_applies_skipped_total 5",
            "hyperpage_operator_watch_age_seconds{kind=\"Service\",namespace=\"a\"} 7.0",
            "hyperpage_operator_leader 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
