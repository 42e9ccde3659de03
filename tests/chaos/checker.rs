//! The checker itself: forged histories that it must object to, and a sound one that it must not.

use std::time::Duration;

use tests::history::{Action, Event, Outcome, Rule, check, rules};

fn event(invoked: u64, ended: u64, action: Action, outcome: Outcome) -> Event {
    let ms = Duration::from_millis;
    Event { session: 0, invoked: ms(invoked), ended: ms(ended), action, outcome }
}

fn ok(etag: &str) -> Outcome {
    Outcome::Ok { etag: Some(etag.to_owned()), log: None }
}

fn seen(log: &[u64]) -> Outcome {
    Outcome::Ok { etag: None, log: Some(log.to_vec()) }
}

fn write(op: u64, base: &str) -> Action {
    Action::Write { op, base: Some(base.to_owned()) }
}

fn create() -> Event {
    event(0, 1, Action::Create { op: 1 }, ok("a"))
}

/// One rule, and no other, is broken.
fn objects(to: &[Event], rule: Rule) {
    let found = check(to);
    assert_eq!(rules(&found), [rule].into(), "{found:#?}");
}

#[test]
fn a_sound_history_is_sound() {
    let history = [
        create(),
        event(2, 9, write(2, "a"), ok("b")),
        event(3, 8, write(3, "b"), ok("c")),
        event(4, 5, write(4, "a"), Outcome::Fail),
        event(4, 30, Action::Write { op: 5, base: None }, Outcome::Unknown),
        event(5, 6, Action::Read, seen(&[1])),
        event(5, 7, Action::Read, seen(&[1, 2])),
        event(10, 11, Action::Read, seen(&[1, 2, 3])),
        event(12, 13, Action::Read, seen(&[1, 2, 3, 5])),
        event(14, 15, Action::Delete, seen(&[])),
        event(14, 16, Action::Read, Outcome::Absent),
        event(20, 21, Action::Read, Outcome::Absent),
    ];
    // A delete shows no log.
    let mut history = history.to_vec();
    history[9].outcome = Outcome::Ok { etag: None, log: None };
    assert_eq!(check(&history), []);
}

#[test]
fn a_lost_update_is_seen() {
    let read = event(6, 7, Action::Read, seen(&[1, 3]));
    objects(&[create(), event(2, 3, write(2, "a"), ok("b")), read], Rule::Lost);
}

#[test]
fn a_write_with_two_effects_is_seen() {
    let read = event(6, 7, Action::Read, seen(&[1, 2, 2]));
    objects(
        &[create(), event(2, 3, Action::Write { op: 2, base: None }, Outcome::Unknown), read],
        Rule::Twice,
    );
}

#[test]
fn a_failed_write_with_an_effect_is_seen() {
    let read = event(6, 7, Action::Read, seen(&[1, 2]));
    objects(&[create(), event(2, 3, write(2, "a"), Outcome::Fail), read], Rule::Ghost);
}

#[test]
fn a_write_that_acts_late_is_seen() {
    let write = event(2, 3, Action::Write { op: 2, base: None }, Outcome::Unknown);
    let reads = [event(600, 601, Action::Read, seen(&[1])), event(700, 701, Action::Read, seen(&[1, 2]))];
    objects(&[create(), write, reads[0].clone(), reads[1].clone()], Rule::Late);
}

#[test]
fn forked_logs_are_seen() {
    let one = event(6, 7, Action::Read, seen(&[1, 2]));
    let other = event(6, 7, Action::Read, seen(&[1, 3]));
    let writes = [2, 3].map(|op| event(2, 9, Action::Write { op, base: None }, Outcome::Unknown));
    objects(&[create(), writes[0].clone(), writes[1].clone(), one, other], Rule::Fork);
}

#[test]
fn a_read_that_goes_back_is_seen() {
    let old = event(6, 7, Action::Read, seen(&[1]));
    let read = event(8, 9, Action::Read, seen(&[1, 2]));
    objects(&[create(), event(2, 3, write(2, "a"), ok("b")), old, read], Rule::Order);
}

#[test]
fn a_read_of_the_future_is_seen() {
    let early = event(2, 3, Action::Read, seen(&[1, 2]));
    objects(&[create(), early, event(5, 6, write(2, "a"), ok("b"))], Rule::Order);
}

#[test]
fn effects_against_the_order_of_calls_are_seen() {
    let writes = [event(2, 3, write(2, "x"), ok("b")), event(4, 5, write(3, "a"), ok("x"))];
    let read = event(6, 7, Action::Read, seen(&[1, 3, 2]));
    objects(&[create(), writes[0].clone(), writes[1].clone(), read], Rule::Order);
}

#[test]
fn two_successors_of_one_version_are_seen() {
    let writes = [event(2, 9, write(2, "a"), ok("b")), event(2, 9, write(3, "a"), ok("c"))];
    objects(&[create(), writes[0].clone(), writes[1].clone()], Rule::Edge);
}

#[test]
fn absence_of_a_living_session_is_seen() {
    objects(&[create(), event(2, 3, Action::Read, Outcome::Absent)], Rule::FalseAbsence);
}

#[test]
fn life_after_an_acknowledged_delete_or_an_expiry_is_seen() {
    let gone = Outcome::Ok { etag: None, log: None };
    for end in [Action::Delete, Action::Expire] {
        let late = event(6, 7, Action::Write { op: 2, base: None }, ok("b"));
        objects(&[create(), event(2, 3, end, gone.clone()), late], Rule::Resurrection);
    }
}
