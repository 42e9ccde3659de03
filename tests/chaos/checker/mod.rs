//! The checker itself: forged histories that it must object to, and sound ones that it must not.

mod agreement;
mod loss;
mod wanted;

use std::time::Duration;

use tests::history::{
    Action, Answer, Consistency, Document, Durability, Event, History, Outcome, Pod, Rule, check,
};

const READ: Action = Action::Read(Consistency::Default);
const FRESH: Action = Action::Read(Consistency::NoCache);
const MINUTE: u64 = 60_000;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn event(invoked: u64, ended: u64, action: Action, outcome: impl Into<Outcome>) -> Event {
    let (invoked, ended, outcome) = (ms(invoked), ms(ended), outcome.into());
    Event { session: 0, pod: 0, before: Vec::new(), invoked, ended, action, outcome }
}

fn write(op: u64) -> Action {
    Action::Write { op, dialect: "deep", after: None }
}

fn create() -> Event {
    event(0, 1, Action::Create { op: 1 }, redis().named("a"))
}

/// An answer of today's `redis` that shows nothing.
fn redis() -> Answer {
    Answer { durability: Some(Durability::Redis), ..Answer::default() }
}

fn local() -> Answer {
    Answer { durability: Some(Durability::Local), ..Answer::default() }
}

/// A document with these marks, the last by who claims it.
fn seen(marks: &[u64]) -> Answer {
    let document = Document { marks: marks.to_vec(), last: marks.last().copied() };
    Answer { document: Some(document), ..Answer::default() }
}

trait More {
    fn named(self, etag: &str) -> Answer;
    fn version(self, version: i64) -> Answer;
    fn over(self, base: &str) -> Answer;
    fn within(self, bound: u64) -> Answer;
    fn stale(self, stale: u64) -> Answer;
}

impl More for Answer {
    fn named(self, etag: &str) -> Answer {
        Answer { etag: Some(etag.to_owned()), ..self }
    }

    fn version(self, version: i64) -> Answer {
        Answer { version: Some(version), ..self }
    }

    fn over(self, base: &str) -> Answer {
        Answer { base: Some(base.to_owned()), ..self }
    }

    fn within(self, bound: u64) -> Answer {
        Answer { bound: ms(bound), ..self }
    }

    fn stale(self, stale: u64) -> Answer {
        Answer { stale: Some(ms(stale)), ..self }
    }
}

fn absent() -> Outcome {
    Outcome::Absent(Duration::ZERO)
}

fn of(events: &[Event]) -> History {
    let (events, pods) = (events.to_vec(), vec![Pod::default(); 2]);
    History { events, faults: Vec::new(), pods, repair: ms(5000), logs: Vec::new() }
}

/// One rule, and no other, is broken.
#[track_caller]
fn objects(to: &History, rule: Rule) {
    let found = check(to);
    let mut rules: Vec<_> = found.iter().map(|violation| violation.rule).collect();
    rules.dedup();
    assert_eq!(rules, [rule], "{found:#?}");
}

#[track_caller]
fn accepts(history: &History) {
    assert_eq!(check(history), []);
}

#[test]
fn a_sound_history_is_sound() {
    accepts(&of(&[
        create(),
        event(2, 9, write(2), redis().over("a").named("b")),
        event(3, 8, write(3), redis().over("b").named("c")),
        event(4, 5, write(4), Outcome::Fail),
        event(4, 30, write(5), Outcome::Unknown),
        event(5, 6, READ, seen(&[1]).named("a")),
        event(5, 7, FRESH, seen(&[1, 2])),
        event(10, 11, FRESH, seen(&[1, 2, 3])),
        event(12, 13, READ, seen(&[1, 2, 3, 5])),
        event(14, 15, Action::Delete, redis()),
        event(14, 16, FRESH, absent()),
        event(20, 21, READ, absent()),
    ]));
}

#[test]
fn a_batch_is_one_step_with_several_writes() {
    let member =
        |op| event(2, 9, write(op), Answer { durability: Some(Durability::Redis), ..seen(&[1, 2, 3]) });
    let batch = [2, 3].map(|op| Event { outcome: named(member(op), "a", "c"), ..member(op) });
    let read = event(10, 11, FRESH, seen(&[1, 2, 3]).named("c"));
    accepts(&of(&[create(), batch[0].clone(), batch[1].clone(), read]));
}

fn named(event: Event, base: &str, etag: &str) -> Outcome {
    event.ok().unwrap().clone().over(base).named(etag).into()
}

#[test]
fn a_lost_update_is_seen() {
    let read = event(6, 7, FRESH, seen(&[1]));
    objects(&of(&[create(), event(2, 3, write(2), redis().named("b")), read]), Rule::Lost);
}

