//! The product as it is.

use crate::faults::Family;
use crate::judge::judge;
use crate::run::run;

const RUNS: u64 = 56;
const LOSING: u64 = 12;

#[tokio::test(flavor = "multi_thread")]
async fn chaos_sessions_keep_every_promise_under_faults_that_lose_no_data() {
    judge(RUNS, |seed| Family::of(seed, &Family::LOSSLESS), run).await;
}

/// What the repair of sidecars that live promises.
#[tokio::test(flavor = "multi_thread")]
async fn chaos_sessions_come_back_after_a_loss_of_data() {
    judge(LOSING, |seed| Family::of(seed, &Family::LOSING), run).await;
}
