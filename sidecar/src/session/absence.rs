//! A session that is not found is absent only if nothing can have been lost: whoever is told so logs somebody out.

use std::time::{Duration, Instant};

use super::condition::Condition;
use super::store::{Sought, Stored};
use super::{Error, SessionId, Sessions};
use crate::redis::Sighting;

/// Why nothing follows from a miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    /// The data is of another incarnation than a moment ago, or nobody knows of which.
    Record,
    /// It began so lately that sessions may be on their way back.
    Window,
    Evicting,
}

fn judge(sighting: Sighting, window: Duration) -> Result<(), Doubt> {
    match sighting {
        Sighting::Nothing => Err(Doubt::Record),
        Sighting::Record { evicting: true, .. } => Err(Doubt::Evicting),
        Sighting::Record { age_us, .. } if i128::from(age_us) <= window.as_micros().cast_signed() => {
            Err(Doubt::Window)
        }
        Sighting::Record { .. } => Ok(()),
    }
}

impl Doubt {
    /// A label of metrics.
    fn label(self) -> &'static str {
        match self {
            Doubt::Record => "record",
            Doubt::Window => "window",
            Doubt::Evicting => "evicting",
        }
    }
}

impl Sessions {
    /// What a miss turns out to be: a session after all, an absence that is proven, or nothing that anybody can say.
    pub(super) async fn found(&self, id: &SessionId, condition: &Condition) -> Result<Stored, Error> {
        match self.0.store.seek(id).await? {
            Sought::Found(stored) => Ok(stored),
            Sought::Deleted => Err(condition.absent()),
            Sought::Missing(sighting) => match judge(sighting, self.0.window) {
                Err(Doubt::Window) if !self.0.rules.unproven_in_window => Err(condition.absent()),
                Ok(()) => {
                    // Nobody may have said so: of what an earlier connection read, Redis tells nothing.
                    self.0.l1.went(id, Instant::now());
                    Err(condition.absent())
                }
                Err(doubt) => {
                    self.0.metrics.unproven(doubt.label());
                    Err(Error::Unproven { reason: doubt.label() })
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_old_record_of_a_redis_that_keeps_what_it_has_is_proof() {
        let window = Duration::from_secs(5);
        let record = |age_us, evicting| judge(Sighting::Record { age_us, evicting }, window);
        assert_eq!(record(5_000_001, false), Ok(()));
        for age_us in [5_000_000, 0, -1, i64::MIN] {
            assert_eq!(record(age_us, false), Err(Doubt::Window), "{age_us}");
        }
        assert_eq!(record(i64::MAX, true), Err(Doubt::Evicting));
        assert_eq!(judge(Sighting::Nothing, Duration::ZERO), Err(Doubt::Record));
    }
}
