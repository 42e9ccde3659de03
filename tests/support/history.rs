//! What clients saw of some sessions, and what may not have been seen.
//!
//! Every write appends its own number to the array `log` of the session, whatever kind of write it is. So the
//! longest log ever seen tells in which order writes took effect, and every other log must be a beginning of it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// A write acts within its deadline, which is shorter, or never; clocks are compared with less error than the rest.
const GRACE: Duration = Duration::from_millis(500);

/// One call of one client. Times are one clock's, since the start of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub session: usize,
    pub invoked: Duration,
    pub ended: Duration,
    pub action: Action,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Appends `op`; `base` is the ETag it was conditional on, or that the answer said it was applied to.
    Write {
        op: u64,
        base: Option<String>,
    },
    /// Makes the session under the id that this history knows, with the log `[op]`.
    Create {
        op: u64,
    },
    Read,
    Delete,
    /// The nemesis let the session expire; from `ended` on it is gone.
    Expire,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done; `etag` and `log` as far as the answer showed them.
    Ok { etag: Option<String>, log: Option<Vec<u64>> },
    /// The session is said not to exist.
    Absent,
    /// Had no effect and never will have: 409, 412, 503 SESSION_STORE_UNAVAILABLE.
    Fail,
    /// May happen once, at any later time, or never.
    Unknown,
}

/// A broken promise, named as in the promise, with the events that show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub rule: Rule,
    pub shown_by: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// An acknowledged write is missing.
    Lost,
    /// A write took effect twice.
    Twice,
    /// A write that failed took effect.
    Ghost,
    /// Two logs of which neither begins the other.
    Fork,
    /// A write whose outcome was unknown took effect when its deadline had long passed.
    Late,
    /// Effects or reads against the order in which calls began and ended.
    Order,
    /// Two writes were made to the same version, or made the same version.
    Edge,
    /// A session that lives is said not to exist.
    FalseAbsence,
    /// A session is seen after it was gone.
    Resurrection,
}

/// Checks each session for itself; `events` in any order.
pub fn check(events: &[Event]) -> Vec<Violation> {
    let mut sessions: HashMap<usize, Vec<&Event>> = HashMap::new();
    for event in events {
        sessions.entry(event.session).or_default().push(event);
    }
    sessions.into_values().flat_map(|events| Session::new(events).check()).collect()
}

/// The calls on one session, by time of invocation, and the order of effects that they show.
struct Session<'a> {
    events: Vec<&'a Event>,
    /// The longest log that anybody saw.
    log: Vec<u64>,
    found: Vec<Violation>,
}

