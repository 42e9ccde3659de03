//! The steps of an election, printed; and what holds whatever happens.

use std::time::Duration;

use proptest::prelude::*;

use super::store::{SOUND, act};
use super::*;

const MS: Duration = Duration::from_millis(1);

fn place(connection: u64, n: u64) -> Place {
    Place { connection, incarnation: Incarnation { n, run_id: "r".to_owned(), since_us: 0 } }
}

fn lease(nonce: &str, term: u64, beat: u64, resigned: bool) -> Lease {
    let record = Record { nonce: nonce.to_owned(), id: format!("pod-{nonce}"), term, beat, resigned };
    Lease::of(serde_json::to_vec(&record).unwrap())
}

fn saw(at: Place, lease: Option<Lease>) -> Event {
    let Place { connection, incarnation } = at;
    Event::Saw(Sight { connection, incarnation: Some(incarnation), lease, time_us: 0, heard: 0 })
}

fn answered(done: bool, confirmed: bool, lease: Lease, sent_ms: u32) -> Event {
    let sent = Boot::at(MS * sent_ms);
    Event::Answered(Answer { done, confirmed, lease: Some(lease), sent, time_us: 0, heard: 0 })
}

/// Plays events at their milliseconds and prints each step.
fn play(events: &[(u32, Event)]) -> String {
    let me = candidate("me", Profile::Fast.timing(), Rules::default());
    let mut state = State::default();
    let mut log = String::new();
    for (ms, event) in events {
        let now = Boot::at(MS * *ms);
        let (next, action) = me.step(state, event.clone(), now);
        state = next;
        let phase = match &state.phase {
            Phase::Watching(watch) => format!("watching for {:?}", now.since(watch.since)),
            Phase::Asking(_) => "asking".to_owned(),
            Phase::Holding(Hold { until, sound, .. }) => {
                let left = until.map(|until| until.since(now));
                format!("holding for {left:?}{}", if *sound { "" } else { ", in doubt" })
            }
            phase @ (Phase::Blind | Phase::Resigning { .. }) => format!("{phase:?}").to_lowercase(),
        };
        log += &format!("{ms}: {phase} → {}\n", told(&action, now));
    }
    log
}

fn told(action: &Action, now: Boot) -> String {
    match action {
        Action::Wait(until) => format!("wait {:?}", until.since(now)),
        Action::Leave(until) => format!("leave, wait {:?}", until.since(now)),
        Action::Look => "look".to_owned(),
        Action::Plant { nonce } => format!("plant {nonce}"),
        Action::Take { expected: _, nonce, least } => format!("take as {nonce} of {least} at least"),
        Action::Keep(record) => format!("keep {}", record.term),
        Action::Resign(record) => format!("resign {}", record.term),
        Action::End => "end".to_owned(),
    }
}

