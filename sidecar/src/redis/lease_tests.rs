//! The steps of the lease, printed; and a step that trusts what it must not.

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
    let log =
        play(&[Due, Unreachable, Due, Unreachable, Due, Dialed, Pong, Due, Lost, Unreachable, Due, Dialed]);
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
        assert!(low >= FIRST_WAIT / 2 && high <= LONGEST_WAIT && high >= low * 19 / 10, "{low:?} {high:?}");
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
        let slow = matches!(action, Action::Wait(wait) | Action::Drop(wait) if wait > Duration::from_secs(1));
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
