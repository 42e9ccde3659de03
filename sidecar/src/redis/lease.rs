//! When a connection is trusted, dropped and dialled again. Pure: one event in, one action out, and each action
//! answers with one event.
//!
//! ```text
//! Absent ──Dialed──► Joining ──Pong──► Up ──(Silent, Lost, Garbage, Demoted)──► Absent, dialling at once
//!   ▲ ▲                │  ▲             │
//!   │ └──(the same)────┘  └──Refused────┘
//!   └─ DialFailed: waits longer each time
//! ```

use std::time::{Duration, Instant};

pub(super) const PING_EVERY: Duration = Duration::from_millis(100);
/// A PING that is not answered by then ends the connection.
pub(super) const PING_TIMEOUT: Duration = Duration::from_millis(250);
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_millis(300);
/// Wrong passwords are logged by Redis, and changed by people: less often.
const REFUSED_WAIT: Duration = Duration::from_secs(1);
/// A Redis that has only just been dialled and does not take writes is not dialled again for that.
const SETTLED: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Not connected, after so many attempts in vain.
    Absent {
        failures: u32,
    },
    /// Connected; it has yet to answer PONG.
    Joining {
        failures: u32,
    },
    Up {
        since: Instant,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// The wait is over.
    Due,
    Dialed,
    /// Nobody there, no answer, or no sense in it.
    Unreachable,
    /// It answered, and will not have us.
    Rejected,
    Pong,
    /// An error instead of PONG, as `-LOADING`: it lives, and cannot serve.
    Refused,
    Silent,
    Lost,
    Garbage,
    /// It is not, or no longer, the master.
    Demoted,
    /// A call found the connection broken.
    Doubted,
    /// A call was answered `-READONLY`.
    ReadOnly,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Answers Due, or earlier Doubted or ReadOnly.
    Wait(Duration),
    /// Drops the connection there is, and answers Dialed, Unreachable or Rejected.
    Dial,
    /// Answers Pong, Refused, Silent, Lost, Garbage or Demoted.
    Ping,
    /// Drops the connection, then as Wait.
    Drop(Duration),
}

/// `jitter` is a random number in 0..=255.
pub(super) fn step(state: State, event: Event, now: Instant, jitter: u8) -> (State, Action) {
    use {Action::*, Event::*, State::*};
    match (state, event) {
        (Absent { failures }, Dialed) => (Joining { failures }, Ping),
        (Absent { failures }, Rejected) => {
            (Absent { failures: failures.saturating_add(1) }, Wait(jittered(REFUSED_WAIT, jitter)))
        }
        (Absent { failures }, Unreachable) => {
            (Absent { failures: failures.saturating_add(1) }, Wait(backoff(failures, jitter)))
        }
        // Nothing but the time says when to dial: calls can doubt only what is there.
        (Absent { .. }, Due | Doubted | ReadOnly | Pong | Refused | Silent | Lost | Garbage | Demoted) => {
            (state, Dial)
        }

        (Joining { .. }, Pong) => (Up { since: now }, Wait(PING_EVERY)),
        (Joining { .. }, Refused) => (state, Wait(PING_EVERY)),
        (Joining { .. }, Due | Doubted | ReadOnly | Dialed) => (state, Ping),
        (Joining { failures }, Silent | Lost | Garbage | Demoted | Unreachable | Rejected) => {
            (Absent { failures: failures.saturating_add(1) }, Drop(backoff(failures, jitter)))
        }

        (Up { .. }, Pong) => (state, Wait(PING_EVERY)),
        (Up { .. }, Refused) => (Joining { failures: 0 }, Wait(PING_EVERY)),
        (Up { .. }, Due | Doubted | Dialed) => (state, Ping),
        (Up { since }, ReadOnly) if now.saturating_duration_since(since) < SETTLED => (state, Ping),
        (Up { .. }, ReadOnly | Silent | Lost | Garbage | Demoted | Unreachable | Rejected) => {
            (Absent { failures: 0 }, Dial)
        }
    }
}

fn backoff(failures: u32, jitter: u8) -> Duration {
    jittered((FIRST_WAIT * (1 << failures.min(8))).min(LONGEST_WAIT), jitter)
}

/// Between half of it and all of it, so that a hundred pods do not dial together.
fn jittered(longest: Duration, jitter: u8) -> Duration {
    longest / 2 + longest * u32::from(jitter) / 510
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
