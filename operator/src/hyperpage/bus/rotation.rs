//! How a new key takes the place of the old one while pods go on talking: it is added behind the old one, which still
//! seals; once every pod can open what it seals it goes first; once every pod seals with it the old one goes. A
//! pod gets a changed Secret when its kubelet next looks, so each phase is waited for. All that has to be known of it
//! stands on the Secret, so that whoever operates next goes on.

use std::{collections::BTreeMap, time::Duration};

use crds::contract::annotation;
use jiff::Timestamp;

/// What the Secret's annotations tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    pub phase: Phase,
    /// The value acted upon last.
    pub rotated: Option<String>,
}

/// With the time since when, by the clock of whoever wrote it; `None`: it cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    #[default]
    Rest,
    /// Both keys are there; the old one seals.
    Added(Option<Timestamp>),
    /// Both keys are there; the new one seals.
    Switched(Option<Timestamp>),
}

#[derive(Clone, Copy, Debug)]
pub struct Clock {
    pub now: Timestamp,
    /// How long ago this process began the phase, by a clock that nobody sets. `None`: another process did.
    pub own: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Rest,
    Wait(Duration),
    Add,
    Switch,
    Drop,
    /// The time that was noted is no time to count from, or lies ahead: the clock was set back. The phase begins anew.
    Again,
}

/// A value that comes during a rotation waits for its end. No wait is shorter than `wait` by the clock of the process
/// that began it, whatever is done to the wall clock; a successor goes by the wall clock, and where that was set back
/// beyond the beginning it waits anew.
pub fn step(marks: &Marks, asked: Option<&str>, clock: Clock, wait: Duration) -> Step {
    let (since, next) = match marks.phase {
        Phase::Rest if asked.is_none() || asked == marks.rotated.as_deref() => return Step::Rest,
        Phase::Rest => return Step::Add,
        Phase::Added(since) => (since, Step::Switch),
        Phase::Switched(since) => (since, Step::Drop),
    };
    let by_wall = || Duration::try_from(clock.now.duration_since(since?)).ok();
    match clock.own.or_else(by_wall) {
        None => Step::Again,
        Some(waited) if waited < wait => Step::Wait(wait.saturating_sub(waited)),
        Some(_) => next,
    }
}

impl Marks {
    /// Of a Secret made now: its key is as new as can be.
    pub fn new(asked: Option<&str>) -> Self {
        Self { phase: Phase::Rest, rotated: asked.map(str::to_owned) }
    }

    /// Of a single key no rotation is under way, whatever is noted.
    pub fn read(annotations: Option<&BTreeMap<String, String>>, keys: usize) -> Self {
        let find = |name| annotations.and_then(|all| all.get(name));
        let since = |text: &String| text.parse().ok();
        let added = find(annotation::BUS_KEY_ADDED).map(|text| Phase::Added(since(text)));
        let switched = find(annotation::BUS_KEY_SWITCHED).map(|text| Phase::Switched(since(text)));
        Self {
            phase: switched.or(added).filter(|_| keys > 1).unwrap_or_default(),
            rotated: find(annotation::ROTATED_BUS_KEY).cloned(),
        }
    }

    /// All three; `None`: to be removed.
    pub fn annotations(&self) -> BTreeMap<&'static str, Option<String>> {
        let (added, switched) = match self.phase {
            Phase::Rest => (None, None),
            Phase::Added(since) => (since, None),
            Phase::Switched(since) => (None, since),
        };
        let time = |since: Option<Timestamp>| since.map(|since| format!("{since:.3}"));
        BTreeMap::from([
            (annotation::ROTATED_BUS_KEY, self.rotated.clone()),
            (annotation::BUS_KEY_ADDED, time(added)),
            (annotation::BUS_KEY_SWITCHED, time(switched)),
        ])
    }

    /// With times as they are noted: what is read back is the same.
    pub fn after(&self, step: Step, asked: Option<&str>, now: Timestamp) -> Self {
        let now = Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now);
        let phase = match (step, self.phase) {
            (Step::Add, _) | (Step::Again, Phase::Added(_)) => Phase::Added(Some(now)),
            (Step::Switch, _) | (Step::Again, Phase::Switched(_)) => Phase::Switched(Some(now)),
            (Step::Drop, _) | (Step::Again, Phase::Rest) => Phase::Rest,
            (Step::Rest | Step::Wait(_), phase) => phase,
        };
        let rotated = match step {
            Step::Add => asked.map(str::to_owned),
            Step::Rest | Step::Wait(_) | Step::Switch | Step::Drop | Step::Again => self.rotated.clone(),
        };
        Self { phase, rotated }
    }

    /// For status: no word of it changes while the phase lasts.
    pub fn words(&self, wait: Duration) -> Option<String> {
        let at = |since: Option<Timestamp>| {
            since
                .and_then(|since| since.checked_add(wait).ok())
                .map_or("then".to_owned(), |at| format!("{at:.0}"))
        };
        match self.phase {
            Phase::Rest => None,
            Phase::Added(since) => Some(format!(
                "bus key rotation: both keys are on their way to the pods; the new one seals from {} on",
                at(since)
            )),
            Phase::Switched(since) => Some(format!(
                "bus key rotation: pods begin to seal with the new key; the old one goes at {}",
                at(since)
            )),
        }
    }
}

#[cfg(test)]
mod tests;
