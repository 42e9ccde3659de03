//! The one order in which writes of a session took effect, and S1 for writes: it exists, and respects real time.

use std::collections::HashMap;
use std::time::Duration;

use super::{Action, Event, Found, History, Outcome, Rule};

/// A write acts within its deadline, which is shorter, or never.
const GRACE: Duration = Duration::from_millis(500);

/// The calls on one session by time of invocation, and the order of effects that they show.
pub(super) struct Path<'a> {
    pub(super) events: Vec<&'a Event>,
    /// Those of the longest document that anybody saw.
    pub(super) marks: &'a [u64],
    /// Where on the path each mark is, from 1 on.
    place: HashMap<u64, usize>,
    /// How far the path had come in the version of that name.
    versions: HashMap<&'a str, usize>,
    /// When it was certain how far the path had come.
    certain: Vec<(Duration, usize)>,
    /// The earliest that the path can have come so far.
    begun: Vec<Duration>,
}

impl<'a> Path<'a> {
    pub(super) fn new(mut events: Vec<&'a Event>) -> Path<'a> {
        events.sort_by_key(|event| event.invoked);
        let documents = || events.iter().filter_map(|event| event.document());
        let marks = documents().map(|document| document.marks.as_slice()).max_by_key(|marks| marks.len());
        let marks = marks.unwrap_or_default();
        let place = marks.iter().enumerate().map(|(at, op)| (*op, at + 1)).collect();
        let named = events.iter().filter_map(|event| {
            let answer = event.ok()?;
            let document = answer.document.as_ref().filter(|document| marks.starts_with(&document.marks))?;
            Some((answer.etag.as_deref()?, document.marks.len()))
        });
        let versions = named.collect();
        let mut path = Path { events, marks, place, versions, certain: Vec::new(), begun: Vec::new() };
        path.certain = path.certainties();
        path.begun = path.beginnings();
        path
    }

    pub(super) fn place(&self, event: &Event) -> Option<usize> {
        self.place.get(&event.op()?).copied()
    }

    pub(super) fn version(&self, etag: &str) -> Option<usize> {
        self.versions.get(etag).copied()
    }

    /// How far the path had come in what the answer shows; nothing if that is not on the path.
    pub(super) fn shown(&self, event: &Event) -> Option<usize> {
        let answer = event.ok()?;
        match &answer.document {
            Some(document) => self.marks.starts_with(&document.marks).then_some(document.marks.len()),
            None => self.version(answer.etag.as_deref()?),
        }
    }

    /// How far the path had certainly come before `time`.
    pub(super) fn floor(&self, time: Duration) -> usize {
        let before = self.certain.partition_point(|(ended, _)| *ended < time);
        before.checked_sub(1).map_or(0, |last| self.certain[last].1)
    }

    /// The last write that was acknowledged before `time`.
    fn acknowledged(&self, time: Duration) -> usize {
        self.last_acknowledged(|event| event.ended < time)
    }

    /// The same, by `pod`.
    pub(super) fn own_floor(&self, pod: usize, time: Duration) -> usize {
        self.last_acknowledged(|event| event.pod == pod && event.ended < time)
    }

    fn last_acknowledged(&self, counts: impl Fn(&Event) -> bool) -> usize {
        let applied = self.events.iter().filter(|event| event.is_applied() && counts(event));
        applied.filter_map(|event| self.place(event)).max().unwrap_or_default()
    }

    /// The earliest time at which the path can have come so far.
    pub(super) fn begun(&self, length: usize) -> Duration {
        self.begun.get(length).copied().unwrap_or_default()
    }

    fn certainties(&self) -> Vec<(Duration, usize)> {
        let applied = self.events.iter().filter(|event| event.is_applied());
        let certain =
            applied.filter_map(|event| Some((event.ended, self.place(event).max(self.shown(event))?)));
        let mut certain: Vec<_> = certain.collect();
        certain.sort_unstable();
        let mut highest = 0;
        for (_, reached) in &mut certain {
            highest = highest.max(*reached);
            *reached = highest;
        }
        certain
    }

    fn beginnings(&self) -> Vec<Duration> {
        let mut begun = vec![Duration::ZERO; self.marks.len() + 1];
        for event in &self.events {
            if let Some(place) = self.place(event) {
                begun[place] = event.invoked;
            }
        }
        for place in 1..begun.len() {
            begun[place] = begun[place].max(begun[place - 1]);
        }
        begun
    }
}

pub(super) fn check(path: &Path<'_>, history: &History, found: &mut Found) {
    forks(path, found);
    effects(path, found);
    order(path, found);
    conditions(path, found);
    lateness(path, history, found);
}

fn forks(path: &Path<'_>, found: &mut Found) {
    let longest =
        path.events.iter().find(|event| event.document().is_some_and(|one| one.marks == path.marks));
    for event in &path.events {
        let Some(document) = event.document() else { continue };
        if !path.marks.starts_with(&document.marks) {
            found.report(Rule::Fork, [event, longest.unwrap_or(event)].map(|event| event.in_full()));
        }
    }
}

/// A write has its effect if it was acknowledged and somebody looked later, and has none if it failed.
fn effects(path: &Path<'_>, found: &mut Found) {
    let looked =
        path.events.iter().filter(|event| event.document().is_some()).map(|event| event.since()).max();
    for event in path.events.iter().filter(|event| event.op().is_some()) {
        let applied = path.place(event).is_some();
        match &event.outcome {
            Outcome::Ok(_) if !applied && event.is_applied() && looked > Some(event.ended) => {
                found.report(Rule::Lost, [event.to_string(), format!("the longest: {:?}", path.marks)]);
            }
            Outcome::Fail | Outcome::Absent(_) if applied => found.report(Rule::Ghost, [event.to_string()]),
            Outcome::Ok(_)
            | Outcome::Fail
            | Outcome::Behind
            | Outcome::Absent(_)
            | Outcome::Unknown
            | Outcome::Strange(_) => {}
        }
    }
}

/// A write comes after all that were acknowledged before it was sent, and an answer to it shows it.
fn order(path: &Path<'_>, found: &mut Found) {
    for event in &path.events {
        let Some(place) = path.place(event) else { continue };
        let floor = path.acknowledged(event.invoked);
        if place <= floor {
            found.report(Rule::Order, [event.to_string(), format!("is number {place}, sent after {floor}")]);
        }
        if event.is_applied() && path.shown(event).is_some_and(|shown| shown < place) {
            found.report(Rule::Fork, [event.to_string(), "does not show itself".to_owned()]);
        }
    }
}

fn conditions(path: &Path<'_>, found: &mut Found) {
    for event in &path.events {
        let Action::Write { after: Some(after), .. } = event.action else { continue };
        let (Some(place), Some(before)) = (path.place(event), path.place.get(&after)) else { continue };
        if place != before + 1 {
            found.report(
                Rule::Condition,
                [event.to_string(), format!("came after {}", path.marks[place - 2])],
            );
        }
    }
}

/// A write of unknown outcome is seen by whoever reads after its deadline, or never. Where the pod itself was paused,
/// the call began when it went on.
fn lateness(path: &Path<'_>, history: &History, found: &mut Found) {
    for write in path.events.iter().filter(|event| event.outcome == Outcome::Unknown) {
        let Some(place) = path.place(write) else { continue };
        let deadline = write.ended + GRACE;
        let pauses = history.pods.get(write.pod).map_or(&[][..], |pod| &pod.paused);
        if pauses.iter().any(|(begun, ended)| *begun < deadline && *ended > write.invoked) {
            continue;
        }
        let without = |read: &&&Event| path.shown(read).is_some_and(|shown| shown < place);
        let mut reads = path.events.iter().filter(|read| read.since() > deadline);
        if let Some(read) = reads.find(without) {
            found.report(Rule::Late, [write, read].map(|event| event.to_string()));
        }
    }
}
