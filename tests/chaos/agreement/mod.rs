//! Histories of pods that elect and talk under faults, checked; and broken variants that the same checker catches.

mod app;
mod cache;
mod calls;
mod claims;
mod faults;
mod heard;
mod nemesis;
mod run;
mod totals;
mod world;

use tests::agreement::{Rule, check};

use crate::judge::{self, judge};
use faults::Family;
use run::run;

const RUNS: u64 = 48;

#[tokio::test(flavor = "multi_thread")]
async fn chaos_pods_agree_under_faults() {
    judge(RUNS, Family::of, run).await;
}

/// By one of `rules`, under the faults of `family`.
async fn caught(mutant: &'static str, family: Family, rules: &[Rule]) {
    judge::caught(mutant, family, 1, run, |rule| rules.contains(&rule)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_that_counts_terms_itself_is_caught() {
    caught("terms-counted", Family::KilledLeader, &[Rule::OneNonce]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_that_renews_without_its_nonce_is_caught() {
    caught("renews-any", Family::PausedLeader, &[Rule::OneNonce, Rule::Disjoint]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_that_delivers_what_it_hears_without_looking_for_gaps_is_caught() {
    caught("no-gap-check", Family::Cut, &[Rule::Gap]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_that_takes_another_life_of_the_data_for_the_same_is_caught() {
    caught("one-life", Family::Wiped, &[Rule::Lost]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_that_tells_what_no_replica_knows_is_caught() {
    caught("told-unconfirmed", Family::Parted, &[Rule::Lost]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_that_tells_twice_what_was_sent_twice_is_caught() {
    caught("twice", Family::Deaf, &[Rule::Twice]).await;
}

/// A leader looks whether it leads, and acts at once: no fault is as short as the time between. Here nobody looks, and
/// the fence alone is to hold.
#[tokio::test(flavor = "multi_thread")]
async fn mutant_without_a_fence_is_caught() {
    caught("no-fence validity-unchecked", Family::PausedLeader, &[Rule::Fenced]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_holds_where_nobody_looks_whether_he_leads() {
    let done = run(1, Family::PausedLeader, Some("validity-unchecked")).await;
    let found = check(&done.history);
    assert!(done.history.wins.len() > 1, "nobody took over");
    assert!(found.iter().all(|violation| violation.rule != Rule::Fenced), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_that_serves_while_it_is_cut_off_is_caught() {
    caught("no-self-fence", Family::Cut, &[Rule::Barrier]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_whose_lease_no_replica_knows_of_is_caught() {
    caught("lease-unconfirmed", Family::Parted, &[Rule::Barrier]).await;
}
