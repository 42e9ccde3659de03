//! S2 for absence: it is said when it is true, and proven. S5: what is gone stays gone.

use std::time::Duration;

use super::path::Path;
use super::{Action, Event, Fault, Found, History, Outcome, Rule};

pub(super) fn check(path: &Path<'_>, history: &History, found: &mut Found) {
    absences(path, history, found);
    resurrections(path, found);
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

fn resurrections(path: &Path<'_>, found: &mut Found) {
    let ends = path.events.iter().filter(|event| is_end(event) && event.is_applied());
    let Some(gone) = ends.min_by_key(|event| event.ended) else { return };
    let later = path.events.iter().filter(|event| event.is_applied() && is_seen(event));
    for event in later.filter(|event| event.since() > gone.ended) {
        found.report(Rule::Resurrection, [gone.to_string(), event.in_full()]);
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
