//! One rule of the product broken at a time: the checker that passes the product must catch each, and soon.

use tests::history::{Invariant, Rule, check};

use crate::faults::Family;
use crate::run::run;
use crate::sound::{say, seeds, tries};

/// Seen by `invariant` within five pinned seeds under the faults of `family`, or the checker is blind.
async fn caught(mutant: &'static str, family: Family, invariant: Invariant) {
    caught_by(mutant, family, 1, |rule| rule.invariant() == invariant).await;
}

/// By a rule that is `named` for it, with the seeds from `first` on.
async fn caught_by(mutant: &'static str, family: Family, first: u64, named: impl Fn(Rule) -> bool) {
    let seeds = seeds(first..=first + tries() - 1);
    for (number, seed) in seeds.iter().enumerate() {
        let history = run(*seed, family, Some(mutant)).await;
        let found = check(&history);
        let mut by: Vec<_> = found.iter().map(|violation| violation.rule).collect();
        by.sort_unstable();
        by.dedup();
        if by.iter().copied().any(&named) {
            say(&format!("mutant {mutant}: caught in run {} of {} by {by:?}", number + 1, seeds.len()));
            return;
        }
        history.save(&format!("{mutant}-{seed}"), &found);
    }
    panic!("{mutant} is not caught in {} runs, seeds {seeds:?}", seeds.len());
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
    caught_by("repair-by-version", Family::RolledBack, 1, |rule| rule == Rule::Cut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_that_counts_replicas_itself_is_caught() {
    // In these the master loses its replicas first, and knows it.
    caught_by("count-from-info", Family::FailedOver, 3, |rule| rule == Rule::ReplicatedCut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_that_waits_on_another_connection_is_caught() {
    // In these it believes that they are there.
    caught_by("wait-elsewhere", Family::FailedOver, 19, |rule| rule == Rule::ReplicatedCut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_that_replays_over_what_it_knew_is_caught() {
    caught("replay-over-what-was-known", Family::Away, Invariant::S1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_that_serves_what_it_read_before_a_flush_is_caught() {
    caught("no-null-flush", Family::Swapped, Invariant::S2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_that_does_not_notice_its_own_writes_is_caught() {
    caught("own-writes-unnoticed", Family::Half, Invariant::S2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_that_serves_copies_without_a_lease_is_caught() {
    caught("no-lease", Family::BlackHole, Invariant::S2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_that_writes_without_a_trailing_read_is_caught() {
    caught("no-trailing-read", Family::Watched, Invariant::S2).await;
}
