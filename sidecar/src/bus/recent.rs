//! The ids of the last messages, so that one that comes again is known.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

const IDS: usize = 10_000;

/// Digests of them: nobody outside knows by what key, and by chance two are the same in no lifetime.
#[derive(Debug, Default)]
pub(super) struct Recent {
    digest: RandomState,
    order: VecDeque<u64>,
    known: HashSet<u64, BuildHasherDefault<Digest>>,
}

/// Of a digest: it is one.
#[derive(Debug, Default)]
struct Digest(u64);

impl Hasher for Digest {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(self.0.rotate_left(8) ^ u64::from(*byte)));
    }

    fn write_u64(&mut self, digest: u64) {
        self.0 = digest;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Recent {
    pub(super) fn knows(&self, id: &str) -> bool {
        self.known.contains(&self.digest.hash_one(id))
    }

    /// False for one that it knows.
    pub(super) fn insert(&mut self, id: &str) -> bool {
        let digest = self.digest.hash_one(id);
        if !self.known.insert(digest) {
            return false;
        }
        self.order.push_back(digest);
        if self.order.len() > IDS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_ids_are_known_and_no_more() {
        let mut recent = Recent::default();
        for id in 0..=IDS {
            assert!(recent.insert(&id.to_string()));
        }
        assert!(!recent.insert("1") && recent.knows("1") && !recent.knows("0"));
        assert!(recent.insert("0"));
        assert_eq!((recent.order.len(), recent.known.len()), (IDS, IDS));
    }
}
