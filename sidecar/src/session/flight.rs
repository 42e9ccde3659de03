//! Who reads a session that is being read waits for that read. Whoever began it may leave: then one of those who wait
//! reads instead.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::SessionId;

/// A read that has taken so long already is not joined: its value may be as old.
const JOINED: Duration = Duration::from_millis(250);

/// Reads under way.
#[derive(Debug)]
pub(crate) struct Air<T>(Mutex<HashMap<SessionId, Arc<Flight<T>>>>);

#[derive(Debug)]
struct Flight<T> {
    begun: Instant,
    value: OnceLock<T>,
    /// Without a place; closed when it is over.
    over: Semaphore,
}

enum Seat<'a, T> {
    Leads(Landing<'a, T>),
    Joins(Arc<Flight<T>>, Duration),
}

/// Takes the read from the list and wakes whoever waits, however it ends.
struct Landing<'a, T> {
    air: &'a Air<T>,
    id: &'a SessionId,
    flight: Arc<Flight<T>>,
}

impl<T> Default for Air<T> {
    fn default() -> Air<T> {
        Air(Mutex::default())
    }
}

impl<T: Clone> Air<T> {
    /// What the read gives, and how long before now it was begun.
    pub(crate) async fn share<F>(
        &self,
        id: &SessionId,
        now: Instant,
        read: impl FnOnce() -> F,
    ) -> (T, Duration)
    where
        F: Future<Output = T>,
    {
        loop {
            match self.board(id, now) {
                Seat::Leads(landing) => {
                    let value = read().await;
                    let _first = landing.flight.value.set(value.clone());
                    return (value, Duration::ZERO);
                }
                Seat::Joins(flight, age) => {
                    let _closed = flight.over.acquire().await;
                    if let Some(value) = flight.value.get() {
                        return (value.clone(), age);
                    }
                }
            }
        }
    }

    fn board<'a>(&'a self, id: &'a SessionId, now: Instant) -> Seat<'a, T> {
        let mut flights = self.flights();
        if let Some(flight) = flights.get(id) {
            let age = now.saturating_duration_since(flight.begun);
            if age < JOINED {
                return Seat::Joins(flight.clone(), age);
            }
        }
        let flight = Arc::new(Flight { begun: now, value: OnceLock::new(), over: Semaphore::new(0) });
        flights.insert(id.clone(), flight.clone());
        Seat::Leads(Landing { air: self, id, flight })
    }
}

impl<T> Air<T> {
    /// Nobody joins what was begun before.
    pub(crate) fn close(&self, id: &SessionId) {
        self.flights().remove(id);
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Flight<T>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for Landing<'_, T> {
    fn drop(&mut self) {
        let mut flights = self.air.flights();
        if flights.get(self.id).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight)) {
            flights.remove(self.id);
        }
        drop(flights);
        self.flight.over.close();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn all_who_ask_while_it_is_read_share_one_read_and_a_leader_that_leaves_strands_nobody() {
        let air = Air::<usize>::default();
        let (reads, gate) = (AtomicUsize::new(0), Semaphore::new(0));
        let id = SessionId::parse("a").unwrap();
        let read = || async {
            let number = reads.fetch_add(1, Ordering::SeqCst);
            let _passed = gate.acquire().await;
            number
        };
        let now = Instant::now();
        let mut leader = Box::pin(air.share(&id, now, read));
        assert!(futures::poll!(&mut leader).is_pending());
        let later = now + Duration::from_millis(100);
        let mut followers: Vec<_> = (0..9).map(|_| Box::pin(air.share(&id, later, read))).collect();
        for follower in &mut followers {
            assert!(futures::poll!(follower).is_pending());
        }
        drop(leader);
        for follower in &mut followers {
            assert!(futures::poll!(follower).is_pending());
        }
        gate.add_permits(1);
        for (number, (read, age)) in futures::future::join_all(followers).await.into_iter().enumerate() {
            assert_eq!((read, age), (1, Duration::ZERO), "{number}");
        }
        assert_eq!(reads.load(Ordering::SeqCst), 2);
        assert!(air.flights().is_empty());
    }

    #[tokio::test]
    async fn what_is_joined_is_as_old_as_it_was_when_it_was_joined() {
        let air = Air::<()>::default();
        let (id, gate) = (SessionId::parse("a").unwrap(), Semaphore::new(0));
        let read = || async { drop(gate.acquire().await) };
        let now = Instant::now();
        let mut leader = Box::pin(air.share(&id, now, read));
        assert!(futures::poll!(&mut leader).is_pending());
        let later = now + Duration::from_millis(100);
        let mut follower = Box::pin(air.share(&id, later, read));
        assert!(futures::poll!(&mut follower).is_pending());
        gate.add_permits(1);
        assert_eq!((leader.await, follower.await), (((), Duration::ZERO), ((), later - now)));
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
        assert!(air.flights().is_empty());
    }
}
