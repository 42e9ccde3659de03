//! What became of acknowledged writes in the end: S4 for journaled ones, S6 where Redis lost data.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::{Action, Consistency, Durability, Event, Found, History, Outcome, Pod, Rule};

/// A sidecar remembers for so long what it acknowledged.
const REMEMBERED: Duration = Duration::from_secs(10);

pub(super) fn check(history: &History, lossless: bool, found: &mut Found) {
    let ends = Ends::of(history);
    journaled(history, &ends, found);
    if !lossless {
        cut(history, &ends, found);
    }
}

/// What the last fresh read of each session said.
struct Ends<'a>(HashMap<usize, &'a Event>);

impl<'a> Ends<'a> {
    fn of(history: &'a History) -> Ends<'a> {
        let mut ends: HashMap<usize, &Event> = HashMap::new();
        for event in &history.events {
            let fresh = event.action == Action::Read(Consistency::NoCache);
            let says = matches!(event.outcome, Outcome::Ok(_) | Outcome::Absent(_));
            if fresh && says && ends.get(&event.session).is_none_or(|last| last.invoked < event.invoked) {
                ends.insert(event.session, event);
            }
        }
        Ends(ends)
    }

    /// Whether an acknowledged write is in the end as if it had never been.
    fn misses(&self, event: &Event) -> bool {
        let (Some(op), Some(end)) = (event.op(), self.0.get(&event.session)) else { return false };
        end.invoked > event.ended && end.document().is_none_or(|document| !document.marks.contains(&op))
    }

    fn alive(&self, session: usize) -> bool {
        self.0.get(&session).is_some_and(|end| end.document().is_some())
    }
}

fn journaled(history: &History, ends: &Ends<'_>, found: &mut Found) {
    let mut missing: BTreeMap<usize, Vec<&Event>> = BTreeMap::new();
    for event in history.events.iter().filter(|event| event.is_journaled() && !died_after(history, event)) {
        let undone = event.action == Action::Delete;
        let lacks = if undone { ends.alive(event.session) } else { ends.misses(event) };
        // A session that was deleted or expired takes its journaled writes with it, which the pod may count or not.
        if lacks && (undone || !ended(history, event.session)) {
            missing.entry(event.pod).or_default().push(event);
        }
    }
    over(missing, |pod| pod.dropped, history, Rule::Vanished, found);
}

/// Reports the pods that miss more than they counted.
fn over(
    missing: BTreeMap<usize, Vec<&Event>>,
    counted: impl Fn(&Pod) -> u64,
    history: &History,
    rule: Rule,
    found: &mut Found,
) {
    for (pod, events) in missing {
        let counted = history.pods.get(pod).map_or(0, &counted);
        if events.len() as u64 > counted {
            found.session = events[0].session;
            let head = format!("pod {pod} counted {counted} of {}", events.len());
            found.report(rule, std::iter::once(head).chain(events.iter().map(|event| event.to_string())));
        }
    }
}

fn cut(history: &History, ends: &Ends<'_>, found: &mut Found) {
    let losses = history.faults.iter().filter(|fault| fault.lost.is_some()).count();
    let mut missing: BTreeMap<usize, Vec<&Event>> = BTreeMap::new();
    for event in &history.events {
        let Some(answer) = event.ok().filter(|_| event.is_applied() && ends.misses(event)) else { continue };
        if ended(history, event.session) || matches!(event.action, Action::Foreign { .. }) {
            continue;
        }
        found.session = event.session;
        if answer.durability == Some(Durability::Replicated) && losses == 1 {
            found.report(Rule::ReplicatedCut, [event.to_string()]);
        } else if !in_a_lost_suffix(history, event) {
            found.report(Rule::Cut, [event.to_string(), "is in no lost suffix".to_owned()]);
        } else if !died_after(history, event) && is_remembered(history, event) {
            missing.entry(event.pod).or_default().push(event);
        }
    }
    over(missing, |pod| pod.forked + pod.overflowed, history, Rule::Cut, found);
}

fn in_a_lost_suffix(history: &History, event: &Event) -> bool {
    let Some(op) = event.op() else { return false };
    let losses = history.faults.iter().filter(|fault| fault.ended >= event.invoked);
    let mut losses = losses.filter_map(|fault| fault.lost.as_ref());
    losses.any(|lost| lost.after.get(&event.session).is_none_or(|marks| !marks.contains(&op)))
}

/// Nobody can tell again what was acknowledged.
pub(super) fn is_forgotten(history: &History, event: &Event) -> bool {
    let overflowed = history.pods.get(event.pod).is_some_and(|pod| pod.overflowed > 0);
    overflowed || died_after(history, event) || !is_remembered(history, event)
}

fn is_remembered(history: &History, event: &Event) -> bool {
    let mut losses = history.faults.iter().filter(|fault| fault.lost.is_some());
    losses.any(|fault| fault.begun < event.ended + REMEMBERED)
}

/// What a pod remembers dies with it.
fn died_after(history: &History, event: &Event) -> bool {
    let asked = event.before.iter().chain([&event.pod]).filter_map(|pod| history.pods.get(*pod));
    asked.flat_map(|pod| &pod.killed).any(|killed| *killed >= event.invoked)
}

fn ended(history: &History, session: usize) -> bool {
    let of_it = history.events.iter().filter(|event| event.session == session);
    of_it.into_iter().any(|event| {
        let end = matches!(event.action, Action::Delete | Action::Expire);
        end && matches!(event.outcome, Outcome::Ok(_) | Outcome::Unknown)
    })
}
