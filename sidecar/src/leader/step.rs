//! Who may lead, decided: a state and what happened give the next state and what to do. Time is an argument, and only
//! this pod's own; nothing here depends on what other machines' clocks say, or Redis'.

use std::time::Duration;

use super::record::{Lease, Record};
use super::rules::{Rules, TakeOver, Term};
use super::timing::Timing;
use crate::clock::Boot;
use crate::redis::Incarnation;

/// However rarely it looks: after an error it looks again within this.
const RETRY: Duration = Duration::from_millis(200);

/// What stays the same about a pod that may lead.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub id: String,
    /// 24 hex digits of this process; with the number of the attempt they are a nonce.
    pub seed: String,
    pub timing: Timing,
    pub rules: Rules,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct State {
    pub phase: Phase,
    /// Acquisitions that this process has tried.
    pub attempts: u32,
    /// The highest term that it knows of, whoever had it.
    pub highest: u64,
    /// Who leads, as far as others' records tell.
    pub other: Option<Other>,
    /// Whose word it was that the lease is this pod's, or may be.
    pub home: Option<Incarnation>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Phase {
    /// What the lease is, and since when, is not known.
    #[default]
    Blind,
    Watching(Watch),
    /// Has asked there for something to be written, and it may be.
    Asking(Place),
    Holding(Hold),
    /// Acts no longer, and says so.
    Resigning {
        leaves: bool,
    },
}

/// The same lease, seen again and again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Watch {
    pub place: Place,
    pub lease: Lease,
    pub since: Boot,
    /// Redis TIME when it was first seen.
    pub since_us: i64,
}

/// What is seen on another connection, or of another incarnation, may be an older truth.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    pub connection: u64,
    pub incarnation: Incarnation,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Hold {
    pub record: Record,
    /// Until when this pod may act. None before the lease is confirmed.
    pub until: Option<Boot>,
    /// This connection has shown the lease to be this pod's.
    pub sound: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Other {
    pub id: String,
    pub term: u64,
    pub until: Boot,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// The time has come that was waited for.
    Due,
    Saw(Sight),
    Answered(Answer),
    /// No answer, or one that is none. The connection is gone.
    Failed,
    /// This pod is to end.
    Stop,
}

/// One look.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sight {
    pub connection: u64,
    /// None where the incarnation is not known, or the node is no master.
    pub incarnation: Option<Incarnation>,
    pub lease: Option<Lease>,
    pub time_us: i64,
    /// The highest term that others have told of.
    pub heard: u64,
}

/// To an attempt to take the lease, to keep it or to give it away.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Answer {
    pub done: bool,
    /// As many replicas have it as must.
    pub confirmed: bool,
    /// As it is now.
    pub lease: Option<Lease>,
    pub sent: Boot,
    pub time_us: i64,
    pub heard: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Action {
    Wait(Boot),
    /// Drop the connection first.
    Leave(Boot),
    Look,
    /// If it is still this.
    Take {
        expected: Lease,
        nonce: String,
        least: u64,
    },
    /// So that what is watched is something, if it is nothing.
    Plant {
        nonce: String,
    },
    Keep(Record),
    Resign(Record),
    End,
}

impl Candidate {
    pub fn step(&self, state: State, event: Event, now: Boot) -> (State, Action) {
        match event {
            Event::Due => self.due(state),
            Event::Saw(sight) => self.saw(state, sight, now),
            Event::Answered(answer) => self.answered(state, answer, now),
            Event::Failed => self.failed(state, now),
            Event::Stop => stop(state),
        }
    }

