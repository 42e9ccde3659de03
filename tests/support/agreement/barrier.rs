//! What is served from memory after everybody is said to have dropped it.

use std::collections::HashMap;

use super::{Barrier, History, Read, Rule};

pub(super) fn check(history: &History, object: &mut impl FnMut(Rule, String)) {
    let mut by_key: HashMap<usize, Vec<&Barrier>> = HashMap::new();
    for barrier in &history.barriers {
        by_key.entry(barrier.key).or_default().push(barrier);
    }
    for Read { process, key, version, invoked } in &history.reads {
        let before = by_key.get(key).into_iter().flatten().filter(|barrier| barrier.ok < *invoked);
        let Some(newest) = before.map(|barrier| barrier.version).max() else { continue };
        if *version < newest {
            object(
                Rule::Barrier,
                format!(
                    "{process} served version {version} of key {key} at {invoked:?}: {newest} was applied by all"
                ),
            );
        }
    }
}
