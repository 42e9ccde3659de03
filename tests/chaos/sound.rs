//! The product as it is.

use sidecar::session::Rules;
use tests::history::{Action, Event, Outcome, check};

use crate::run::run;

/// `SEED` from the environment, or these.
pub(crate) fn seeds(pinned: &[u64]) -> Vec<u64> {
    match std::env::var_os("SEED") {
        Some(seed) => vec![seed.to_str().and_then(|seed| seed.parse().ok()).expect("SEED is a number")],
        None => pinned.to_vec(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chaos_sessions_keep_every_promise_under_faults_that_lose_no_data() {
    for seed in seeds(&[1, 2, 3, 4, 5, 6]) {
        let history = run(seed, Rules::default()).await;
        let found = check(&history);
        assert!(found.is_empty(), "SEED={seed}: {} violations, the first: {:#?}", found.len(), found[0]);
        let (writes, doubts) = tally(&history);
        println!(
            "seed {seed}: {} calls, {writes} writes, {doubts} outcomes unknown or failed",
            history.len()
        );
        assert!(writes > 100 && doubts > 0, "SEED={seed}: {writes} writes and {doubts} faults prove nothing");
    }
}

/// How many writes were acknowledged, and how many met a fault.
fn tally(history: &[Event]) -> (usize, usize) {
    let write = |event: &&Event| matches!(event.action, Action::Write { .. });
    let acknowledged = |event: &&Event| matches!(event.outcome, Outcome::Ok { .. });
    let doubtful = |event: &&Event| matches!(event.outcome, Outcome::Unknown | Outcome::Fail);
    let writes = || history.iter().filter(write);
    (writes().filter(acknowledged).count(), writes().filter(doubtful).count())
}