#[test]
fn a_write_with_two_effects_is_seen() {
    let writes = [2, 3].map(|op| event(2, 5, write(op), Outcome::Unknown));
    let again = |last| Answer {
        document: Some(Document { marks: vec![1, 2, 3], last: Some(last) }),
        ..Answer::default()
    };
    let [two, three] = writes;
    // Over the other's.
    let reads = event(6, 7, FRESH, again(2));
    objects(&of(&[create(), two.clone(), three.clone(), reads]), Rule::Twice);
    // Over its own: the same marks by another name.
    let reads = ["c", "d"].map(|etag| event(6, 7, FRESH, again(3).named(etag)));
    objects(&of(&[create(), two, three, reads[0].clone(), reads[1].clone()]), Rule::Twice);
}

#[test]
fn a_failed_write_with_an_effect_is_seen() {
    let read = event(6, 7, FRESH, seen(&[1, 2]));
    let deleting = event(2, 9, Action::Delete, Outcome::Unknown);
    for refused in [Outcome::Fail, absent()] {
        let refused = event(2, 3, write(2), refused);
        objects(&of(&[create(), deleting.clone(), refused, read.clone()]), Rule::Ghost);
    }
}

#[test]
fn a_write_that_acts_late_is_seen() {
    let write = event(2, 3, write(2), Outcome::Unknown);
    let reads = [event(600, 601, FRESH, seen(&[1])), event(700, 701, FRESH, seen(&[1, 2]))];
    let mut history = of(&[create(), write, reads[0].clone(), reads[1].clone()]);
    objects(&history, Rule::Late);
    // A paused sidecar has not even begun.
    history.pods[0].paused = vec![(ms(1), ms(650))];
    accepts(&history);
}

#[test]
fn forked_documents_are_seen() {
    let one = event(6, 7, FRESH, seen(&[1, 2]));
    let other = event(6, 7, FRESH, seen(&[1, 3]));
    let writes = [2, 3].map(|op| event(2, 9, write(op), Outcome::Unknown));
    objects(&of(&[create(), writes[0].clone(), writes[1].clone(), one, other]), Rule::Fork);
}

#[test]
fn two_successors_or_two_ancestors_of_one_version_are_seen() {
    for (base, etag) in [(["a", "a"], ["b", "c"]), (["a", "x"], ["b", "b"])] {
        let writes =
            [0, 1].map(|at| event(2, 9, write(2 + at as u64), redis().over(base[at]).named(etag[at])));
        objects(&of(&[create(), writes[0].clone(), writes[1].clone()]), Rule::Fork);
    }
}

#[test]
fn a_step_that_does_not_hold_its_own_write_is_seen() {
    let early = event(2, 3, write(2), redis().over("a").named("b"));
    let liar = event(4, 9, write(3), redis().over("a").named("b"));
    let reads = [(5, "b", &[1, 2][..]), (10, "c", &[1, 2, 3])]
        .map(|(at, etag, marks)| event(at, at + 1, FRESH, seen(marks).named(etag)));
    let first = event(1, 2, FRESH, seen(&[1]).named("a"));
    objects(&of(&[create(), first, early, liar, reads[0].clone(), reads[1].clone()]), Rule::Fork);
}

#[test]
fn effects_against_the_order_of_calls_are_seen() {
    let writes = [event(2, 3, write(2), redis()), event(4, 5, write(3), redis())];
    let read = event(6, 7, FRESH, seen(&[1, 3, 2]));
    objects(&of(&[create(), writes[0].clone(), writes[1].clone(), read]), Rule::Order);
}

#[test]
fn a_conditional_write_upon_another_version_is_seen() {
    let other = event(2, 9, write(2), redis());
    let read = event(10, 11, FRESH, seen(&[1, 2, 3]));
    for outcome in [Outcome::Unknown, redis().into()] {
        let meant = |after| {
            let action = Action::Write { op: 3, dialect: "deep if-match", after: Some(after) };
            of(&[create(), other.clone(), event(3, 9, action, outcome.clone()), read.clone()])
        };
        objects(&meant(1), Rule::Condition);
        accepts(&meant(2));
    }
}

#[test]
fn a_fresh_answer_of_the_past_or_the_future_is_seen() {
    let write = event(5, 6, write(2), redis());
    for fresh in [FRESH, Action::Read(Consistency::Strong), Action::Touch] {
        let past = event(8, 9, fresh.clone(), seen(&[1]).within(100));
        let future = event(2, 3, fresh, seen(&[1, 2]));
        let end = event(10, 11, FRESH, seen(&[1, 2]));
        objects(&of(&[create(), write.clone(), past, end.clone()]), Rule::NotFresh);
        let born = event(0, 0, Action::Create { op: 1 }, redis());
        let unknown = Event { outcome: Outcome::Unknown, ..write.clone() };
        objects(&of(&[born, unknown, future, end]), Rule::NotFresh);
    }
}

