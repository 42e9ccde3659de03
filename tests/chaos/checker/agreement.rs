//! A history that keeps every promise, and what each rule objects to.

use std::collections::BTreeMap;
use std::time::Duration;

use tests::agreement::{
    Barrier, Claim, Effect, History, Listener, Position, Published, Read, Rule, Told, What, Win, check,
};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn win(process: &str, term: u64, invoked: u64, ok: u64) -> Win {
    let (invoked, ok) = (ms(invoked), ms(ok));
    Win { process: process.to_owned(), term, nonce: format!("{process}{term}"), invoked, ok }
}

fn claim(process: &str, term: u64, from: u64, until: u64) -> Claim {
    let (from, until) = (ms(from), ms(until));
    Claim { process: process.to_owned(), term, nonce: format!("{process}{term}"), from, until }
}

fn at(seq: u64) -> Position {
    Position { n: 1, seq }
}

fn told(at: u64, what: What) -> Told {
    Told { at: ms(at), what }
}

fn message(seq: u64, at: u64) -> Told {
    told(at, What::Message { position: self::at(seq), id: format!("m{seq}") })
}

fn gap(from: u64, to: u64, at: u64) -> Told {
    told(at, What::Gap { from: self::at(from), to: self::at(to) })
}

fn resync(to: u64, at: u64) -> Told {
    told(at, What::Resync { to: Some(self::at(to)) })
}

fn listener(told: &[Told]) -> Listener {
    Listener { from: ms(0), until: ms(1000), told: told.to_vec() }
}

fn published(seq: u64, invoked: u64) -> Published {
    let (invoked, ok) = (ms(invoked), ms(invoked + 1));
    Published { id: format!("m{seq}"), position: at(seq), to: None, invoked, ok }
}

fn sound() -> History {
    History {
        wins: vec![win("a", 5, 10, 20), win("b", 7, 700, 710)],
        claims: vec![claim("a", 5, 10, 610), claim("a", 5, 160, 690), claim("b", 7, 700, 1300)],
        effects: BTreeMap::from([(
            "c".to_owned(),
            [5, 5, 7].map(|term| Effect { term, at: ms(term * 100) }).to_vec(),
        )]),
        published: vec![published(1, 10), published(2, 20), published(5, 50)],
        heard: BTreeMap::from([(
            "c".to_owned(),
            listener(&[message(1, 11), message(2, 21), gap(3, 4, 30), message(5, 51)]),
        )]),
        barriers: vec![Barrier { key: 1, version: 4, ok: ms(100) }],
        reads: vec![
            Read { process: "c".to_owned(), key: 1, version: 3, invoked: ms(99) },
            Read { process: "c".to_owned(), key: 1, version: 4, invoked: ms(101) },
            Read { process: "c".to_owned(), key: 2, version: 1, invoked: ms(101) },
        ],
        faults: Vec::new(),
        exclusive: true,
        settled: true,
    }
}

#[track_caller]
fn objects(history: &History, rule: Rule) {
    let found = check(history);
    assert!(!found.is_empty() && found.iter().all(|violation| violation.rule == rule), "{found:?}");
}

