//! Histories in which Redis lost data.

use std::collections::HashMap;

use tests::history::{Action, Answer, Durability, Event, Fault, History, Loss, Pod, Rule};

use super::{FRESH, MINUTE, More, READ, absent, accepts, create, event, ms, objects, of, redis, seen, write};

/// When Redis had lost data, between 100 and 101 ms, a new incarnation began.
const RENEWED: u64 = 110;

/// All that was there is lost, or all that is not in `after`.
fn losing(events: &[Event], after: Option<&[u64]>) -> History {
    let of_it = |marks: &[u64]| HashMap::from([(0, marks.to_vec())]);
    let lost =
        Loss { before: of_it(&[1, 2]), after: after.map(of_it).unwrap_or_default(), renewed: ms(RENEWED) };
    let fault = Fault {
        name: "lost",
        pod: None,
        begun: ms(100),
        ended: ms(101),
        effect: "lost".to_owned(),
        lost: Some(lost),
    };
    History { faults: vec![fault], ..of(events) }
}

#[test]
fn absence_within_the_repair_window_is_seen() {
    let soon = event(200, 300, READ, absent());
    objects(&losing(&[create(), soon], None), Rule::FalseAbsence);
    let later = event(5200, 5300, READ, absent());
    accepts(&losing(&[create(), later.clone()], None));
    // What Redis had not lost is still there.
    objects(&losing(&[create(), later], Some(&[1])), Rule::FalseAbsence);
}

#[test]
fn a_write_cut_by_a_loss_is_applied_again_or_counted() {
    let write = event(2, 3, write(2), redis());
    let end = |marks: &[u64]| event(MINUTE, MINUTE, FRESH, seen(marks));
    accepts(&losing(&[create(), write.clone(), end(&[1, 2])], Some(&[1])));
    let mut history = losing(&[create(), write.clone(), end(&[1])], Some(&[1]));
    objects(&history, Rule::Cut);
    for excuse in [
        Pod { forked: 1, ..Pod::default() },
        Pod { overflowed: 1, ..Pod::default() },
        Pod { killed: vec![ms(50)], ..Pod::default() },
    ] {
        history.pods[0] = excuse;
        accepts(&history);
    }
    // Another pod, asked before under the same key, may have done it.
    history.pods[0] = Pod::default();
    history.pods[1].killed.push(ms(50));
    objects(&history, Rule::Cut);
    let asked = history.events.iter_mut().find(|event| **event == write).expect("the write");
    asked.before.push(1);
    accepts(&history);
    history.pods[1] = Pod::default();
    // It was acknowledged too long ago to be remembered.
    let mut long_ago = history.clone();
    long_ago.pods[0] = Pod::default();
    long_ago.faults[0].begun = ms(10_500);
    accepts(&long_ago);
    // Redis still had it after the loss.
    let mut history = losing(&[create(), write, end(&[1])], Some(&[1, 2]));
    history.pods[0].forked = 1;
    objects(&history, Rule::Cut);
}

#[test]
fn a_replicated_write_cut_by_one_fault_is_seen() {
    let replicated = Answer { durability: Some(Durability::Replicated), ..Answer::default() };
    let history = [create(), event(2, 3, write(2), replicated), event(MINUTE, MINUTE, FRESH, seen(&[1]))];
    let mut history = losing(&history, Some(&[1]));
    history.pods[0].forked = 1;
    objects(&history, Rule::ReplicatedCut);
}

#[test]
fn life_after_a_deletion_that_was_lost_is_seen_once_it_has_to_be_told_again() {
    let deleted = event(50, 60, Action::Delete, redis());
    let alive = |at| event(at, at + 1, FRESH, seen(&[1]));
    let back = |events: &[Event]| losing(&[&[create(), deleted.clone()], events].concat(), Some(&[1]));
    let over = RENEWED + 5000;
    let written = Event { pod: 1, ..event(150, 160, write(2), redis()) };
    accepts(&back(&[alive(120), written, event(over, over + 1, READ, seen(&[1])), alive(over)]));
    accepts(&back(&[event(over + 200, over + 201, READ, seen(&[1]).within(300))]));
    for late in [alive(over + 1), event(over + 1, over + 2, write(2), redis())] {
        objects(&back(&[late]), Rule::Resurrection);
    }
    // Nobody is left who could tell it again.
    let mut forgotten = back(&[alive(over + 1)]);
    forgotten.pods[0].killed.push(ms(100));
    accepts(&forgotten);
    // Redis had not lost it: the session was gone before and after.
    objects(&losing(&[create(), deleted.clone(), alive(120)], None), Rule::Resurrection);
    // The new incarnation has acknowledged another.
    let again = event(200, 210, Action::Delete, redis());
    objects(&back(&[again, alive(300)]), Rule::Resurrection);
}
