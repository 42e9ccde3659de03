//! Time as this process has lived it. While the machine stands still nothing that is tested goes on either, so no
//! deadline comes nearer. A machine that is merely slow gains nothing: up to [`LATE`] everything counts.

use std::future::Future;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use std::{panic, thread};

const TICK: Duration = Duration::from_millis(20);
/// A thread that has slept for so long instead of a [`TICK`] was kept from running, with all others.
const LATE: Duration = Duration::from_millis(500);
/// Which failure may be that of a standstill: what was under way then has long ended.
const AFTER: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug)]
struct Clock {
    looked: Instant,
    lived: Duration,
    /// When the last standstill had ended, and how long it was.
    stood: Option<(Instant, Duration)>,
}

impl Clock {
    fn at(self, now: Instant) -> Duration {
        self.lived + now.saturating_duration_since(self.looked).min(LATE)
    }

    fn look(self, now: Instant) -> Self {
        let slept = now.saturating_duration_since(self.looked);
        let stood = if slept > LATE { Some((now, slept)) } else { self.stood };
        Self { looked: now, lived: self.at(now), stood }
    }
}

#[derive(Debug, PartialEq)]
pub struct Over;

/// In the place of an `Instant`, where a test would fail because it took long.
#[derive(Clone, Copy, Debug)]
pub struct Lived(Duration);

impl Lived {
    pub fn now() -> Self {
        Self(looked().at(Instant::now()))
    }

    pub fn elapsed(self) -> Duration {
        Self::now().0.saturating_sub(self.0)
    }
}

/// As tokio's, by this clock.
pub async fn timeout<F: Future>(within: Duration, future: F) -> Result<F::Output, Over> {
    let start = Lived::now();
    let mut future = std::pin::pin!(future);
    loop {
        let left = within.saturating_sub(start.elapsed());
        match tokio::time::timeout(left.max(TICK.min(within)), &mut future).await {
            Ok(ended) => return Ok(ended),
            Err(_) if start.elapsed() >= within => return Err(Over),
            Err(_) => {}
        }
    }
}

fn looked() -> Clock {
    *clock().lock().unwrap_or_else(PoisonError::into_inner)
}

fn clock() -> &'static Mutex<Clock> {
    static CLOCK: OnceLock<Mutex<Clock>> = OnceLock::new();
    CLOCK.get_or_init(|| {
        thread::spawn(|| {
            loop {
                thread::park_timeout(TICK);
                let mut clock = clock().lock().unwrap_or_else(PoisonError::into_inner);
                *clock = clock.look(Instant::now());
            }
        });
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            usual(info);
            blame();
        }));
        Mutex::new(Clock { looked: Instant::now(), lived: Duration::ZERO, stood: None })
    })
}

/// What is tested has deadlines of its own, which no clock of ours can move: `tests/test.sh` reads this line, and
/// runs that test once more.
fn blame() {
    let Some((ended, stood)) = looked().look(Instant::now()).stood else { return };
    if ended.elapsed() < AFTER {
        let test = thread::current().name().unwrap_or_default().to_owned();
        eprintln!("standstill: {test} failed soon after the machine had stood still for {stood:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standstill_counts_for_little_and_slowness_in_full() {
        let start = Instant::now();
        let clock = Clock { looked: start, lived: Duration::from_secs(7), stood: None };
        let after = |ms| clock.look(start + Duration::from_millis(ms));
        assert_eq!((after(499).lived - clock.lived, after(499).stood), (Duration::from_millis(499), None));
        let late = after(14_000);
        assert_eq!(late.lived - clock.lived, LATE);
        assert_eq!(late.stood, Some((late.looked, Duration::from_secs(14))));
    }

    #[tokio::test]
    async fn a_deadline_ends_what_hangs() {
        let start = Instant::now();
        timeout(Duration::from_millis(100), std::future::pending::<()>()).await.unwrap_err();
        assert!(start.elapsed() >= Duration::from_millis(100));
        assert_eq!(timeout(Duration::ZERO, async { 1 }).await.unwrap(), 1);
    }
}