#[test]
fn what_keeps_every_promise_is_accepted() {
    let found = check(&sound());
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_term_of_two_elections_is_seen() {
    let mut history = sound();
    history.claims.push(Claim { nonce: "other".to_owned(), ..claim("c", 7, 1400, 1500) });
    objects(&history, Rule::OneNonce);
}

#[test]
fn a_later_election_with_a_lower_term_is_seen_and_two_at_once_are_not() {
    let mut history = sound();
    history.wins.push(win("c", 6, 720, 730));
    objects(&history, Rule::Rising);
    let mut history = sound();
    history.wins.push(win("c", 6, 705, 730));
    assert!(check(&history).is_empty());
}

#[test]
fn an_effect_under_a_term_that_is_over_is_seen() {
    let mut history = sound();
    history.effects.get_mut("c").unwrap().push(Effect { term: 5, at: ms(900) });
    objects(&history, Rule::Fenced);
}

#[test]
fn two_leaders_at_once_are_seen_where_that_is_promised() {
    let mut history = sound();
    history.claims.push(claim("a", 5, 690, 701));
    objects(&history, Rule::Disjoint);
    history.exclusive = false;
    assert!(check(&history).is_empty());
}

#[test]
fn the_want_of_a_leader_is_seen() {
    objects(&History { settled: false, ..sound() }, Rule::Leaderless);
}

fn heard(told: &[Told], published: &[Published]) -> History {
    let heard = BTreeMap::from([("c".to_owned(), listener(told))]);
    History { heard, published: published.to_vec(), ..sound() }
}

#[test]
fn messages_out_of_order_missing_or_twice_are_seen() {
    let with = |told: &[Told]| heard(told, &[]);
    let accepts = |told: &[Told]| assert!(check(&with(told)).is_empty(), "{:?}", check(&with(told)));
    let place = |seq, now| told(now, What::Place(at(seq)));
    objects(&with(&[message(2, 1), message(1, 2)]), Rule::Order);
    objects(&with(&[message(2, 1), gap(2, 3, 2)]), Rule::Order);
    objects(&with(&[message(1, 1), message(3, 2)]), Rule::Gap);
    objects(&with(&[message(1, 1), gap(3, 4, 2)]), Rule::Gap);
    objects(&with(&[message(1, 1), gap(2, 2, 2), message(4, 3)]), Rule::Gap);
    objects(&with(&[message(1, 1), resync(3, 2), message(5, 3)]), Rule::Gap);
    accepts(&[message(1, 1), gap(2, 2, 2), place(3, 2), message(4, 3)]);
    accepts(&[message(1, 1), resync(7, 2), message(8, 3)]);
    accepts(&[message(1, 1), told(2, What::Resync { to: None }), message(9, 3)]);
    let again = told(2, What::Message { position: at(2), id: "m1".to_owned() });
    objects(&with(&[message(1, 1), again.clone()]), Rule::Twice);
    accepts(&[message(1, 1), told(1, What::Began), again]);
    let elsewhere = What::Message { position: Position { n: 2, seq: 2 }, id: "x".to_owned() };
    objects(&with(&[message(1, 1), told(2, elsewhere)]), Rule::Gap);
}

#[test]
fn an_acknowledged_message_that_never_came_is_seen_unless_it_is_said_to_be_missing() {
    let with = |told: &[Told]| heard(told, &[published(2, 20)]);
    objects(&with(&[message(1, 11)]), Rule::Lost);
    objects(&with(&[message(1, 11), resync(1, 19)]), Rule::Lost);
    objects(&with(&[resync(1, 20)]), Rule::Lost);
    objects(&with(&[gap(1, 1, 30)]), Rule::Lost);
    for told in [gap(1, 2, 19), resync(2, 20), resync(1, 21)] {
        assert!(check(&with(&[told])).is_empty());
    }
    let mut late = with(&[]);
    late.heard.get_mut("c").unwrap().from = ms(21);
    assert!(check(&late).is_empty(), "it did not listen yet");
    for (to, expected) in [("c", 1), ("d", 0)] {
        let meant = Published { to: Some(to.to_owned()), ..published(2, 20) };
        assert_eq!(check(&heard(&[message(1, 11)], &[meant])).len(), expected, "it is for {to}");
    }
    // It had to be sent twice.
    let again = told(21, What::Message { position: at(1), id: "m2".to_owned() });
    assert!(check(&with(&[again])).is_empty());
}

#[test]
fn what_is_served_after_the_barrier_is_seen() {
    let mut history = sound();
    history.reads.push(Read { process: "d".to_owned(), key: 1, version: 3, invoked: ms(101) });
    objects(&history, Rule::Barrier);
}
