//! What Redis' clock shows now, from the times it reported. No clock of this machine is compared with it, only the
//! time that has passed here since.

use std::collections::VecDeque;
use std::time::Instant;

/// About a second of PINGs: as long does a step back of Redis' clock go unnoticed.
const SAMPLES: usize = 8;

/// Each sample says that Redis' clock was not before `redis_us` at `received`; the latest of what they say is the
/// closest, and never ahead of Redis.
#[derive(Debug, Default)]
pub(super) struct Clock {
    samples: VecDeque<Sample>,
    closest: Option<Sample>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    redis_us: i64,
    received: Instant,
}

impl Clock {
    pub(super) fn observe(&mut self, redis_us: i64, received: Instant) {
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample { redis_us, received });
        self.closest = self.samples.iter().copied().max_by_key(|sample| sample.at(received));
    }

    /// Another Redis, or another incarnation: its clock is not yet known.
    pub(super) fn forget(&mut self) {
        *self = Clock::default();
    }

    pub(super) fn now_us(&self, now: Instant) -> Option<i64> {
        self.closest.map(|sample| sample.at(now))
    }
}

impl Sample {
    fn at(self, now: Instant) -> i64 {
        let passed = now.saturating_duration_since(self.received).as_micros();
        self.redis_us.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MS: i64 = 1_000;

    #[test]
    fn slow_answers_do_not_disturb_and_it_is_never_ahead() {
        let start = Instant::now();
        let mut clock = Clock::default();
        assert_eq!(clock.now_us(start), None);
        for (sent_ms, took_ms) in [(0u64, 40u64), (100, 1), (200, 90)] {
            // Redis reads its clock at once and the answer takes its time.
            let truth = 5_000_000 + i64::try_from(sent_ms).unwrap() * MS;
            clock.observe(truth, start + Duration::from_millis(sent_ms + took_ms));
        }
        let now = clock.now_us(start + Duration::from_millis(300)).unwrap();
        assert_eq!(now, 5_300_000 - MS);
    }

    #[test]
    fn a_clock_stepped_back_is_followed_within_the_samples() {
        let start = Instant::now();
        let mut clock = Clock::default();
        clock.observe(9_000_000, start);
        for _ in 0..SAMPLES {
            clock.observe(1_000_000, start);
        }
        assert_eq!(clock.now_us(start), Some(1_000_000));
        clock.forget();
        assert_eq!(clock.now_us(start), None);
    }
}
