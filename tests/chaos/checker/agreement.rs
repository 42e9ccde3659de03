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

fn message(seq: u64, at: u64) -> Told {
    let position = Position { n: 1, seq };
    Told { at: ms(at), what: What::Message { position, id: format!("m{seq}") } }
}

fn missed(at: u64) -> Told {
    Told { at: ms(at), what: What::Missed }
}

fn listener(told: &[Told]) -> Listener {
    Listener { from: ms(0), until: ms(1000), told: told.to_vec() }
}

fn published(seq: u64, invoked: u64) -> Published {
    Published { position: Position { n: 1, seq }, invoked: ms(invoked), ok: ms(invoked + 1) }
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
            listener(&[message(1, 11), message(2, 21), missed(30), message(5, 51)]),
        )]),
        barriers: vec![Barrier { key: 1, version: 4, ok: ms(100) }],
        reads: vec![
            Read { process: "c".to_owned(), key: 1, version: 3, invoked: ms(99) },
            Read { process: "c".to_owned(), key: 1, version: 4, invoked: ms(101) },
            Read { process: "c".to_owned(), key: 2, version: 1, invoked: ms(101) },
        ],
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

#[test]
fn messages_out_of_order_missing_or_twice_are_seen() {
    let with = |told: &[Told]| {
        let heard = BTreeMap::from([("c".to_owned(), listener(told))]);
        History { heard, published: Vec::new(), ..sound() }
    };
    objects(&with(&[message(2, 1), message(1, 2)]), Rule::Order);
    objects(&with(&[message(1, 1), message(3, 2)]), Rule::Gap);
    assert!(check(&with(&[message(1, 1), missed(2), message(3, 2)])).is_empty());
    let again =
        Told { what: What::Message { position: Position { n: 1, seq: 2 }, id: "m1".to_owned() }, at: ms(2) };
    objects(&with(&[message(1, 1), again]), Rule::Twice);
    let elsewhere =
        Told { what: What::Message { position: Position { n: 2, seq: 2 }, id: "x".to_owned() }, at: ms(2) };
    objects(&with(&[message(1, 1), elsewhere]), Rule::Gap);
}

#[test]
fn an_acknowledged_message_that_never_came_is_seen_unless_it_is_said_to_be_missing() {
    let with = |told: &[Told]| {
        let heard = BTreeMap::from([("c".to_owned(), listener(told))]);
        History { heard, published: vec![published(2, 20)], ..sound() }
    };
    objects(&with(&[message(1, 11)]), Rule::Lost);
    objects(&with(&[message(1, 11), missed(19)]), Rule::Lost);
    assert!(check(&with(&[message(1, 11), missed(20)])).is_empty());
    let mut late = with(&[]);
    late.heard.get_mut("c").unwrap().from = ms(21);
    assert!(check(&late).is_empty(), "it did not listen yet");
}

#[test]
fn what_is_served_after_the_barrier_is_seen() {
    let mut history = sound();
    history.reads.push(Read { process: "d".to_owned(), key: 1, version: 3, invoked: ms(101) });
    objects(&history, Rule::Barrier);
}