#[test]
fn a_lease_that_stands_still_is_taken_kept_and_given_away() {
    let other = || Some(lease("x", 7, 3, false));
    let own = |beat| lease("me00000001", 9, beat, false);
    let log = play(&[
        (0, Event::Due),
        (0, saw(place(1, 1), other())),
        (75, Event::Due),
        (76, saw(place(1, 1), Some(lease("x", 7, 4, false)))),
        (700, saw(place(1, 1), Some(lease("x", 7, 4, false)))),
        (743, saw(place(1, 1), Some(lease("x", 7, 4, false)))),
        (745, answered(true, false, own(0), 743)),
        (820, Event::Due),
        (822, answered(true, true, own(1), 820)),
        (970, Event::Due),
        (1170, Event::Failed),
        (1245, Event::Due),
        (1246, saw(place(2, 1), Some(own(2)))),
        (1247, answered(true, true, own(3), 1246)),
        (1300, Event::Stop),
        (1301, answered(true, true, lease("me00000001", 9, 4, true), 1300)),
    ]);
    expect_test::expect![[r#"
        0: blind → look
        0: watching for 0ns → wait 75ms
        75: watching for 75ms → look
        76: watching for 0ns → wait 75ms
        700: watching for 624ms → wait 42.666666ms
        743: asking → take as me00000001 of 8 at least
        745: holding for None → wait 75ms
        820: holding for None → keep 9
        822: holding for Some(598ms) → wait 148ms
        970: holding for Some(450ms) → keep 9
        1170: holding for Some(250ms), in doubt → wait 75ms
        1245: holding for Some(175ms), in doubt → look
        1246: holding for Some(174ms) → keep 9
        1247: holding for Some(599ms) → wait 149ms
        1300: resigning { leaves: true } → resign 9
        1301: resigning { leaves: true } → end
    "#]]
    .assert_eq(&log);
}

#[test]
fn what_may_be_an_older_truth_is_watched_anew() {
    let other = || Some(lease("x", 7, 3, false));
    let log = play(&[
        (0, saw(place(1, 1), other())),
        (700, saw(place(2, 1), other())),
        (1400, saw(place(2, 2), other())),
        (1401, Event::Failed),
        (2200, saw(place(2, 2), other())),
        (2300, saw(place(2, 2), None)),
        (2301, answered(true, true, Lease::of(b"vacant".to_vec()), 2300)),
        (2967, saw(place(2, 2), Some(Lease::of(b"vacant".to_vec())))),
        (2968, saw(place(2, 2), Some(Lease::of(b"vacant".to_vec())))),
    ]);
    expect_test::expect![[r#"
        0: watching for 0ns → wait 75ms
        700: watching for 0ns → wait 75ms
        1400: watching for 0ns → wait 75ms
        1401: blind → wait 75ms
        2200: watching for 0ns → wait 75ms
        2300: asking → plant me00000001
        2301: watching for 0ns → wait 75ms
        2967: watching for 666ms → wait 666.666µs
        2968: asking → take as me00000002 of 8 at least
    "#]]
    .assert_eq(&log);
}

#[test]
fn who_has_resigned_is_followed_at_once_and_an_own_lease_below_the_highest_term_is_not_used() {
    let log = play(&[
        (0, saw(place(1, 1), Some(lease("x", 7, 3, true)))),
        (1, Event::Failed),
        (80, saw(place(2, 1), Some(lease("me00000001", 8, 0, false)))),
        (81, answered(true, true, lease("me00000001", 8, 1, false), 80)),
        (231, answered(false, true, lease("x", 20, 0, false), 230)),
        (300, saw(place(2, 1), Some(lease("me00000001", 8, 1, false)))),
    ]);
    expect_test::expect![[r#"
        0: asking → take as me00000001 of 8 at least
        1: blind → wait 75ms
        80: holding for None → keep 8
        81: holding for Some(599ms) → wait 149ms
        231: blind → wait 75ms
        300: watching for 0ns → wait 75ms
    "#]]
    .assert_eq(&log);
}

/// What Redis forgot may have been another leader, who still leads.
#[test]
fn an_own_lease_that_was_over_in_another_life_of_the_data_is_watched_and_one_that_holds_goes_on() {
    let own = |beat| lease("me00000001", 8, beat, false);
    let held = [
        (0, saw(place(1, 1), Some(lease("x", 7, 3, true)))),
        (1, answered(true, true, own(0), 0)),
        (100, Event::Failed),
    ];
    let then = |later: &[(u32, Event)]| play(&[&held[..], later].concat());
    let in_time = then(&[(599, saw(place(2, 2), Some(own(0))))]);
    let late = then(&[(600, saw(place(2, 2), Some(own(0)))), (1267, saw(place(2, 2), Some(own(0))))]);
    let same_life = then(&[(900, saw(place(2, 1), Some(own(0))))]);
    let last = |log: &str| log.lines().skip(3).collect::<Vec<_>>().join("; ");
    assert_eq!(last(&in_time), "599: holding for Some(1ms) → keep 8");
    assert_eq!(
        last(&late),
        "600: watching for 0ns → wait 75ms; 1267: asking → take as me00000002 of 9 at least"
    );
    assert_eq!(last(&same_life), "900: holding for Some(0ns) → keep 8");
}

fn events() -> impl Strategy<Value = Vec<(u16, u8, bool)>> {
    proptest::collection::vec((0u16..400, 0u8..12, any::<bool>()), 1..60)
}

proptest! {
    /// Whatever a node says, and in whatever order.
    #[test]
    fn nobody_acts_longer_than_a_lease_after_what_was_confirmed_was_sent(events in events()) {
        let me = candidate("me", Profile::Fast.timing(), Rules::default());
        let (mut state, mut todo) = (State::default(), Action::Look);
        let (mut there, mut now) = (None::<Lease>, Boot::at(MS * 5_000));
        let mut confirmed = None;
        for (ms, kind, sure) in events {
            now = now + MS * u32::from(ms);
            let event = match (&todo, kind) {
                (_, 0) => Event::Failed,
                (_, 1) => {
                    there = Some(lease("x", u64::from(ms), u64::from(kind), sure));
                    Event::Failed
                }
                (_, 2) => {
                    there = None;
                    Event::Failed
                }
                (Action::Look, _) => saw(place(1, u64::from(kind == 3)), there.clone()),
                (Action::Wait(_) | Action::Leave(_) | Action::End, _) => Event::Due,
                (action, _) => {
                    let done = act(&mut there, action, &me, 0, SOUND);
                    let keeps = !matches!(action, Action::Resign(_) | Action::Plant { .. });
                    confirmed = (done && sure && keeps).then_some(now).or(confirmed);
                    answered_at(done, sure, there.clone(), now)
                }
            };
            let highest = state.highest;
            let (next, action) = me.step(state, event, now);
            prop_assert!(next.highest >= highest);
            if let Some((record, until)) = me.held(&next) {
                prop_assert!(record.nonce.starts_with("me") && !record.resigned);
                prop_assert_eq!(Some(until), confirmed.map(|sent| sent + me.timing.ttl));
            }
            if let Action::Take { least, .. } = &action {
                prop_assert!(*least > next.highest);
            }
            if let Action::Wait(until) | Action::Leave(until) = &action {
                prop_assert!(until.since(now) <= me.timing.ttl);
            }
            (state, todo) = (next, action);
        }
    }
}

fn answered_at(done: bool, confirmed: bool, lease: Option<Lease>, sent: Boot) -> Event {
    Event::Answered(Answer { done, confirmed, lease, sent, time_us: 0, heard: 0 })
}
