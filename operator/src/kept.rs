//! What watches show of objects that are not children, by Hyperpage: as much of each as decisions need, and
//! nothing of those that are well.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crds::contract::label;
use kube::{ResourceExt, runtime::watcher::Event};

use crate::children::Wake;

/// Namespace and name.
type Key = (String, String);

#[derive(Debug)]
struct Seen<V> {
    /// The Hyperpage, and what is kept.
    entries: BTreeMap<Key, (String, V)>,
    listed: BTreeSet<Key>,
}

#[derive(Debug)]
pub struct Kept<V>(Mutex<Seen<V>>);

impl<V> Default for Kept<V> {
    fn default() -> Self {
        Self(Mutex::new(Seen { entries: BTreeMap::new(), listed: BTreeSet::new() }))
    }
}

impl<V: Clone + PartialEq> Kept<V> {
    pub fn of(&self, namespace: &str, hyperpage: &str) -> Vec<V> {
        let seen = self.lock();
        let all = seen.entries.iter().filter(|((of, _), (owner, _))| of == namespace && owner == hyperpage);
        all.map(|(_, (_, value))| value.clone()).collect()
    }

    /// Takes a watch event in; says which Hyperpages it concerns. `keep` gives `None` for what nobody needs.
    pub fn take<K: ResourceExt>(&self, event: Event<K>, keep: impl Fn(&K) -> Option<V>) -> Vec<Wake> {
        let mut seen = self.lock();
        match event {
            Event::Init => {
                seen.listed.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                seen.listed.insert(key(&object));
                seen.put(&object, keep(&object))
            }
            Event::InitDone => seen.forget_unlisted(),
            Event::Apply(object) => seen.put(&object, keep(&object)),
            Event::Delete(object) => seen.remove(&key(&object)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen<V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V: PartialEq> Seen<V> {
    fn put<K: ResourceExt>(&mut self, object: &K, value: Option<V>) -> Vec<Wake> {
        let key = key(object);
        let Some(value) = value else { return self.remove(&key) };
        if self.entries.get(&key).is_some_and(|(_, before)| *before == value) {
            return Vec::new();
        }
        let hyperpage = object.labels().get(label::INSTANCE).cloned().unwrap_or_default();
        let wake = vec![(key.0.clone(), hyperpage.clone())];
        self.entries.insert(key, (hyperpage, value));
        wake
    }

    fn remove(&mut self, key: &Key) -> Vec<Wake> {
        let gone = self.entries.remove(key);
        gone.map(|(hyperpage, _)| (key.0.clone(), hyperpage)).into_iter().collect()
    }

    /// What a new list does not name was deleted while the watch was away.
    fn forget_unlisted(&mut self) -> Vec<Wake> {
        let listed = std::mem::take(&mut self.listed);
        let gone: Vec<_> = self.entries.keys().filter(|key| !listed.contains(*key)).cloned().collect();
        gone.iter().flat_map(|key| self.remove(key)).collect()
    }
}

fn key(object: &impl ResourceExt) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}
