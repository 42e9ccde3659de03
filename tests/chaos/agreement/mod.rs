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

use std::collections::BTreeSet;
use std::time::Instant;

use tests::agreement::{Rule, check};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::sound::{runs, say, seeds, tries};
use faults::Family;
use run::run;
use totals::Totals;

const RUNS: u64 = 44;

#[tokio::test(flavor = "multi_thread")]
async fn chaos_pods_agree_under_faults() {
    let (begun, mut next) = (Instant::now(), runs(RUNS));
    let (mut totals, mut bad, mut running) = (Totals::default(), Vec::new(), JoinSet::new());
    loop {
        while running.len() < 8 {
            let Some(seed) = next() else { break };
            let (family, on) = (Family::of(seed), Handle::current());
            running.spawn_blocking(move || (seed, family, on.block_on(run(seed, family, None))));
        }
        let Some(done) = running.join_next().await else { break };
        let (seed, family, done) = done.unwrap();
        totals.add(&done);
        let (found, worth) = (check(&done.history), done.worth());
        say(&format!("SEED={seed} {family:?}: {worth:?}, {} violations", found.len()));
        if !found.is_empty() || worth.is_err() {
            let first = found.first().map_or_else(String::new, ToString::to_string);
            let file = done.history.save(&format!("{seed}-{family:?}"), &found);
            let again = format!("SEED={seed} FAMILY={family:?}");
            bad.push(format!("{again}: {worth:?}, {}: {first}", file.display()));
        }
    }
    say(&format!("{totals}in {:?}", begun.elapsed()));
    assert!(bad.is_empty(), "{} runs failed:\n{}", bad.len(), bad.join("\n"));
}

/// Seen by one of `rules` within five pinned seeds under the faults of `family`, or the checker is blind.
async fn caught(mutant: &'static str, family: Family, rules: &[Rule]) {
    let seeds = seeds(1..=tries());
    for (number, seed) in seeds.iter().enumerate() {
        let found = check(&run(*seed, family, Some(mutant)).await.history);
        let by: BTreeSet<_> = found.iter().map(|violation| violation.rule).collect();
        if rules.iter().any(|rule| by.contains(rule)) {
            say(&format!("mutant {mutant}: caught in run {} of {} by {by:?}", number + 1, seeds.len()));
            return;
        }
    }
    panic!("{mutant} is not caught in {} runs, seeds {seeds:?}", seeds.len());
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
