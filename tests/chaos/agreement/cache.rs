//! A cache in an app's memory, as app writers are told to keep one: what is dropped is gone, also for whoever is about
//! to put it there, and nothing is served when the lease is over.

use std::collections::HashMap;

use sidecar::clock::monotonic_ms;

pub(super) const KEYS: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Cache {
    versions: HashMap<usize, u64>,
    serves_until_ms: u64,
    /// How often something was dropped.
    drops: u64,
}

impl Cache {
    pub(super) fn lease(&mut self, until_ms: u64) {
        self.serves_until_ms = self.serves_until_ms.max(until_ms);
    }

    pub(super) fn drop_key(&mut self, key: usize) {
        self.drops += 1;
        self.versions.remove(&key);
    }

    pub(super) fn drop_all(&mut self) {
        self.drops += 1;
        self.versions.clear();
    }

    pub(super) fn serve(&self, key: usize) -> Option<u64> {
        self.versions.get(&key).copied().filter(|_| monotonic_ms() < self.serves_until_ms)
    }

    pub(super) fn drops(&self) -> u64 {
        self.drops
    }

    /// Read from the database when so much had been dropped.
    pub(super) fn put(&mut self, key: usize, version: u64, drops: u64) {
        if drops == self.drops {
            self.versions.insert(key, version);
        }
    }
}
