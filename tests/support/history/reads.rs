//! What an answer shows was true at an instant of its window: the call itself (S1), the call and its bound before it
//! (S2), or the call and the age that it admits (S3).

use std::time::Duration;

use super::path::Path;
use super::{Action, Consistency, Event, Found, Rule};

pub(super) fn check(path: &Path<'_>, found: &mut Found) {
    for event in path.events.iter().filter(|event| event.is_applied()) {
        let Some(shown) = path.shown(event) else { continue };
        let Some(window) = Window::of(event) else { continue };
        let floor = path.floor(window.since);
        if shown < floor {
            found.report(
                window.rule,
                [event.in_full(), format!("shows {shown} writes, {floor} were certain")],
            );
        } else if path.begun(shown) > event.ended {
            let begun = path.begun(shown);
            found.report(window.rule, [event.in_full(), format!("shows what was sent at {begun:?}")]);
        } else if window.rule == Rule::OutOfBound && shown < path.own_floor(event.pod, event.invoked) {
            let own = path.own_floor(event.pod, event.invoked);
            found
                .report(Rule::OwnWrite, [event.in_full(), format!("this pod had acknowledged {own} writes")]);
        }
    }
}

struct Window {
    since: Duration,
    /// What is broken by an answer that was not true then.
    rule: Rule,
}

impl Window {
    fn of(event: &Event) -> Option<Window> {
        let answer = event.ok()?;
        let (since, rule) = match event.action {
            Action::Read(Consistency::NoCache | Consistency::Strong | Consistency::AtLeast(_)) => {
                (event.invoked, Rule::NotFresh)
            }
            Action::Read(Consistency::Default) if answer.stale.is_some() => (event.since(), Rule::Staler),
            Action::Read(Consistency::Default) => (event.since(), Rule::OutOfBound),
            // These reach Redis.
            Action::Touch | Action::Write { .. } | Action::Create { .. } => (event.invoked, Rule::NotFresh),
            Action::Delete | Action::Expire | Action::Foreign { .. } => return None,
        };
        Some(Window { since, rule })
    }
}
