//! Writers of one session in this process take turns. Each would otherwise defeat all the others at the
//! compare-and-set, and their work would grow with the square of their number. Other pods are met there still.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as Lock, OwnedMutexGuard};
use tokio::time::timeout;

use super::SessionId;

type Locks = HashMap<SessionId, Arc<Lock<()>>>;

/// An entry lives as long as somebody waits or writes.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<Locks>);

/// Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    _guard: OwnedMutexGuard<()>,
    _place: Place<'a>,
}

#[derive(Debug)]
struct Place<'a> {
    turns: &'a Turns,
    id: SessionId,
}

impl Turns {
    /// In the order of asking; `None` if it does not come `within`.
    pub(crate) async fn take(&self, id: &SessionId, within: Duration) -> Option<Turn<'_>> {
        let lock = Arc::clone(self.locks().entry(id.clone()).or_default());
        let place = Place { turns: self, id: id.clone() };
        let guard = timeout(within, lock.lock_owned()).await.ok()?;
        Some(Turn { _guard: guard, _place: place })
    }

    fn locks(&self) -> std::sync::MutexGuard<'_, Locks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    /// Runs after the guard and the waiting future have given their share back.
    fn drop(&mut self) {
        let mut locks = self.turns.locks();
        if locks.get(&self.id).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            locks.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn writers_of_one_session_wait_for_each_other_and_leave_nothing() {
        let turns = Turns::default();
        let (a, b) = (SessionId::parse("a").unwrap(), SessionId::parse("b").unwrap());
        let soon = Duration::from_millis(20);
        let first = turns.take(&a, soon).await.expect("nobody else writes");
        assert!(turns.take(&a, soon).await.is_none(), "the first has not ended");
        let other = turns.take(&b, soon).await.expect("another session");
        let second = turns.take(&a, Duration::from_secs(10));
        let (second, ()) = tokio::join!(second, async { drop(first) });
        assert!(second.is_some());
        assert_eq!(turns.locks().len(), 2);
        drop((second, other));
        assert_eq!(turns.locks().len(), 0);
    }

    #[tokio::test]
    async fn who_gives_up_waiting_leaves_nothing_either() {
        let turns = Turns::default();
        let id = SessionId::parse("a").unwrap();
        let first = turns.take(&id, Duration::from_secs(10)).await.expect("nobody else writes");
        let mut waiting = Box::pin(turns.take(&id, Duration::from_secs(10)));
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(first);
        drop(waiting);
        assert_eq!(turns.locks().len(), 0);
    }
}
