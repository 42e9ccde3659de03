//! One rule of the product broken at a time: the checker that passes the product must catch each, and soon.

use tests::history::{Invariant, check};

use crate::faults::Family;
use crate::run::run;
use crate::sound::{say, seeds, soak};

/// Seen by `invariant` within five pinned seeds under the faults of `family`, or the checker is blind.
async fn caught(mutant: &'static str, family: Family, invariant: Invariant) {
    let seeds = if soak().is_some() { seeds(1..=50) } else { seeds(1..=5) };
    for (number, seed) in seeds.iter().enumerate() {
        let history = run(*seed, family, Some(mutant)).await;
        let found = check(&history);
        let mut by: Vec<_> = found.iter().map(|violation| violation.rule).collect();
        by.sort_unstable();
        by.dedup();
        if by.iter().any(|rule| rule.invariant() == invariant) {
            say(&format!("mutant {mutant}: caught in run {} of {} by {by:?}", number + 1, seeds.len()));
            return;
        }
        history.save(&format!("{mutant}-{seed}"), &found);
    }
    panic!("{mutant} is not caught by {invariant:?} in {} runs, seeds {seeds:?}", seeds.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_without_compare_and_set_is_caught() {
    caught("no-compare-and-set", Family::Cut, Invariant::S1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_that_creates_on_update_is_caught() {
    caught("create-on-update", Family::Expiry, Invariant::S5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_without_a_tombstone_is_caught() {
    caught("no-tombstone", Family::Cut, Invariant::S5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_that_makes_what_it_touches_is_caught() {
    caught("touch-creates", Family::Expiry, Invariant::S5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_that_writes_without_a_deadline_is_caught() {
    caught("no-deadline", Family::Stall, Invariant::S1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_that_says_401_on_an_error_is_caught() {
    caught("absent-on-error", Family::BlackHole, Invariant::S2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_that_says_401_within_the_repair_window_is_caught() {
    caught("absent-in-window", Family::Flushed, Invariant::S2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_that_replays_twice_is_caught() {
    caught("replay-twice", Family::Away, Invariant::S4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_that_journals_conditional_writes_is_caught() {
    caught("journal-if-match", Family::Away, Invariant::S1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_that_repairs_by_version_is_caught() {
    caught("repair-by-version", Family::RolledBack, Invariant::S6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_that_counts_replicas_itself_is_caught() {
    caught("count-from-info", Family::FailedOver, Invariant::S6).await;
}
