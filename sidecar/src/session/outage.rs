//! What becomes of requests while Redis does not answer. Pure: the time comes in.
//!
//! ```text
//!            Silent              a second of it
//! Healthy ──────────► Suspect ────────────────────► Outage
//!   ▲ ▲ ▲                │  │                        │  ▲
//!   │ │ └─── Answered ───┘  │                        │  │ a second of Silent
//!   │ └───── Answered, nothing waits ────────────────┤  │
//!   │                       ▼                        ▼  │
//!   └── Answered, ── Recovering ◄── Answered, changes wait
//!       nothing waits
//!
//!            reads                 writes                          what waits in the journal
//! Healthy    Redis, else stale     Redis
//! Suspect    Redis, else stale     Redis: a blip is waited for
//! Outage     stale                 journal, or 503                 stays
//! Recovering Redis, else stale     Redis, after the id's own       is replayed
//! ```

use std::time::{Duration, Instant};

/// A Redis that has not answered for so long is not waited for any more.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Healthy,
    /// Redis has been silent since, which may be a blip.
    Suspect {
        since: Instant,
    },
    Outage {
        since: Instant,
    },
    /// Redis answers again; what was journaled is on its way.
    Recovering {
        since: Instant,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// No answer from Redis, or from one of its nodes, since then.
    Silent { since: Instant },
    /// `waiting`: changes are in the journal.
    Answered { waiting: bool },
}

/// What is to be done about a change of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Say that an outage began, once.
    Begins,
    /// Say that it ended, and replay what waits.
    Recovers,
    /// Say that it is over.
    Over,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Healthy => "healthy",
            State::Suspect { .. } => "suspect",
            State::Outage { .. } => "outage",
            State::Recovering { .. } => "recovering",
        }
    }
}

pub(crate) fn step(state: State, event: Event, now: Instant) -> (State, Option<Effect>) {
    use {Effect::*, Event::*, State::*};
    let lasting = |since: Instant| now.saturating_duration_since(since) >= PATIENCE;
    match (state, event) {
        (Healthy | Suspect { .. }, Silent { since }) if lasting(since) => (Outage { since }, Some(Begins)),
        (Healthy | Suspect { .. }, Silent { since }) => (Suspect { since }, None),
        (Recovering { .. }, Silent { since }) if lasting(since) => (Outage { since }, Some(Begins)),
        (Recovering { .. } | Outage { .. }, Silent { .. }) => (state, None),

        (Outage { .. }, Answered { waiting: false }) => (Healthy, Some(Over)),
        // A change may be journaled while the answer is on its way.
        (Healthy | Suspect { .. } | Outage { .. }, Answered { waiting: true }) => {
            (Recovering { since: now }, Some(Recovers))
        }
        (Healthy | Suspect { .. }, Answered { waiting: false }) => (Healthy, None),
        (Recovering { .. }, Answered { waiting: true }) => (state, None),
        (Recovering { .. }, Answered { waiting: false }) => (Healthy, Some(Over)),
    }
}

/// What writes become in an outage: `SESSION_FALLBACK_TO_MEMORY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// What can be applied to any later state of the session waits for Redis.
    Journal,
    /// Creations wait too. Nothing is promised of them: who lost them was told 202.
    Memory,
    Reject,
}

/// What a request wants, as far as an outage is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Any state that the session had lately will do.
    Read,
    Create,
    Merge,
    Touch,
    Delete,
    /// Means the very state that it was made from: a JSON Patch, or all of the session.
    Rewrite,
}

/// What a write asks beside its change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Asks {
    /// If-Match and the like.
    pub(crate) conditional: bool,
    pub(crate) strong: bool,
    /// Idempotency-Key.
    pub(crate) keyed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Ask Redis, and say what it says.
    Do,
    /// As `Do`; where Redis cannot be asked, what was known last, marked as such.
    DoOrStale,
    /// What was known last, marked as such.
    Stale,
    Journal,
    Refuse,
}

