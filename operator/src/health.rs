//! What the probes ask: which part of its life this replica is in, and whether its watches work.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::scope::{Scope, Watch};

/// A watch that fails now and then comes back by itself; one that does not makes us act on old news.
const TOLERATED: Duration = Duration::from_secs(60);
/// A watch says nothing when it comes back. The runtime retries at least this often, so longer silence means
/// that it did.
const SILENCE: Duration = Duration::from_secs(75);

#[derive(Clone, Copy, Debug, PartialEq)]
struct Failing {
    since: Instant,
    last: Instant,
}

#[derive(Debug, Default)]
struct State {
    /// What a leader has not read yet; a standby reads nothing.
    unread: BTreeSet<Scope>,
    failing: BTreeMap<Watch, Failing>,
}

#[derive(Debug, Default)]
pub struct Health(Mutex<State>);

impl Health {
    pub fn starts_to_read(&self, scopes: impl IntoIterator<Item = Scope>) {
        self.lock().unread.extend(scopes);
    }

    pub fn has_read(&self, scope: &Scope) {
        self.lock().unread.remove(scope);
    }

    pub fn watch_works(&self, watch: &Watch) {
        self.lock().failing.remove(watch);
    }

    pub fn watch_failed(&self, watch: &Watch, now: Instant) {
        let mut state = self.lock();
        let failing = state.failing.entry(watch.clone()).or_insert(Failing { since: now, last: now });
        if now.duration_since(failing.last) > SILENCE {
            failing.since = now;
        }
        failing.last = now;
    }

    /// What keeps this replica from being ready.
    pub fn trouble(&self, now: Instant) -> Option<String> {
        let state = self.lock();
        let failing = state.failing.iter().find(|(_, failing)| persists(failing, now));
        let failing = failing.map(|(watch, failing)| {
            format!("the watch of {watch} has failed for {} s", now.duration_since(failing.since).as_secs())
        });
        failing.or_else(|| match state.unread.first()? {
            Scope::All => Some("reading what exists".to_owned()),
            Scope::Namespace(name) => Some(format!("reading what exists in namespace {name}")),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn persists(failing: &Failing, now: Instant) -> bool {
    now.duration_since(failing.since) > TOLERATED && now.duration_since(failing.last) <= SILENCE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    const SERVICES: Watch = Watch { kind: "Service", scope: Scope::All };

    #[test]
    fn a_standby_is_ready_and_a_starting_leader_is_not() {
        let (health, now) = (Health::default(), Instant::now());
        assert_eq!(health.trouble(now), None);
        let scopes = ["a", "b"].map(|name| Scope::Namespace(name.to_owned()));
        health.starts_to_read(scopes.clone());
        assert!(health.trouble(now).is_some());
        health.has_read(&scopes[0]);
        assert_eq!(health.trouble(now).unwrap(), "reading what exists in namespace b");
        health.has_read(&scopes[1]);
        assert_eq!(health.trouble(now), None);
    }

    #[test]
    fn only_a_watch_that_keeps_failing_counts() {
        let (health, start) = (Health::default(), Instant::now());
        for seconds in [0, 30, 61] {
            health.watch_failed(&SERVICES, at(start, seconds));
        }
        assert!(health.trouble(at(start, 61)).unwrap().contains("Service"));
        assert_eq!(health.trouble(at(start, 61 + 76)), None, "it went quiet, so it works again");
        health.watch_failed(&SERVICES, at(start, 200));
        assert_eq!(health.trouble(at(start, 200)), None, "a new failure starts a new count");
    }

    #[test]
    fn an_event_ends_the_failure() {
        let (health, start) = (Health::default(), Instant::now());
        health.watch_failed(&SERVICES, start);
        health.watch_works(&SERVICES);
        health.watch_failed(&SERVICES, at(start, 61));
        assert_eq!(health.trouble(at(start, 61)), None);
    }
}
