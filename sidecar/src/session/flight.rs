//! Who reads a session that is being read takes part in that read. Whoever began it may leave: the others go on with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};

use super::SessionId;

/// A read that has taken so long already is not joined: its value may be as old.
const JOINED: Duration = Duration::from_millis(250);

type Flights<T> = HashMap<SessionId, Flight<T>>;

/// Reads under way. One lives as long as somebody waits for it.
#[derive(Debug)]
pub(crate) struct Air<T: Clone>(Arc<Mutex<Flights<T>>>);

#[derive(Debug)]
struct Flight<T: Clone> {
    begun: Instant,
    number: Arc<()>,
    read: WeakShared<BoxFuture<'static, T>>,
}

/// Takes the read from the list, however it ends.
struct Landing<T: Clone> {
    flights: Arc<Mutex<Flights<T>>>,
    id: SessionId,
    number: Arc<()>,
}

impl<T: Clone> Default for Air<T> {
    fn default() -> Air<T> {
        Air(Arc::default())
    }
}

impl<T: Clone + Send + Sync + 'static> Air<T> {
    /// What the read gives, and how long before now it was begun.
    pub(crate) async fn share<F>(
        &self,
        id: &SessionId,
        now: Instant,
        read: impl FnOnce() -> F,
    ) -> (T, Duration)
    where
        F: Future<Output = T> + Send + 'static,
    {
        let (read, age) = self.board(id, now, read);
        (read.await, age)
    }

    fn board<F>(
        &self,
        id: &SessionId,
        now: Instant,
        read: impl FnOnce() -> F,
    ) -> (Shared<BoxFuture<'static, T>>, Duration)
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut flights = lock(&self.0);
        if let Some(flight) = flights.get(id) {
            let age = now.saturating_duration_since(flight.begun);
            if let Some(read) = flight.read.upgrade().filter(|_| age < JOINED) {
                return (read, age);
            }
        }
        let number = Arc::new(());
        let landing = Landing { flights: self.0.clone(), id: id.clone(), number: number.clone() };
        let read = read();
        let read = async move {
            let _landing = landing;
            read.await
        };
        let read = read.boxed().shared();
        let weak = read.downgrade().expect("it has not been polled yet");
        let before = flights.insert(id.clone(), Flight { begun: now, number, read: weak });
        drop(flights);
        // Not under the lock: its landing wants it.
        drop(before);
        (read, Duration::ZERO)
    }

    /// Nobody joins what was begun before.
    pub(crate) fn close(&self, id: &SessionId) {
        let flight = lock(&self.0).remove(id);
        drop(flight);
    }
}

fn lock<T: Clone>(flights: &Mutex<Flights<T>>) -> MutexGuard<'_, Flights<T>> {
    flights.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Clone> Drop for Landing<T> {
    fn drop(&mut self) {
        let mut flights = lock(&self.flights);
        if flights.get(&self.id).is_some_and(|flight| Arc::ptr_eq(&flight.number, &self.number)) {
            flights.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn all_who_ask_while_it_is_read_share_one_read_and_a_leader_that_leaves_strands_nobody() {
        let air = Air::<usize>::default();
        let (reads, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let id = SessionId::parse("a").unwrap();
        let read = || {
            let (reads, gate) = (reads.clone(), gate.clone());
            move || async move {
                let number = reads.fetch_add(1, Ordering::SeqCst);
                let _passed = gate.acquire().await;
                number
            }
        };
        let now = Instant::now();
        let mut leader = Box::pin(air.share(&id, now, read()));
        assert!(futures::poll!(&mut leader).is_pending());
        let later = now + Duration::from_millis(100);
        let mut followers: Vec<_> = (0..9).map(|_| Box::pin(air.share(&id, later, read()))).collect();
        for follower in &mut followers {
            assert!(futures::poll!(follower).is_pending());
        }
        drop(leader);
        gate.add_permits(1);
        for follower in followers {
            assert_eq!(follower.await, (0, Duration::from_millis(100)));
        }
        assert_eq!(reads.load(Ordering::SeqCst), 1);
        assert!(lock(&air.0).is_empty());
    }

    #[tokio::test]
    async fn what_is_too_old_or_closed_is_not_joined_and_nothing_is_left_of_what_nobody_waits_for() {
        let air = Air::<()>::default();
        let id = SessionId::parse("a").unwrap();
        let now = Instant::now();
        let mut first = Box::pin(air.share(&id, now, std::future::pending));
        assert!(futures::poll!(&mut first).is_pending());
        let ready = || std::future::ready(());
        assert_eq!(air.share(&id, now + JOINED, ready).await, ((), Duration::ZERO));
        let mut second = Box::pin(air.share(&id, now, std::future::pending));
        assert!(futures::poll!(&mut second).is_pending());
        air.close(&id);
        assert_eq!(air.share(&id, now, ready).await, ((), Duration::ZERO));
        let mut third = Box::pin(air.share(&id, now, std::future::pending));
        assert!(futures::poll!(&mut third).is_pending());
        drop((first, second, third));
        assert!(lock(&air.0).is_empty());
    }
}
