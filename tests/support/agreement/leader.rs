//! Elections and what was done by whom was elected.

use std::collections::HashMap;

use super::{Effect, History, Rule};

pub(super) fn check(history: &History, object: &mut impl FnMut(Rule, String)) {
    one_nonce(history, object);
    rising(history, object);
    fenced(history, object);
    if !history.settled {
        object(Rule::Leaderless, "no leader that all name, in the end".to_owned());
    }
    if history.exclusive {
        disjoint(history, object);
    }
}

fn one_nonce(history: &History, object: &mut impl FnMut(Rule, String)) {
    let wins = history.wins.iter().map(|win| (win.term, &win.nonce, &win.process));
    let claims = history.claims.iter().map(|claim| (claim.term, &claim.nonce, &claim.process));
    let mut nonces = HashMap::new();
    for (term, nonce, process) in wins.chain(claims) {
        let (first, by) = *nonces.entry(term).or_insert((nonce, process));
        if first != nonce {
            object(Rule::OneNonce, format!("term {term} is {by}'s by {first} and {process}'s by {nonce}"));
        }
    }
}

fn rising(history: &History, object: &mut impl FnMut(Rule, String)) {
    let mut by_end: Vec<_> = history.wins.iter().collect();
    by_end.sort_by_key(|win| win.ok);
    for (number, before) in by_end.iter().enumerate() {
        let later = by_end[number + 1..].iter().filter(|after| after.invoked > before.ok);
        for after in later.filter(|after| after.term <= before.term) {
            let (one, other) = (&before.process, &after.process);
            let (first, then) = (before.term, after.term);
            object(Rule::Rising, format!("{one} won {first} at {:?}, {other} {then} later", before.ok));
        }
    }
}

fn fenced(history: &History, object: &mut impl FnMut(Rule, String)) {
    for (listener, effects) in &history.effects {
        let mut highest = 0;
        for Effect { term, at } in effects {
            if *term < highest {
                object(Rule::Fenced, format!("{listener} heard of term {term} at {at:?}, after {highest}"));
            }
            highest = highest.max(*term);
        }
    }
}

fn disjoint(history: &History, object: &mut impl FnMut(Rule, String)) {
    let mut claims: Vec<_> = history.claims.iter().collect();
    claims.sort_by_key(|claim| claim.from);
    for (number, first) in claims.iter().enumerate() {
        let within = claims[number + 1..].iter().take_while(|then| then.from < first.until);
        for then in within.filter(|then| then.nonce != first.nonce) {
            let (one, other) = (&first.process, &then.process);
            object(
                Rule::Disjoint,
                format!("{one} leads until {:?}, and {other} from {:?} on", first.until, then.from),
            );
        }
    }
}
