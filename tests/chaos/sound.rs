//! The product as it is.

use std::io::Write;
use std::time::{Duration, Instant};

use tests::history::check;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::faults::Family;
use crate::run::run;
use crate::totals::{Totals, worth};

const RUNS: u64 = 56;
const LOSING: u64 = 12;

/// Past the test harness, which shows what a test prints only if it fails.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

fn number(name: &str) -> Option<u64> {
    let value = std::env::var_os(name)?;
    let number = value.to_str().and_then(|value| value.parse().ok());
    Some(number.unwrap_or_else(|| panic!("{name} is a number, not {value:?}")))
}

/// As many as a mutant has to be caught in.
pub(crate) fn tries() -> u64 {
    if soak().is_some() { 50 } else { 5 }
}

/// `SEED` from the environment, or the pinned ones.
pub(crate) fn seeds(pinned: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    match number("SEED") {
        Some(seed) => vec![seed],
        None => pinned.collect(),
    }
}

/// How long `make soak` was asked to go on.
pub(crate) fn soak() -> Option<Duration> {
    number("DURATION").map(Duration::from_secs)
}

#[tokio::test(flavor = "multi_thread")]
async fn chaos_sessions_keep_every_promise_under_faults_that_lose_no_data() {
    judge(RUNS, &Family::LOSSLESS).await;
}

/// What the repair of sidecars that live promises.
#[tokio::test(flavor = "multi_thread")]
async fn chaos_sessions_come_back_after_a_loss_of_data() {
    judge(LOSING, &Family::LOSING).await;
}

/// As many as are pinned, or fresh ones for as long as was asked.
pub(crate) fn runs(pinned: u64) -> impl FnMut() -> Option<u64> {
    let (begun, soak) = (Instant::now(), soak());
    let mut pinned = seeds(1..=pinned).into_iter();
    let mut fresh = u64::from(std::process::id()) * 100_000..;
    move || match soak {
        Some(duration) => fresh.next().filter(|_| begun.elapsed() < duration),
        None => pinned.next(),
    }
}

/// Runs all, prints what they did, and fails with the first violation of each.
async fn judge(pinned: u64, families: &[Family]) {
    let (begun, mut next) = (Instant::now(), runs(pinned));
    let (mut totals, mut bad, mut runs) = (Totals::default(), Vec::new(), JoinSet::new());
    loop {
        while runs.len() < 8 {
            let Some(seed) = next() else { break };
            let family = Family::of(seed, families);
            let on = Handle::current();
            runs.spawn_blocking(move || (seed, family, on.block_on(run(seed, family, None))));
        }
        let Some(done) = runs.join_next().await else { break };
        let (seed, family, history) = done.unwrap();
        totals.add(&history);
        let (found, worth) = (check(&history), worth(&history));
        say(&format!("SEED={seed} {family:?}: {worth:?}, {} violations", found.len()));
        if !found.is_empty() || worth.is_err() {
            let file = history.save(&format!("{seed}-{family:?}"), &found);
            let first = found.first().map_or_else(String::new, ToString::to_string);
            let again = format!("SEED={seed} FAMILY={family:?}");
            bad.push(format!("{again}: {worth:?}, {}: {first}", file.display()));
        }
    }
    say(&format!("{totals}in {:?}", begun.elapsed()));
    assert!(bad.is_empty(), "{} runs failed:\n{}", bad.len(), bad.join("\n"));
}
