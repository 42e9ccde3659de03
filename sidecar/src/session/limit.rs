//! How many sessions one client address may make: a bucket of as many as a minute allows, refilled steadily.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;

use super::address::{client, network};
use super::rule::Origin;
use super::{Error, Sessions, body};

const MINUTE: Duration = Duration::from_secs(60);
/// Addresses in each half of the table. Beyond, the older half is forgotten, and those in it begin with a full bucket.
const ADDRESSES: usize = 8_192;

#[derive(Debug)]
pub(super) struct Creations {
    per_minute: u32,
    table: Mutex<Table>,
    /// That there are requests without an address.
    told: Once,
}

/// When the bucket of each address is full again, which is never later than a minute after it was last written: what
/// is as old as that need not be known.
#[derive(Debug)]
struct Table {
    recent: HashMap<IpAddr, Instant>,
    older: HashMap<IpAddr, Instant>,
    begun: Instant,
}

impl Sessions {
    /// Where a new session comes from, if one more may come from there.
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<Origin, Error> {
        let trusted_hops = self.0.guards.trusted_hops;
        if let Some(creations) = &self.0.creations {
            match client(headers, trusted_hops) {
                Some(address) => creations.take(address, Instant::now()).map_err(|wait| {
                    self.0.metrics.limited();
                    Error::TooManySessions { retry_after_s: wait.as_secs() + 1 }
                })?,
                None => creations.told.call_once(|| {
                    tracing::warn!(
                        "a session was asked for without the X-Forwarded-For of {trusted_hops} trusted proxies: \
                         such are not limited; let the app pass the header on"
                    );
                }),
            }
        }
        Ok(body::origin(headers, trusted_hops))
    }
}

impl Creations {
    pub(super) fn new(per_minute: u32, now: Instant) -> Creations {
        let table = Table { recent: HashMap::new(), older: HashMap::new(), begun: now };
        Creations { per_minute, table: Mutex::new(table), told: Once::new() }
    }

    /// Who has a network of IPv6 addresses has one bucket. An error says how long to wait.
    pub(super) fn take(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let address = network(address, 32, 64);
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.age(now);
        let full = table.recent.get(&address).or_else(|| table.older.get(&address)).copied();
        let full = take(full, self.per_minute, now)?;
        table.recent.insert(address, full);
        Ok(())
    }
}

impl Table {
    fn age(&mut self, now: Instant) {
        if now.saturating_duration_since(self.begun) >= MINUTE || self.recent.len() >= ADDRESSES {
            self.older = std::mem::take(&mut self.recent);
            self.begun = now;
        }
    }
}

/// When the bucket will be full again after one more is taken from it.
pub(crate) fn take(full: Option<Instant>, per_minute: u32, now: Instant) -> Result<Instant, Duration> {
    let refill = MINUTE / per_minute;
    let after = full.unwrap_or(now).max(now) + refill;
    let wait = after.saturating_duration_since(now + refill * per_minute);
    if wait.is_zero() { Ok(after) } else { Err(wait) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn an_address_has_a_minutes_worth_at_once_and_then_its_steady_share() {
        let start = Instant::now();
        let creations = Creations::new(6, start);
        for _ in 0..6 {
            assert_eq!(creations.take(address(1), start), Ok(()));
        }
        assert_eq!(creations.take(address(1), start), Err(Duration::from_secs(10)));
        // Refused ones cost nothing.
        assert_eq!(creations.take(address(1), start + Duration::from_secs(4)), Err(Duration::from_secs(6)));
        assert_eq!(creations.take(address(2), start), Ok(()), "another address");
        let later = start + Duration::from_secs(20);
        assert_eq!(creations.take(address(1), later), Ok(()));
        assert_eq!(creations.take(address(1), later), Ok(()));
        assert!(creations.take(address(1), later).is_err());
    }

    #[test]
    fn one_network_of_ipv6_is_one_client() {
        let now = Instant::now();
        let creations = Creations::new(1, now);
        assert_eq!(creations.take("2001:db8::1".parse().unwrap(), now), Ok(()));
        assert!(creations.take("2001:db8::ffff:2".parse().unwrap(), now).is_err());
        assert_eq!(creations.take("2001:db8:0:1::1".parse().unwrap(), now), Ok(()));
    }

    #[test]
    fn growing_older_forgets_only_full_buckets_and_the_table_is_bounded() {
        let start = Instant::now();
        let creations = Creations::new(1, start);
        let late = start + Duration::from_secs(59);
        assert_eq!(creations.take(address(0), late), Ok(()));
        assert_eq!(creations.take(address(1), start + MINUTE), Ok(()));
        assert!(creations.take(address(0), start + MINUTE).is_err(), "it has grown older, and is known");
        assert_eq!(creations.take(address(0), late + MINUTE), Ok(()));
        for number in 0..100_000 {
            let _ = creations.take(address(number), late);
        }
        let table = creations.table.lock().unwrap();
        assert!(table.recent.len() + table.older.len() <= 2 * ADDRESSES);
    }
}
