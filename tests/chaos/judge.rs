//! Histories of many runs, judged; and those of a broken variant, until it is caught.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Write;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// What a run leaves.
pub(crate) trait Judged: Send + 'static {
    type Violation: fmt::Display;
    type Rule: Copy + Ord + fmt::Debug;
    type Totals: Default + fmt::Display;

    fn check(&self) -> Vec<Self::Violation>;
    fn rule(violation: &Self::Violation) -> Self::Rule;
    /// What was done, in figures; an error where that is too little to prove anything.
    fn worth(&self) -> Result<String, String>;
    fn add_to(&self, totals: &mut Self::Totals);
    /// For whoever wants to see what happened; returns where that is.
    fn save(&self, name: &str, found: &[Self::Violation]) -> PathBuf;
}

/// Runs as many as are pinned, or fresh ones for as long as was asked, prints what they did, and fails with the first
/// violation of each.
pub(crate) async fn judge<Family, Done: Judged>(
    pinned: u64,
    family_of: impl Fn(u64) -> Family,
    run: impl AsyncFn(u64, Family, Option<&'static str>) -> Done + Copy + Send + 'static,
) where
    Family: Copy + fmt::Debug + Send + 'static,
{
    let (begun, mut next) = (Instant::now(), runs(pinned));
    let (mut totals, mut bad, mut running) = (Done::Totals::default(), Vec::new(), JoinSet::new());
    loop {
        while running.len() < 8 {
            let Some(seed) = next() else { break };
            let (family, on) = (family_of(seed), Handle::current());
            running.spawn_blocking(move || (seed, family, on.block_on(run(seed, family, None))));
        }
        let Some(done) = running.join_next().await else { break };
        let (seed, family, done) = done.unwrap();
        done.add_to(&mut totals);
        let (found, worth) = (done.check(), done.worth());
        say(&format!("SEED={seed} {family:?}: {worth:?}, {} violations", found.len()));
        if !found.is_empty() || worth.is_err() {
            let file = done.save(&format!("{seed}-{family:?}"), &found);
            let first = found.first().map_or_else(String::new, ToString::to_string);
            let again = format!("SEED={seed} FAMILY={family:?}");
            bad.push(format!("{again}: {worth:?}, {}: {first}", file.display()));
        }
    }
    say(&format!("{totals}in {:?}", begun.elapsed()));
    assert!(bad.is_empty(), "{} runs failed:\n{}", bad.len(), bad.join("\n"));
}

/// Seen by a rule that is `named` for it within ten pinned seeds from `first` on, or the checker is blind.
pub(crate) async fn caught<Family: Copy, Done: Judged>(
    mutant: &'static str,
    family: Family,
    first: u64,
    run: impl AsyncFn(u64, Family, Option<&'static str>) -> Done,
    named: impl Fn(Done::Rule) -> bool,
) {
    let seeds = seeds(first..=first + tries() - 1);
    for (number, seed) in seeds.iter().enumerate() {
        let done = run(*seed, family, Some(mutant)).await;
        let found = done.check();
        let by: BTreeSet<_> = found.iter().map(Done::rule).collect();
        if by.iter().copied().any(&named) {
            say(&format!("mutant {mutant}: caught in run {} of {} by {by:?}", number + 1, seeds.len()));
            return;
        }
        done.save(&format!("{mutant}-{seed}"), &found);
    }
    panic!("{mutant} is not caught in {} runs, seeds {seeds:?}", seeds.len());
}

pub(crate) fn percent(part: usize, whole: usize) -> String {
    format!("{:.1} %", 100.0 * part as f64 / whole.max(1) as f64)
}

/// Past the test harness, which shows what a test prints only if it fails.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

fn number(name: &str) -> Option<u64> {
    let value = std::env::var_os(name)?;
    let number = value.to_str().and_then(|value| value.parse().ok());
    Some(number.unwrap_or_else(|| panic!("{name} is a number, not {value:?}")))
}

/// As many as a mutant has to be caught in.
fn tries() -> u64 {
    if soak().is_some() { 50 } else { 10 }
}

/// `SEED` from the environment, or the pinned ones.
fn seeds(pinned: RangeInclusive<u64>) -> Vec<u64> {
    match number("SEED") {
        Some(seed) => vec![seed],
        None => pinned.collect(),
    }
}

/// How long `make soak` was asked to go on.
fn soak() -> Option<Duration> {
    number("DURATION").map(Duration::from_secs)
}

fn runs(pinned: u64) -> impl FnMut() -> Option<u64> {
    let (begun, soak) = (Instant::now(), soak());
    let mut pinned = seeds(1..=pinned).into_iter();
    let mut fresh = u64::from(std::process::id()) * 100_000..;
    move || match soak {
        Some(duration) => fresh.next().filter(|_| begun.elapsed() < duration),
        None => pinned.next(),
    }
}
