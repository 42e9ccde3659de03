//! Reads that name a version.

use tests::history::{Action, Consistency, Event, Outcome, Rule};

use super::{More, READ, accepts, create, event, objects, of, redis, seen, write};

fn wanted(invoked: u64, version: i64, outcome: impl Into<Outcome>) -> Event {
    event(invoked, invoked + 1, Action::Read(Consistency::AtLeast(version)), outcome)
}

fn history(read: Event) -> [Event; 4] {
    let written = event(2, 3, write(2), redis().version(70).named("b"));
    let before = event(4, 5, READ, seen(&[1, 2]).version(70).named("b"));
    [create(), written, before, read]
}

#[test]
fn an_answer_of_the_version_that_was_asked_for_or_a_later_one_is_sound() {
    for version in [70, 71] {
        accepts(&of(&history(wanted(6, 70, seen(&[1, 2]).version(version)))));
    }
    accepts(&of(&history(wanted(6, 71, Outcome::Behind))));
    // Nobody had seen it when this was asked.
    accepts(&of(&history(wanted(3, 70, Outcome::Behind))));
}

#[test]
fn an_answer_below_the_version_that_was_asked_for_is_seen() {
    for answer in [seen(&[1, 2]).version(69), seen(&[1, 2])] {
        objects(&of(&history(wanted(6, 70, answer))), Rule::Below);
    }
}

#[test]
fn a_version_that_was_there_and_is_said_not_to_be_is_seen() {
    objects(&of(&history(wanted(6, 70, Outcome::Behind))), Rule::NotBehind);
}
