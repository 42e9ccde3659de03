//! S2 for absence: it is said when it is true, and proven. S5: what is gone stays gone.

use std::time::Duration;

use super::durability::is_forgotten;
use super::path::Path;
use super::{Action, Event, Fault, Found, History, Loss, Outcome, Rule};

pub(super) fn check(path: &Path<'_>, history: &History, found: &mut Found) {
    absences(path, history, found);
    resurrections(path, history, found);
}

fn absences(path: &Path<'_>, history: &History, found: &mut Found) {
    let seen = path.events.iter().filter(|event| event.is_applied() && is_seen(event));
    let Some(born) = seen.map(|event| event.ended).min() else { return };
    let ends: Vec<Duration> =
        path.events.iter().filter(|event| may_end(event)).map(|event| event.invoked).collect();
    for event in &path.events {
        if !matches!(event.outcome, Outcome::Absent(_)) || event.since() <= born {
            continue;
        }
        let ended = ends.iter().any(|end| *end <= event.ended);
        let lost = history.faults.iter().any(|fault| explains(fault, event, history.repair));
        if !ended && !lost {
            found.report(Rule::FalseAbsence, [format!("it was seen by {born:?}"), event.to_string()]);
        }
    }
}

/// Whether its data were lost, and absence was proven again when the answer came.
fn explains(fault: &Fault, event: &Event, repair: Duration) -> bool {
    let Some(lost) = &fault.lost else { return false };
    !lost.after.contains_key(&event.session) && fault.begun + repair <= event.ended
}

fn resurrections(path: &Path<'_>, history: &History, found: &mut Found) {
    let ends = path.events.iter().filter(|event| is_end(event) && event.is_applied());
    let ends = ends.filter_map(|event| Some((dead_from(event, history)?, event)));
    let Some((from, gone)) = ends.min_by_key(|(from, _)| *from) else { return };
    let later = path.events.iter().filter(|event| event.is_applied() && is_seen(event));
    for event in later.filter(|event| event.since() > from) {
        found.report(Rule::Resurrection, [format!("{gone}: dead from {from:?} on"), event.in_full()]);
    }
}

/// A deletion that was lost is told again within the repair window, unless nobody is left who knows of it.
fn dead_from(end: &Event, history: &History) -> Option<Duration> {
    let losses = history.faults.iter().filter_map(|fault| fault.lost.as_ref());
    let back = |lost: &Loss| end.ended < lost.renewed && lost.after.contains_key(&end.session);
    let cut =
        losses.filter(|lost| end.action == Action::Delete && back(lost)).max_by_key(|lost| lost.renewed);
    match cut {
        None => Some(end.ended),
        Some(lost) => (!is_forgotten(history, end)).then(|| lost.renewed + history.repair),
    }
}

fn is_end(event: &Event) -> bool {
    matches!(event.action, Action::Delete | Action::Expire)
}

fn may_end(event: &Event) -> bool {
    is_end(event) && matches!(event.outcome, Outcome::Ok(_) | Outcome::Unknown)
}

/// The answer says that the session is there.
fn is_seen(event: &Event) -> bool {
    event.ok().is_some() && !is_end(event)
}
