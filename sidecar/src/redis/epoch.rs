//! The time of one connection, as far as copies of Redis' data are concerned: until when what was read on it may be
//! served, because whatever had changed would have been heard of.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A PONG never overtakes an invalidation: what Redis executed before the PING was sent has been heard of.
const PING_LEASE: Duration = Duration::from_millis(300);
/// Where another master may have taken over, a write that replicas confirmed shows that none had when it was sent.
const MASTER_LEASE: Duration = Duration::from_secs(1);

/// Each connection has one; copies made on another are worth nothing.
#[derive(Debug)]
pub struct Epoch {
    start: Instant,
    ponged_us: AtomicU64,
    /// Only where there are replicas; 0 until they confirm something.
    confirmed_us: Option<AtomicU64>,
    /// Invalidations have been seen to arrive.
    proven: AtomicBool,
}

impl Epoch {
    pub(super) fn new(now: Instant, replicated: bool) -> Epoch {
        Epoch {
            start: now,
            ponged_us: AtomicU64::new(0),
            confirmed_us: replicated.then(|| AtomicU64::new(0)),
            proven: AtomicBool::new(false),
        }
    }

    #[cfg(test)]
    pub(crate) fn proven(now: Instant) -> Epoch {
        let epoch = Epoch::new(now, false);
        epoch.prove(true);
        epoch
    }

    /// Redis has answered a PING that was sent then.
    pub(super) fn ponged(&self, sent: Instant) {
        self.ponged_us.fetch_max(self.since(sent), Ordering::SeqCst);
    }

    /// Replicas have confirmed a write that was sent then.
    pub(super) fn confirmed(&self, sent: Instant) {
        if let Some(confirmed) = &self.confirmed_us {
            confirmed.fetch_max(self.since(sent).max(1), Ordering::SeqCst);
        }
    }

    pub(super) fn prove(&self, proven: bool) {
        self.proven.store(proven, Ordering::SeqCst);
    }

    pub(super) fn is_proven(&self) -> bool {
        self.proven.load(Ordering::SeqCst)
    }

    /// Whether a copy that was read on this connection may be served.
    pub fn holds(&self, now: Instant) -> bool {
        self.is_proven() && now < self.until()
    }

    fn until(&self) -> Instant {
        let ponged = self.start + micros(&self.ponged_us) + PING_LEASE;
        match &self.confirmed_us {
            Some(confirmed) if micros(confirmed).is_zero() => self.start,
            Some(confirmed) => ponged.min(self.start + micros(confirmed) + MASTER_LEASE),
            None => ponged,
        }
    }

    /// When all that was read on it was known to be current for the last time.
    pub fn known(&self) -> Instant {
        self.until() - self.bound()
    }

    /// How old a copy may be that is served.
    pub fn bound(&self) -> Duration {
        if self.confirmed_us.is_some() { MASTER_LEASE } else { PING_LEASE }
    }

    fn since(&self, when: Instant) -> u64 {
        u64::try_from(when.saturating_duration_since(self.start).as_micros()).unwrap_or(u64::MAX)
    }
}

fn micros(stored: &AtomicU64) -> Duration {
    Duration::from_micros(stored.load(Ordering::SeqCst))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_lease_ends_by_the_sending_of_the_last_ping_that_was_answered() {
        let start = Instant::now();
        let epoch = Epoch::new(start, false);
        assert!(!epoch.holds(start), "nothing is proven yet");
        epoch.prove(true);
        assert!(epoch.holds(start + 299 * MS) && !epoch.holds(start + 300 * MS));
        epoch.ponged(start + 200 * MS);
        // An answer to an earlier one that comes late takes nothing away.
        epoch.ponged(start + 100 * MS);
        assert!(epoch.holds(start + 499 * MS) && !epoch.holds(start + 500 * MS));
        assert_eq!((epoch.known(), epoch.bound()), (start + 200 * MS, 300 * MS));
        epoch.prove(false);
        assert!(!epoch.holds(start + 200 * MS));
    }

    #[test]
    fn with_replicas_a_confirmed_write_is_needed_too() {
        let start = Instant::now();
        let epoch = Epoch::new(start, true);
        epoch.prove(true);
        for tenth in 0..20 {
            epoch.ponged(start + tenth * 100 * MS);
        }
        assert!(!epoch.holds(start + 10 * MS), "nothing is confirmed yet");
        epoch.confirmed(start);
        assert!(epoch.holds(start + 999 * MS) && !epoch.holds(start + 1001 * MS));
        epoch.confirmed(start + 1000 * MS);
        assert!(epoch.holds(start + 1999 * MS) && !epoch.holds(start + 2200 * MS));
        assert_eq!(epoch.bound(), 1000 * MS);
    }
}
