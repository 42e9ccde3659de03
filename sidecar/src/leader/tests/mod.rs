//! The decisions of an election: printed, held to laws, explored to the end, and played with clocks that are wrong.

mod drift;
mod model;
mod steps;
mod store;

use super::*;
use crate::redis::Incarnation;

/// A pod by its letter.
fn candidate(name: &str, timing: Timing, rules: Rules) -> Candidate {
    Candidate { id: format!("pod-{name}"), seed: name.to_owned(), timing, rules }
}

#[test]
fn terms_are_believed_that_redis_clock_may_have_given() {
    let leader = Leader::nobody(Rules::default());
    leader.seen(7);
    assert_eq!(leader.heard(), 0, "without a clock nothing is known");
    let (now_us, day_us) = (1_795_000_000_000_000, 24 * 60 * 60 * 1_000_000);
    *leader.clock() = Some((now_us, Boot::now()));
    for (term, heard) in
        [(now_us + 5, now_us + 5), (7, now_us + 5), (now_us + 2 * day_us, now_us + 5), (i64::MAX, now_us + 5)]
    {
        leader.seen(term.unsigned_abs());
        assert_eq!(leader.heard(), heard.unsigned_abs(), "{term}");
    }
}

#[test]
fn nobody_acts_when_the_lease_is_over_unless_that_rule_is_broken() {
    let now = Boot::now();
    let held = Held { term: 7, nonce: "0f".to_owned(), until: now };
    let leading = view::Leading { id: "pod-a".to_owned(), until: now };
    let over = View { term: 7, leader: Some(leading), held: Some(held.clone()) };
    let sound = Leader::nobody(Rules::default());
    sound.publish(over.clone());
    assert_eq!(sound.held(now), None);
    let broken = Leader::nobody(Rules { validity_checked: false, ..Rules::default() });
    broken.publish(over);
    assert_eq!(broken.held(now), Some(held));
}
