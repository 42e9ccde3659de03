//! How many messages an app may send per minute, by their priority.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::message::Priority;
use crate::coordination::Error;
use crate::session::limit::take;

/// A bucket of as many as a minute allows, refilled steadily.
#[derive(Debug)]
struct Bucket {
    per_minute: u32,
    full: Mutex<Option<Instant>>,
}

/// Those of low priority have none of their own.
#[derive(Debug)]
pub(super) struct Budget {
    high: Bucket,
    normal: Bucket,
}

impl Budget {
    pub(super) fn new(high: u32, normal: u32) -> Budget {
        let bucket = |per_minute| Bucket { per_minute, full: Mutex::default() };
        Budget { high: bucket(high), normal: bucket(normal) }
    }

    pub(super) fn take(&self, priority: Priority, now: Instant) -> Result<(), Error> {
        match priority {
            Priority::Low => Ok(()),
            Priority::Normal => self.normal.take(now),
            Priority::High => self.high.take(now),
        }
    }
}

impl Bucket {
    /// Without a number there is no limit.
    fn take(&self, now: Instant) -> Result<(), Error> {
        if self.per_minute == 0 {
            return Ok(());
        }
        let mut full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = |wait: std::time::Duration| Error::TooManyMessages { retry_after_s: wait.as_secs() + 1 };
        *full = Some(take(*full, self.per_minute, now).map_err(wait)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_priority_has_its_own_minute_and_low_has_none() {
        let (budget, now) = (Budget::new(2, 0), Instant::now());
        for _ in 0..100 {
            assert_eq!(budget.take(Priority::Low, now), Ok(()));
            assert_eq!(budget.take(Priority::Normal, now), Ok(()));
        }
        assert_eq!(budget.take(Priority::High, now), Ok(()));
        assert_eq!(budget.take(Priority::High, now), Ok(()));
        let late = Err(Error::TooManyMessages { retry_after_s: 31 });
        assert_eq!(budget.take(Priority::High, now), late);
        assert_eq!(budget.take(Priority::High, now + Duration::from_secs(30)), Ok(()));
    }
}
