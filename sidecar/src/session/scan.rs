//! All keys of all nodes, slowly: most of Redis is for the others.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use super::Error;
use crate::redis::{Node, Redis};

const STEP: usize = 500;
/// What follows a step lasts so many times as long as the step: a fifth of the time is ours.
const REST: u32 = 4;
const SHORTEST: Duration = Duration::from_millis(2);
const LONGEST: Duration = Duration::from_secs(1);
/// So many sessions are told apart while Redis moves its keys about; 8 bytes each.
const APART: usize = 262_144;

#[derive(Debug)]
pub(super) struct Scan {
    rest: std::vec::IntoIter<Node>,
    present: Option<(Node, u64)>,
    pattern: &'static str,
    pause: Duration,
}

impl Scan {
    pub(super) fn new(redis: &Redis, pattern: &'static str) -> Result<Scan, Error> {
        let rest = redis.nodes().map_err(Error::read)?.into_iter();
        Ok(Scan { rest, present: None, pattern, pause: Duration::ZERO })
    }

    /// Some keys; None after the last of them.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<String>>, Error> {
        let Some((node, cursor)) = self.present.take().or_else(|| Some((self.rest.next()?, 0))) else {
            return Ok(None);
        };
        tokio::time::sleep(self.pause).await;
        let asked = Instant::now();
        let (cursor, keys) = node.scan(cursor, self.pattern, STEP).await.map_err(Error::read)?;
        self.pause = (asked.elapsed() * REST).clamp(SHORTEST, LONGEST);
        self.present = (cursor != 0).then_some((node, cursor));
        // A key of ours is text.
        Ok(Some(keys.into_iter().filter_map(|key| String::from_utf8(key).ok()).collect()))
    }
}

/// How many there are, although a scan may name one twice.
#[derive(Debug, Default)]
pub(super) struct Tally {
    hasher: RandomState,
    seen: Vec<u64>,
    more: u64,
}

impl Tally {
    pub(super) fn add(&mut self, key: &str) {
        if self.seen.len() < APART {
            self.seen.push(self.hasher.hash_one(key));
        } else {
            self.more += 1;
        }
    }

    /// The count, and whether it is exact.
    pub(super) fn total(mut self) -> (u64, bool) {
        self.seen.sort_unstable();
        self.seen.dedup();
        (self.seen.len() as u64 + self.more, self.more == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_comes_twice_is_one_and_beyond_what_is_remembered_nothing_is_exact() {
        let mut tally = Tally::default();
        for key in ["a", "b", "a", "c", "b"] {
            tally.add(key);
        }
        assert_eq!(tally.total(), (3, true));
        let mut tally = Tally::default();
        (0..=APART).for_each(|key| tally.add(&key.to_string()));
        assert_eq!(tally.total(), (APART as u64 + 1, false));
    }
}
