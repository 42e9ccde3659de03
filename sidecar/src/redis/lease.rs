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
mod tests {
    use super::*;

    /// Plays events 10 ms apart and prints each step.
    fn play(events: &[Event]) -> String {
        let start = Instant::now();
        let mut state = State::Absent { failures: 0 };
        let mut log = String::new();
        for (number, event) in (0u32..).zip(events) {
            let (next, action) = step(state, *event, start + SETTLED * number, 255);
            let shown = match next {
                State::Absent { failures } => format!("Absent {failures}"),
                State::Joining { failures } => format!("Joining {failures}"),
                State::Up { .. } => "Up".to_owned(),
            };
            log += &format!("{event:?} → {shown}, {action:?}\n");
            state = next;
        }
        log
    }

    #[test]
    fn absent_at_start_then_there_then_restarted() {
        use Event::*;
        let log = play(&[
            Due,
            Unreachable,
            Due,
            Unreachable,
            Due,
            Dialed,
            Pong,
            Due,
            Lost,
            Unreachable,
            Due,
            Dialed,
        ]);
        expect_test::expect![[r#"
            Due → Absent 0, Dial
            Unreachable → Absent 1, Wait(20ms)
            Due → Absent 1, Dial
            Unreachable → Absent 2, Wait(40ms)
            Due → Absent 2, Dial
            Dialed → Joining 2, Ping
            Pong → Up, Wait(100ms)
            Due → Up, Ping
            Lost → Absent 0, Dial
            Unreachable → Absent 1, Wait(20ms)
            Due → Absent 1, Dial
            Dialed → Joining 1, Ping
        "#]]
        .assert_eq(&log);
    }

    #[test]
    fn hung_accepts_connections_and_never_answers() {
        use Event::*;
        let log = play(&[Due, Dialed, Pong, Due, Silent, Dialed, Silent, Due, Unreachable]);
        expect_test::expect![[r#"
            Due → Absent 0, Dial
            Dialed → Joining 0, Ping
            Pong → Up, Wait(100ms)
            Due → Up, Ping
            Silent → Absent 0, Dial
            Dialed → Joining 0, Ping
            Silent → Absent 1, Drop(20ms)
            Due → Absent 1, Dial
            Unreachable → Absent 2, Wait(40ms)
        "#]]
        .assert_eq(&log);
    }

    #[test]
    fn loading_keeps_the_connection_and_is_not_up() {
        use Event::*;
        let log = play(&[Due, Dialed, Refused, Due, Refused, Due, Pong, Due, Refused, Due, Pong]);
        expect_test::expect![[r#"
            Due → Absent 0, Dial
            Dialed → Joining 0, Ping
            Refused → Joining 0, Wait(100ms)
            Due → Joining 0, Ping
            Refused → Joining 0, Wait(100ms)
            Due → Joining 0, Ping
            Pong → Up, Wait(100ms)
            Due → Up, Ping
            Refused → Joining 0, Wait(100ms)
            Due → Joining 0, Ping
            Pong → Up, Wait(100ms)
        "#]]
        .assert_eq(&log);
    }

    #[test]
    fn wrong_password_garbage_and_demotion() {
        use Event::*;
        let log = play(&[
            Due, Rejected, Due, Dialed, Garbage, Due, Dialed, Pong, Doubted, Pong, ReadOnly, Dialed, Demoted,
        ]);
        expect_test::expect![[r#"
            Due → Absent 0, Dial
            Rejected → Absent 1, Wait(1s)
            Due → Absent 1, Dial
            Dialed → Joining 1, Ping
            Garbage → Absent 2, Drop(40ms)
            Due → Absent 2, Dial
            Dialed → Joining 2, Ping
            Pong → Up, Wait(100ms)
            Doubted → Up, Ping
            Pong → Up, Wait(100ms)
            ReadOnly → Absent 0, Dial
            Dialed → Joining 0, Ping
            Demoted → Absent 1, Drop(20ms)
        "#]]
        .assert_eq(&log);
    }

    #[test]
    fn read_only_right_after_dialling_is_no_reason_to_dial_again() {
        let now = Instant::now();
        let state = State::Up { since: now };
        assert_eq!(step(state, Event::ReadOnly, now, 0), (state, Action::Ping));
    }

    #[test]
    fn waits_are_bounded_and_spread() {
        for failures in 0..100 {
            let (low, high) = (backoff(failures, 0), backoff(failures, 255));
            assert!(
                low >= FIRST_WAIT / 2 && high <= LONGEST_WAIT && high >= low * 19 / 10,
                "{low:?} {high:?}"
            );
        }
    }

    type Step = fn(State, Event, Instant, u8) -> (State, Action);

    /// Steps that trust a broken connection, or wait longer than a second.
    fn violations(step: Step) -> Vec<String> {
        use Event::*;
        let all = [
            Due,
            Dialed,
            Unreachable,
            Rejected,
            Pong,
            Refused,
            Silent,
            Lost,
            Garbage,
            Demoted,
            Doubted,
            ReadOnly,
        ];
        let now = Instant::now();
        let states =
            [State::Absent { failures: u32::MAX }, State::Joining { failures: 3 }, State::Up { since: now }];
        let mut violations = Vec::new();
        for (state, event) in states.into_iter().flat_map(|state| all.map(|event| (state, event))) {
            let (next, action) = step(state, event, now, 255);
            let broken = matches!(event, Silent | Lost | Garbage | Demoted | Unreachable | Rejected);
            let trusted = broken && matches!(next, State::Up { .. });
            let slow =
                matches!(action, Action::Wait(wait) | Action::Drop(wait) if wait > Duration::from_secs(1));
            if trusted || slow {
                violations.push(format!("{state:?} {event:?} → {next:?} {action:?}"));
            }
        }
        violations
    }

    #[test]
    fn a_broken_connection_is_never_trusted_whatever_the_order() {
        assert_eq!(violations(step), Vec::<String>::new());
        // A timeout that does not end the connection: half-open for ever.
        let patient: Step = |state, event, now, jitter| match event {
            Event::Silent => step(state, Event::Due, now, jitter),
            _ => step(state, event, now, jitter),
        };
        assert!(!violations(patient).is_empty());
    }
}