/// What each state means for each request.
pub(crate) fn verdict(state: State, fallback: Fallback, operation: Operation, asks: Asks) -> Verdict {
    let out = match state {
        State::Healthy | State::Suspect { .. } | State::Recovering { .. } => false,
        State::Outage { .. } => true,
    };
    let Asks { conditional, strong, keyed } = asks;
    match operation {
        Operation::Read if out => Verdict::Stale,
        Operation::Read => Verdict::DoOrStale,
        _ if !out => Verdict::Do,
        _ if conditional || strong || keyed || fallback == Fallback::Reject => Verdict::Refuse,
        Operation::Merge | Operation::Touch | Operation::Delete => Verdict::Journal,
        Operation::Create if fallback == Fallback::Memory => Verdict::Journal,
        Operation::Create | Operation::Rewrite => Verdict::Refuse,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blip_is_waited_for_and_an_outage_is_told_once() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let silent = Event::Silent { since: start };
        let (well, waiting) = (Event::Answered { waiting: false }, Event::Answered { waiting: true });
        let mut state = State::Healthy;
        let story = [
            (0, well, "healthy", None),
            (10, silent, "suspect", None),
            (999, silent, "suspect", None),
            (999, well, "healthy", None),
            (999, silent, "suspect", None),
            (1000, silent, "outage", Some(Effect::Begins)),
            (9000, silent, "outage", None),
            (9001, waiting, "recovering", Some(Effect::Recovers)),
            (9002, Event::Silent { since: at(9002) }, "recovering", None),
            (9003, waiting, "recovering", None),
            (9500, Event::Silent { since: at(9500) }, "recovering", None),
            (10_500, Event::Silent { since: at(9500) }, "outage", Some(Effect::Begins)),
            (10_600, waiting, "recovering", Some(Effect::Recovers)),
            (10_700, well, "healthy", Some(Effect::Over)),
            // Journaled in the moment in which Redis came back.
            (10_800, waiting, "recovering", Some(Effect::Recovers)),
            (10_900, well, "healthy", Some(Effect::Over)),
        ];
        for (ms, event, name, effect) in story {
            let (next, said) = step(state, event, at(ms));
            assert_eq!((next.name(), said), (name, effect), "{ms} ms: {event:?}");
            state = next;
        }
    }

    #[test]
    fn an_outage_with_nothing_journaled_is_over_with_the_first_answer() {
        let now = Instant::now();
        let out = State::Outage { since: now };
        assert_eq!(step(out, Event::Answered { waiting: false }, now), (State::Healthy, Some(Effect::Over)));
    }

    #[test]
    fn only_what_fits_any_later_state_is_journaled() {
        use {Operation::*, Verdict::*};
        let now = Instant::now();
        let out = State::Outage { since: now };
        let plain = Asks::default();
        for (operation, journal, memory, reject) in [
            (Read, Stale, Stale, Stale),
            (Create, Refuse, Verdict::Journal, Refuse),
            (Merge, Verdict::Journal, Verdict::Journal, Refuse),
            (Touch, Verdict::Journal, Verdict::Journal, Refuse),
            (Delete, Verdict::Journal, Verdict::Journal, Refuse),
            (Rewrite, Refuse, Refuse, Refuse),
        ] {
            for (fallback, expect) in
                [(Fallback::Journal, journal), (Fallback::Memory, memory), (Fallback::Reject, reject)]
            {
                assert_eq!(verdict(out, fallback, operation, plain), expect, "{operation:?} {fallback:?}");
                let usual = if operation == Read { DoOrStale } else { Do };
                let recovering = State::Recovering { since: now };
                for state in [State::Healthy, State::Suspect { since: now }, recovering] {
                    assert_eq!(verdict(state, fallback, operation, plain), usual, "{operation:?} {state:?}");
                }
            }
        }
        for asks in [
            Asks { conditional: true, ..plain },
            Asks { strong: true, ..plain },
            Asks { keyed: true, ..plain },
        ] {
            for operation in [Merge, Touch, Delete, Create] {
                assert_eq!(verdict(out, Fallback::Memory, operation, asks), Refuse, "{operation:?} {asks:?}");
            }
        }
    }
}