    /// Until when, and under which record, this pod may act.
    pub fn held<'a>(&self, state: &'a State) -> Option<(&'a Record, Boot)> {
        match &state.phase {
            Phase::Holding(Hold { record, until, sound: _ }) => Some((record, (*until)?)),
            Phase::Blind | Phase::Watching(_) | Phase::Asking(_) | Phase::Resigning { .. } => None,
        }
    }

    fn due(&self, state: State) -> (State, Action) {
        match &state.phase {
            // Somebody has led after this lease was taken: what it lost cannot be told any more.
            Phase::Holding(hold) if hold.record.term < state.highest => {
                let record = hold.record.clone();
                (State { phase: Phase::Resigning { leaves: false }, ..state }, Action::Resign(record))
            }
            Phase::Holding(hold) if hold.sound => {
                let record = hold.record.clone();
                (state, Action::Keep(record))
            }
            Phase::Resigning { leaves: true } => (state, Action::End),
            Phase::Holding(_)
            | Phase::Blind
            | Phase::Watching(_)
            | Phase::Asking(_)
            | Phase::Resigning { leaves: false } => (state, Action::Look),
        }
    }

    fn saw(&self, mut state: State, sight: Sight, now: Boot) -> (State, Action) {
        let Sight { connection, incarnation, lease, time_us, heard } = sight;
        let Some(incarnation) = incarnation else {
            let (state, _) = self.failed(state, now);
            return (state, Action::Leave(now + self.retry()));
        };
        let place = Place { connection, incarnation };
        state.learn(&lease, heard);
        let own = lease.as_ref().and_then(|lease| lease.record.as_ref()).filter(|record| self.owns(record));
        // Below the highest term it is a lease that was over before data was lost.
        if let Some(record) = own.filter(|record| record.term >= state.highest) {
            let record = record.clone();
            let until =
                self.held(&state).filter(|(held, _)| held.nonce == record.nonce).map(|(_, until)| until);
            // A life of the data in which it was over may have been lost: only who still holds it goes on in another.
            if until.is_some_and(|until| until > now) || state.home.as_ref() == Some(&place.incarnation) {
                let hold = Hold { record: record.clone(), until, sound: true };
                let home = Some(place.incarnation);
                return (
                    State { phase: Phase::Holding(hold), other: None, home, ..state },
                    Action::Keep(record),
                );
            }
        }
        let attempts = state.attempts + 1;
        let Some(lease) = lease else {
            let nonce = self.nonce(attempts);
            let state = State { phase: Phase::Asking(place), attempts, other: None, ..state };
            return (state, Action::Plant { nonce });
        };
        let watch = match state.phase {
            Phase::Watching(watch) if watch.place == place && watch.lease == lease => watch,
            _ => {
                state.other = self.other(&lease, now);
                Watch { place, lease, since: now, since_us: time_us }
            }
        };
        if self.may_take(&watch, time_us, now) {
            let (place, expected) = (watch.place, watch.lease);
            let least = match self.rules.term {
                Term::Seen => state.highest + 1,
                Term::Counted => u64::from(attempts),
            };
            let take = Action::Take { expected, nonce: self.nonce(attempts), least };
            let home = Some(place.incarnation.clone());
            return (State { phase: Phase::Asking(place), attempts, home, ..state }, take);
        }
        let next = (now + self.timing.look).min(watch.since + self.timing.patience());
        (State { phase: Phase::Watching(watch), ..state }, Action::Wait(next))
    }

    fn answered(&self, mut state: State, answer: Answer, now: Boot) -> (State, Action) {
        let Answer { done, confirmed, lease, sent, time_us, heard } = answer;
        state.learn(&lease, heard);
        let (place, before) = match state.phase {
            Phase::Asking(place) => (Some(place), None),
            Phase::Holding(hold) => (None, hold.until),
            Phase::Resigning { leaves: true } => return (state, Action::End),
            phase @ (Phase::Resigning { leaves: false } | Phase::Blind | Phase::Watching(_)) => {
                let phase = if let Phase::Resigning { .. } = phase { Phase::Blind } else { phase };
                return (State { phase, ..state }, Action::Wait(now + self.timing.look));
            }
        };
        let record = lease.as_ref().and_then(|lease| lease.record.clone());
        if let Some(record) = record.filter(|record| done && self.owns(record)) {
            let proven = confirmed || !self.rules.confirmed_only;
            let until = if proven { Some(sent + self.timing.ttl) } else { before };
            let next = if proven { (sent + self.timing.renew).max(now) } else { now + self.retry() };
            let hold = Hold { record, until, sound: true };
            return (State { phase: Phase::Holding(hold), other: None, ..state }, Action::Wait(next));
        }
        state.other = lease.as_ref().and_then(|lease| self.other(lease, now));
        let watch = |(place, lease)| Watch { place, lease, since: now, since_us: time_us };
        let phase = place.zip(lease).map_or(Phase::Blind, |seen| Phase::Watching(watch(seen)));
        (State { phase, ..state }, Action::Wait(now + self.timing.look))
    }

    fn failed(&self, state: State, now: Boot) -> (State, Action) {
        let phase = match state.phase {
            Phase::Holding(hold) => Phase::Holding(Hold { sound: false, ..hold }),
            Phase::Resigning { leaves: true } => return (state, Action::End),
            Phase::Resigning { leaves: false }
            | Phase::Blind
            | Phase::Watching(_)
            // If it has been done nevertheless, the nonce will tell.
            | Phase::Asking(_) => Phase::Blind,
        };
        (State { phase, ..state }, Action::Wait(now + self.retry()))
    }

    fn may_take(&self, watch: &Watch, time_us: i64, now: Boot) -> bool {
        let resigned = watch.lease.record.as_ref();
        if resigned.is_some_and(|record| record.resigned) {
            return true;
        }
        match self.rules.takeover {
            TakeOver::Watched => now.since(watch.since) >= self.timing.patience(),
            TakeOver::ByRedisTime => {
                u128::from(time_us.abs_diff(watch.since_us)) >= self.timing.patience().as_micros()
            }
            TakeOver::AtOnce => true,
        }
    }

    /// Of somebody else, just seen to be renewed.
    fn other(&self, lease: &Lease, now: Boot) -> Option<Other> {
        let record = lease.record.as_ref().filter(|record| !record.resigned)?;
        Some(Other { id: record.id.clone(), term: record.term, until: now + self.timing.ttl })
    }

    fn owns(&self, record: &Record) -> bool {
        record.nonce.starts_with(&self.seed) && !record.resigned
    }

    fn nonce(&self, attempt: u32) -> String {
        format!("{}{attempt:08x}", self.seed)
    }

    fn retry(&self) -> Duration {
        self.timing.look.min(RETRY)
    }
}

impl State {
    fn learn(&mut self, lease: &Option<Lease>, heard: u64) {
        let record = lease.as_ref().and_then(|lease| lease.record.as_ref());
        self.highest = self.highest.max(heard).max(record.map_or(0, |record| record.term));
    }
}

fn stop(state: State) -> (State, Action) {
    let action = match &state.phase {
        Phase::Holding(hold) => Action::Resign(hold.record.clone()),
        Phase::Blind | Phase::Watching(_) | Phase::Asking(_) | Phase::Resigning { .. } => Action::End,
    };
    (State { phase: Phase::Resigning { leaves: true }, ..state }, action)
}
