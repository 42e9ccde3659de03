//! Time inside this process, as leases need it: it goes on while the machine sleeps, and nobody can set it.

use std::ops::Add;
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

/// How long the machine was up at some moment. Worth nothing on another machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Boot(Duration);

/// `Instant` stands still while a laptop sleeps, and a lease would seem to hold when it wakes.
#[cfg(target_os = "linux")]
const CLOCK: ClockId = ClockId::Boottime;
/// Elsewhere the monotonic clock is what there is.
#[cfg(not(target_os = "linux"))]
const CLOCK: ClockId = ClockId::Monotonic;

impl Boot {
    pub fn now() -> Boot {
        let now = clock_gettime(CLOCK);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        Boot(Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default()))
    }

    pub const fn at(up: Duration) -> Boot {
        Boot(up)
    }

    /// For people, and for a checker on the same machine.
    pub fn micros(self) -> u64 {
        u64::try_from(self.0.as_micros()).unwrap_or(u64::MAX)
    }

    /// Nothing, if `earlier` is later.
    pub fn since(self, earlier: Boot) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Boot {
    type Output = Boot;

    fn add(self, duration: Duration) -> Boot {
        Boot(self.0.saturating_add(duration))
    }
}

/// Milliseconds of CLOCK_MONOTONIC, which every process of this machine can read.
pub fn monotonic_ms() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let (seconds, nanos) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    seconds.unwrap_or_default() * 1_000 + nanos.unwrap_or_default() / 1_000_000
}

/// What people and other machines call the time, in ms. It may be wrong, and nothing here depends on it.
#[expect(clippy::disallowed_methods, reason = "the one place that asks; every rule takes `now`")]
pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_and_never_back() {
        let mut last = Boot::now();
        assert!(last > Boot::default());
        for _ in 0..1_000 {
            let now = Boot::now();
            assert!(now >= last && last.since(now).is_zero());
            last = now;
        }
        assert_eq!((last + Duration::from_secs(1)).since(last), Duration::from_secs(1));
    }
}
