//! S2 for reads that name a version: they show it or a later one, or say truly that it has not come.

use super::path::Path;
use super::{Action, Consistency, Event, Found, Outcome, Rule};

pub(super) fn check(path: &Path<'_>, lossless: bool, found: &mut Found) {
    for event in &path.events {
        let Action::Read(Consistency::AtLeast(wanted)) = event.action else { continue };
        match &event.outcome {
            Outcome::Ok(answer) if answer.version.is_none_or(|version| version < wanted) => {
                found.report(Rule::Below, [event.in_full(), format!("wanted {wanted}")]);
            }
            Outcome::Behind if lossless => {
                if let Some(other) = seen_before(path, event, wanted) {
                    found.report(Rule::NotBehind, [other, event].map(Event::in_full));
                }
            }
            // That it shows what it claims is for those who judge fresh reads.
            Outcome::Ok(_)
            | Outcome::Behind
            | Outcome::Absent(_)
            | Outcome::Fail
            | Outcome::Unknown
            | Outcome::Strange(_) => {}
        }
    }
}

fn seen_before<'a>(path: &'a Path<'_>, event: &Event, wanted: i64) -> Option<&'a Event> {
    let mut before = path.events.iter().filter(|other| other.is_applied() && other.ended < event.invoked);
    before.find(|other| other.ok().is_some_and(|answer| answer.version >= Some(wanted))).copied()
}
