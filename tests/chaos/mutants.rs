//! One rule of the product broken at a time: the checker that passes the product must catch each, and soon.

use tests::history::{Invariant, Rule};

use crate::faults::Family;
use crate::judge;
use crate::run::run;

/// By `invariant`, under the faults of `family`.
async fn caught(mutant: &'static str, family: Family, invariant: Invariant) {
    judge::caught(mutant, family, 1, run, |rule: Rule| rule.invariant() == invariant).await;
}

/// By `rule`, with the seeds from `first` on.
async fn caught_by(mutant: &'static str, family: Family, first: u64, rule: Rule) {
    judge::caught(mutant, family, first, run, |by| by == rule).await;
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
    caught_by("repair-by-version", Family::RolledBack, 1, Rule::Cut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_that_counts_replicas_itself_is_caught() {
    // In these the master loses its replicas first, and knows it.
    caught_by("count-from-info", Family::FailedOver, 3, Rule::ReplicatedCut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_that_waits_on_another_connection_is_caught() {
    // In these it believes that they are there.
    caught_by("wait-elsewhere", Family::FailedOver, 19, Rule::ReplicatedCut).await;
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