#[test]
fn a_read_out_of_its_bound_is_seen_and_one_within_it_is_not() {
    let elsewhere = Event { pod: 1, ..event(100, 110, write(2), redis()) };
    let end = event(500, 501, FRESH, seen(&[1, 2]));
    let read = |at, bound| event(at, at + 1, READ, seen(&[1]).within(bound));
    objects(&of(&[create(), elsewhere.clone(), read(200, 80), end.clone()]), Rule::OutOfBound);
    accepts(&of(&[create(), elsewhere, read(200, 100), end]));
}

#[test]
fn a_pod_that_does_not_see_its_own_write_is_seen() {
    let write = event(100, 110, write(2), redis());
    let read = event(111, 112, READ, seen(&[1]).within(300));
    let end = event(500, 501, FRESH, seen(&[1, 2]));
    objects(&of(&[create(), write, read, end]), Rule::OwnWrite);
}

#[test]
fn a_stale_read_that_is_staler_than_it_says_is_seen() {
    let write = event(100, 110, write(2), redis());
    let end = event(500, 501, FRESH, seen(&[1, 2]));
    let read = |stale| event(400, 401, READ, seen(&[1]).stale(stale));
    objects(&of(&[create(), write.clone(), read(200), end.clone()]), Rule::Staler);
    accepts(&of(&[create(), write, read(300), end]));
}

#[test]
fn a_preview_of_what_a_pod_has_journaled_is_no_fork_unless_what_lies_under_it_is() {
    let own = event(200, 201, write(3), local());
    let preview = |marks: &[u64]| {
        let shown = Answer { durability: Some(Durability::Local), ..seen(marks) };
        event(300, 301, READ, shown.stale(290))
    };
    let elsewhere = Event { pod: 1, ..event(250, 260, write(2), redis()) };
    let end = event(MINUTE, MINUTE + 1, FRESH, seen(&[1, 2, 3]));
    let sound = [create(), own.clone(), elsewhere.clone(), preview(&[1, 3]), end.clone()];
    accepts(&of(&sound));
    let unsound = [create(), own, elsewhere, preview(&[7, 3]), end];
    objects(&of(&unsound), Rule::Fork);
}

#[test]
fn absence_of_a_living_session_is_seen() {
    for action in [READ, FRESH, write(2), Action::Delete] {
        objects(&of(&[create(), event(2, 3, action, absent())]), Rule::FalseAbsence);
    }
    let deleting = event(3, 9, Action::Delete, Outcome::Unknown);
    accepts(&of(&[create(), deleting, event(3, 4, READ, absent())]));
}

#[test]
fn journaled_writes_come_once_or_are_counted() {
    let journaled = event(2, 3, write(2), local());
    let end = |marks: &[u64]| event(MINUTE, MINUTE + 1, FRESH, seen(marks));
    accepts(&of(&[create(), journaled.clone(), end(&[1, 2])]));
    let mut history = of(&[create(), journaled.clone(), end(&[1])]);
    objects(&history, Rule::Vanished);
    history.pods[0].dropped = 1;
    accepts(&history);
    history.pods[0] = Pod { killed: vec![ms(4)], ..Pod::default() };
    accepts(&history);

    let other = event(4, 5, write(3), Outcome::Unknown);
    let document = Document { marks: vec![1, 2, 3], last: Some(2) };
    let twice = Answer { document: Some(document), ..Answer::default() };
    objects(&of(&[create(), journaled, other, event(6, 7, FRESH, twice)]), Rule::ReplayedTwice);
}

#[test]
fn a_journaled_delete_happens_or_is_counted() {
    let delete = event(2, 3, Action::Delete, local());
    objects(&of(&[create(), delete.clone(), event(MINUTE, MINUTE, FRESH, seen(&[1]))]), Rule::Vanished);
    accepts(&of(&[create(), delete, event(MINUTE, MINUTE, FRESH, absent())]));
}

#[test]
fn life_after_an_acknowledged_delete_or_an_expiry_is_seen() {
    for end in [Action::Delete, Action::Expire] {
        let end = event(2, 3, end, redis());
        let alive = [
            event(6, 7, write(2), redis()),
            event(6, 7, FRESH, seen(&[1])),
            event(400, 401, READ, seen(&[1]).within(300)),
            event(MINUTE, MINUTE, Action::Touch, redis()),
        ];
        for late in alive {
            objects(&of(&[create(), end.clone(), late]), Rule::Resurrection);
        }
        let within = event(200, 201, READ, seen(&[1]).within(300));
        let promised = event(200, 201, write(2), local());
        accepts(&of(&[create(), end, within, promised]));
    }
}

#[test]
fn an_answer_that_no_fault_explains_is_seen() {
    let strange = Outcome::Strange("500 oops".to_owned());
    objects(&of(&[create(), event(2, 3, READ, strange)]), Rule::Strange);
}
