//! Hears until the end.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use sidecar::clock::Boot;
use tokio::time::timeout;

use crate::by::{By, Ear, Heard};
use crate::wire::{Times, Usage};
use crate::words::END;

const FIRST: Duration = Duration::from_secs(60);
/// No end was heard: it is lost, too.
const SILENCE: Duration = Duration::from_secs(10);

struct Total {
    times: Times,
    skipped: u64,
    gaps: u64,
    first: Instant,
    last: Instant,
}

pub(crate) async fn hear(by: By, targets: &[String]) -> Result<()> {
    let ears = try_join_all(targets.iter().map(|target| Ear::open(by, target))).await?;
    println!("ready");
    let before = Usage::of(std::process::id())?;
    let mut totals = Vec::new();
    for total in ears.into_iter().map(|ear| tokio::spawn(listen(ear))).collect::<Vec<_>>() {
        totals.push(total.await??);
    }
    let after = Usage::of(std::process::id())?;
    ensure!(!totals.is_empty(), "nobody listens");
    let (mut times, mut skipped, mut gaps, mut seconds) = (Times::default(), 0, 0, 0.0_f64);
    for total in totals {
        skipped += total.skipped;
        gaps += total.gaps;
        seconds = seconds.max((total.last - total.first).as_secs_f64());
        times.0.extend(total.times.0);
    }
    let heard = times.0.len();
    println!(
        "heard={heard} skipped={skipped} gaps={gaps} rate={:.0} cpu={:.1} {}",
        heard as f64 / seconds.max(1e-3),
        (after.micros - before.micros) / (heard as f64).max(1.0),
        times.words(),
    );
    Ok(())
}

async fn listen(mut ear: Ear) -> Result<Total> {
    let now = Instant::now();
    let mut total = Total { times: Times::default(), skipped: 0, gaps: 0, first: now, last: now };
    let mut patience = FIRST;
    while let Ok(heard) = timeout(patience, ear.next()).await {
        match heard? {
            Heard::Message { sent_us: END, skipped } => {
                total.skipped += skipped;
                break;
            }
            Heard::Message { sent_us, skipped } => {
                if total.times.0.is_empty() {
                    (total.first, patience) = (Instant::now(), SILENCE);
                }
                total.last = Instant::now();
                total.skipped += skipped;
                total.times.took(Duration::from_micros(Boot::now().micros().saturating_sub(sent_us)));
            }
            Heard::Gap => total.gaps += 1,
            Heard::Other => {}
        }
    }
    Ok(total)
}