impl<'a> Session<'a> {
    fn new(mut events: Vec<&'a Event>) -> Session<'a> {
        events.sort_by_key(|event| event.invoked);
        let logs = events.iter().filter_map(|event| event.log());
        let log = logs.max_by_key(|log| log.len()).cloned().unwrap_or_default();
        Session { events, log, found: Vec::new() }
    }

    fn check(mut self) -> Vec<Violation> {
        self.effects();
        self.prefixes();
        self.lateness();
        self.order();
        self.edges();
        self.existence();
        self.found
    }

    fn violated(&mut self, rule: Rule, shown_by: impl std::fmt::Debug) {
        self.found.push(Violation { rule, shown_by: format!("{shown_by:?}") });
    }

    /// Each write's effect: once if acknowledged (and seen by a read after it), at most once if unknown, never if
    /// failed.
    fn effects(&mut self) {
        let mut count: HashMap<u64, usize> = HashMap::new();
        for op in &self.log {
            *count.entry(*op).or_default() += 1;
        }
        let read_after = |time| self.events.iter().any(|event| event.invoked > time && event.log().is_some());
        let mut found = Vec::new();
        for event in &self.events {
            let Some(op) = event.op() else { continue };
            let times = count.get(&op).copied().unwrap_or(0);
            match event.outcome {
                _ if times > 1 => found.push((Rule::Twice, event)),
                Outcome::Ok { .. } if times == 0 && read_after(event.ended) => {
                    found.push((Rule::Lost, event))
                }
                Outcome::Fail | Outcome::Absent if times > 0 => found.push((Rule::Ghost, event)),
                Outcome::Ok { .. } | Outcome::Absent | Outcome::Fail | Outcome::Unknown => {}
            }
        }
        for (rule, event) in found.clone() {
            self.found.push(Violation { rule, shown_by: format!("{event:?}") });
        }
    }

    fn prefixes(&mut self) {
        for event in self.events.clone() {
            if event.log().is_some_and(|log| !self.log.starts_with(log)) {
                self.violated(Rule::Fork, (event, &self.log.clone()));
            }
        }
    }

    /// An unknown write is in every log read after its deadline, or in none.
    fn lateness(&mut self) {
        let mut found = Vec::new();
        for write in self.events.iter().filter(|event| event.outcome == Outcome::Unknown) {
            let Some(op) = write.op().filter(|op| self.log.contains(op)) else { continue };
            let without = |read: &&&Event| read.log().is_some_and(|log| !log.contains(&op));
            let reads = self.events.iter().filter(|read| read.invoked > write.ended + GRACE);
            found.extend(reads.filter(without).map(|read| (*write, *read)).next());
        }
        for late in found {
            self.violated(Rule::Late, late);
        }
    }

    /// A position in the log never falls behind one that was certain before the call began, and never runs
    /// ahead of a write that began after the call had ended.
    fn order(&mut self) {
        let position: HashMap<u64, usize> =
            self.log.iter().enumerate().map(|(at, op)| (*op, at + 1)).collect();
        // (when it was certain, how far the log had come by then)
        let mut certain: Vec<(Duration, usize)> = Vec::new();
        let mut checks: Vec<(&Event, usize)> = Vec::new();
        for event in &self.events {
            let place = event.op().and_then(|op| position.get(&op).copied());
            let seen = event.log().map(Vec::len);
            if let (Outcome::Ok { .. }, Some(reached)) = (&event.outcome, place.max(seen)) {
                certain.push((event.ended, reached));
            }
            if let Some(reached) = place.or(seen) {
                checks.push((event, reached));
            }
        }
        certain.sort_unstable();
        let mut highest = 0;
        for (_, reached) in &mut certain {
            highest = highest.max(*reached);
            *reached = highest;
        }
        let mut found = Vec::new();
        for (event, reached) in checks {
            let before = certain.partition_point(|(ended, _)| *ended < event.invoked);
            let floor = before.checked_sub(1).map_or(0, |last| certain[last].1);
            // A write adds its own place to what was there.
            let least = if event.op().is_some() { floor + 1 } else { floor };
            if reached < least {
                found.push((event, reached, floor));
            }
        }
        for (event, reached, floor) in found {
            self.violated(Rule::Order, (event, "reached", reached, "after", floor));
        }
        self.no_future(&position);
    }

    fn no_future(&mut self, position: &HashMap<u64, usize>) {
        // When the write at each place, or any place after it, was invoked at the earliest.
        let mut invoked = vec![Duration::ZERO; self.log.len() + 1];
        for event in &self.events {
            if let Some(place) = event.op().and_then(|op| position.get(&op)) {
                invoked[*place] = event.invoked;
            }
        }
        let future = |event: &&&Event| {
            event.log().is_some_and(|log| log.len() < invoked.len() && invoked[log.len()] > event.ended)
        };
        let found: Vec<&Event> = self.events.iter().filter(future).copied().collect();
        for event in found {
            self.violated(Rule::Order, (event, "saw a write that had not begun"));
        }
    }

    /// Bases and results of acknowledged writes: every version has one successor and one origin, and where two
    /// neighbours in the log are both known, one's result is the other's base.
    fn edges(&mut self) {
        let (mut bases, mut results) = (HashMap::new(), HashMap::new());
        let mut by_op = HashMap::new();
        for event in self.events.clone() {
            let Action::Write { op, base } = &event.action else { continue };
            let Outcome::Ok { etag: Some(etag), .. } = &event.outcome else { continue };
            by_op.insert(*op, (base, etag, event));
            if let Some(other) = base.as_ref().and_then(|base| bases.insert(base, event)) {
                self.violated(Rule::Edge, ("one base", event, other));
            }
            if let Some(other) = results.insert(etag, event) {
                self.violated(Rule::Edge, ("one result", event, other));
            }
        }
        for pair in self.log.clone().windows(2) {
            let (Some((_, result, one)), Some((Some(base), _, other))) =
                (by_op.get(&pair[0]), by_op.get(&pair[1]))
            else {
                continue;
            };
            if result != &base {
                self.violated(Rule::Edge, ("neighbours", one, other));
            }
        }
    }

    fn existence(&mut self) {
        let ends = self.events.iter().filter(|event| matches!(event.action, Action::Delete | Action::Expire));
        let ends: Vec<&&Event> = ends.collect();
        let may_be_gone = |event: &Event| {
            let happened =
                |end: &&&&Event| !matches!(end.outcome, Outcome::Fail) && end.invoked <= event.ended;
            ends.iter().any(|end| happened(&end))
        };
        let gone_at =
            ends.iter().filter(|end| matches!(end.outcome, Outcome::Ok { .. })).map(|end| end.ended).min();
        let born = self.events.iter().filter(|event| matches!(event.action, Action::Create { .. }));
        let born_at =
            born.filter(|event| matches!(event.outcome, Outcome::Ok { .. })).map(|event| event.ended).min();
        let mut found = Vec::new();
        for event in &self.events {
            match (&event.outcome, &event.action) {
                (Outcome::Absent, _) => {
                    let alive = born_at.is_some_and(|born| born < event.invoked);
                    if alive && !may_be_gone(event) {
                        found.push((Rule::FalseAbsence, *event));
                    }
                }
                (Outcome::Ok { .. }, Action::Write { .. } | Action::Create { .. } | Action::Read) => {
                    if gone_at.is_some_and(|gone| event.invoked > gone) {
                        found.push((Rule::Resurrection, *event));
                    }
                }
                (Outcome::Ok { .. } | Outcome::Fail | Outcome::Unknown, _) => {}
            }
        }
        for (rule, event) in found {
            self.violated(rule, event);
        }
    }
}

impl Event {
    fn op(&self) -> Option<u64> {
        match self.action {
            Action::Write { op, .. } | Action::Create { op } => Some(op),
            Action::Read | Action::Delete | Action::Expire => None,
        }
    }

    fn log(&self) -> Option<&Vec<u64>> {
        match &self.outcome {
            Outcome::Ok { log, .. } => log.as_ref(),
            Outcome::Absent | Outcome::Fail | Outcome::Unknown => None,
        }
    }
}

/// Which rules were broken.
pub fn rules(violations: &[Violation]) -> HashSet<Rule> {
    violations.iter().map(|violation| violation.rule).collect()
}
