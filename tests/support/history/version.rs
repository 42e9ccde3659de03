//! S1 for versions: each has one name, one successor, and one more write than the one before.

use std::collections::HashMap;

use super::path::Path;
use super::{Event, Found, Rule};

pub(super) fn check(path: &Path<'_>, found: &mut Found) {
    repetitions(path, found);
    names(path, found);
    edges(path, found);
}

/// A document that was written last by another than the last to leave a mark.
fn repetitions(path: &Path<'_>, found: &mut Found) {
    let mut seen = Vec::new();
    for event in &path.events {
        let Some(document) = event.document() else { continue };
        let Some(last) = document.last else { continue };
        if document.marks.last() != Some(&last) && !seen.contains(&last) {
            seen.push(last);
            found.report(twice(path, last), [format!("{last} was written again"), event.in_full()]);
        }
    }
}

/// Of the same writes there is one version.
fn names(path: &Path<'_>, found: &mut Found) {
    let mut by_length: HashMap<usize, (&str, &Event)> = HashMap::new();
    for event in &path.events {
        let (Some(answer), Some(length)) = (event.ok(), path.shown(event)) else { continue };
        let Some(etag) = answer.etag.as_deref() else { continue };
        match by_length.get(&length) {
            Some((other, first)) if *other != etag => {
                let rule = length.checked_sub(1).map_or(Rule::Fork, |at| twice(path, path.marks[at]));
                found.report(rule, [first, event].map(|event| event.in_full()));
            }
            Some(_) => {}
            None => drop(by_length.insert(length, (etag, event))),
        }
    }
}

/// Writes from the same version, or to the same, are one batch; and a batch holds its own writes.
fn edges(path: &Path<'_>, found: &mut Found) {
    let (mut from, mut to) = (HashMap::new(), HashMap::new());
    for event in path.events.iter().filter(|event| event.op().is_some() && event.is_applied()) {
        let Some(answer) = event.ok() else { continue };
        let (Some(base), Some(etag)) = (answer.base.as_deref(), answer.etag.as_deref()) else { continue };
        let (successor, first) = *from.entry(base).or_insert((etag, event));
        let (ancestor, second) = *to.entry(etag).or_insert((base, event));
        let other = if successor != etag { Some(first) } else { (ancestor != base).then_some(second) };
        if let Some(other) = other {
            found.report(Rule::Fork, [other, event].map(|event| event.in_full()));
            continue;
        }
        let (Some(before), Some(after)) = (path.version(base), path.version(etag)) else { continue };
        if path.place(event).is_some_and(|place| place <= before || place > after) || before >= after {
            let between = format!("{:?} was there, {:?} came", &path.marks[..before], &path.marks[..after]);
            found.report(Rule::Fork, [event.to_string(), between]);
        }
    }
}

fn twice(path: &Path<'_>, op: u64) -> Rule {
    let journaled = |event: &&Event| event.op() == Some(op) && event.is_journaled();
    if path.events.iter().any(journaled) { Rule::ReplayedTwice } else { Rule::Twice }
}
