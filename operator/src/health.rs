//! What the probes ask: which part of its life this replica is in, and whether its watches work.

use std::{
    collections::BTreeMap,
    sync::Mutex,
    time::{Duration, Instant},
};

/// A watch that fails now and then comes back by itself; one that does not makes us act on old news.
const TOLERATED: Duration = Duration::from_secs(60);
/// A watch says nothing when it comes back. The runtime retries at least this often, so longer silence means
/// that it did.
const SILENCE: Duration = Duration::from_secs(75);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Another replica leads, or none yet.
    Standby,
    /// Leads, and is reading what exists.
    Starting,
    Leading,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Failing {
    since: Instant,
    last: Instant,
}

#[derive(Debug)]
struct State {
    role: Role,
    failing: BTreeMap<&'static str, Failing>,
}

#[derive(Debug)]
pub struct Health(Mutex<State>);

impl Default for Health {
    fn default() -> Self {
        Self(Mutex::new(State { role: Role::Standby, failing: BTreeMap::new() }))
    }
}

impl Health {
    pub fn enter(&self, role: Role) {
        self.lock().role = role;
    }

    pub fn watch_works(&self, kind: &'static str) {
        self.lock().failing.remove(kind);
    }

    pub fn watch_failed(&self, kind: &'static str, now: Instant) {
        let mut state = self.lock();
        let failing = state.failing.entry(kind).or_insert(Failing { since: now, last: now });
        if now.duration_since(failing.last) > SILENCE {
            failing.since = now;
        }
        failing.last = now;
    }

    /// What keeps this replica from being ready.
    pub fn trouble(&self, now: Instant) -> Option<String> {
        let state = self.lock();
        if state.role == Role::Starting {
            return Some("reading what exists".to_owned());
        }
        state.failing.iter().find(|(_, failing)| persists(failing, now)).map(|(kind, failing)| {
            format!("the watch of {kind} has failed for {} s", now.duration_since(failing.since).as_secs())
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

    #[test]
    fn a_standby_is_ready_and_a_starting_leader_is_not() {
        let (health, now) = (Health::default(), Instant::now());
        assert_eq!(health.trouble(now), None);
        health.enter(Role::Starting);
        assert!(health.trouble(now).is_some());
        health.enter(Role::Leading);
        assert_eq!(health.trouble(now), None);
    }

    #[test]
    fn only_a_watch_that_keeps_failing_counts() {
        let (health, start) = (Health::default(), Instant::now());
        for seconds in [0, 30, 61] {
            health.watch_failed("Service", at(start, seconds));
        }
        assert!(health.trouble(at(start, 61)).unwrap().contains("Service"));
        assert_eq!(health.trouble(at(start, 61 + 76)), None, "it went quiet, so it works again");
        health.watch_failed("Service", at(start, 200));
        assert_eq!(health.trouble(at(start, 200)), None, "a new failure starts a new count");
    }

    #[test]
    fn an_event_ends_the_failure() {
        let (health, start) = (Health::default(), Instant::now());
        health.watch_failed("Service", start);
        health.watch_works("Service");
        health.watch_failed("Service", at(start, 61));
        assert_eq!(health.trouble(at(start, 61)), None);
    }
}
