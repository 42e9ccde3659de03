//! What this pod has learnt lately, in bounded memory: what nobody has learnt anew for longest is forgotten first.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};

/// Two generations: when the young one is full it becomes the old one, and what was old is forgotten.
#[derive(Debug)]
pub(super) struct Recent<V> {
    most: usize,
    hasher: RandomState,
    generations: Mutex<[HashMap<u64, V>; 2]>,
}

impl<V: Copy> Recent<V> {
    /// At most twice as many.
    pub(super) fn new(most: usize) -> Recent<V> {
        Recent { most, hasher: RandomState::new(), generations: Mutex::default() }
    }

    pub(super) fn get(&self, key: impl Hash) -> Option<V> {
        let key = self.hasher.hash_one(key);
        self.with(|[young, old]| young.get(&key).or_else(|| old.get(&key)).copied())
    }

    pub(super) fn put(&self, key: impl Hash, value: V) {
        let key = self.hasher.hash_one(key);
        self.with(|[young, old]| {
            if young.len() >= self.most {
                *old = std::mem::take(young);
            }
            young.insert(key, value);
        });
    }

    pub(super) fn forget(&self, key: impl Hash) {
        let key = self.hasher.hash_one(key);
        self.with(|[young, old]| {
            young.remove(&key);
            old.remove(&key);
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut [HashMap<u64, V>; 2]) -> T) -> T {
        act(&mut self.generations.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_old_is_forgotten_and_what_is_young_is_not() {
        let recent = Recent::new(10);
        for n in 0..15 {
            recent.put(n, n);
        }
        assert!((0..15).all(|n| recent.get(n) == Some(n)));
        recent.put(0, 100);
        for n in 15..30 {
            recent.put(n, n);
        }
        assert_eq!(recent.get(5), None);
        assert_eq!(recent.get(29), Some(29));
        recent.forget(29);
        assert_eq!(recent.get(29), None);
        assert!(recent.with(|generations| generations.iter().map(HashMap::len).sum::<usize>()) <= 20);
    }
}
