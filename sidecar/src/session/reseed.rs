//! Sessions that this process held when Redis lost its data: given back where nothing else is there.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::repair::SETTLED_US;
use super::store::{PutBack, Restore};
use super::{Error, SessionId, Sessions};

/// So long before the loss a session may have been known to be current last.
pub(super) const HELD: Duration = Duration::from_secs(1);

/// Which of the sessions in memory were certain to be current when their Redis was lost.
#[derive(Debug, Default)]
pub(crate) struct Seeds(Mutex<HashSet<SessionId>>);

impl Seeds {
    /// How many are new.
    pub(crate) fn keep(&self, ids: Vec<SessionId>) -> usize {
        let mut seeds = self.seeds();
        ids.into_iter().filter(|id| seeds.insert(id.clone())).count()
    }

    pub(crate) fn ids(&self) -> Vec<SessionId> {
        self.seeds().iter().cloned().collect()
    }

    fn has(&self, id: &SessionId) -> bool {
        self.seeds().contains(id)
    }

    fn remove(&self, id: &SessionId) -> bool {
        self.seeds().remove(id)
    }

    fn seeds(&self) -> MutexGuard<'_, HashSet<SessionId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sessions {
    /// Gives the session back, if it is one of them. An error leaves it for another time.
    pub(super) async fn reseeded(&self, id: &SessionId) -> Result<(), Error> {
        let away = &self.0.away;
        if !away.seeds.has(id) {
            return Ok(());
        }
        let Some(current) = self.incarnation(id) else { return Ok(()) };
        let given_back = match self.0.l1.stale(id, Instant::now()) {
            Some((stored, _)) => {
                let left = u64::try_from(stored.left_ms).map_or(self.0.store.life(), Duration::from_millis);
                let restore = Restore {
                    base: None,
                    text: &stored.text,
                    left,
                    ops: &[],
                    from_us: current.since_us + SETTLED_US,
                };
                !left.is_zero() && Box::pin(self.0.store.restore(id, &restore)).await? == PutBack::Done
            }
            // It has made place for others, or its life is over.
            None => false,
        };
        if away.seeds.remove(id) && given_back {
            away.metrics.reseeded.inc();
        }
        Ok(())
    }
}
