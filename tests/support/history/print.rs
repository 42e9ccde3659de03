//! A history for people: one event per line.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::{Action, Answer, Consistency, Durability, Event, Fault, History, Outcome, Violation};
use crate::binaries::keep;

/// Enough of a digest to tell two apart.
const TAG: usize = 8;

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Event { session, pod, before: _, invoked, ended, action, outcome } = self;
        write!(f, "{} … {} pod {pod} session {session:>2} ", ms(*invoked), ms(*ended))?;
        match action {
            Action::Write { op, dialect, after: None } => write!(f, "{dialect} {op}")?,
            Action::Write { op, dialect, after: Some(after) } => write!(f, "{dialect} {op} after {after}")?,
            Action::Create { op } => write!(f, "create {op}")?,
            Action::Foreign { op } => write!(f, "foreign {op}")?,
            Action::Read(Consistency::AtLeast(version)) => write!(f, "read at least {version}")?,
            Action::Read(_) | Action::Touch | Action::Delete | Action::Expire => {
                write!(f, "{}", action.label())?
            }
        }
        match outcome {
            Outcome::Ok(answer) => write!(f, ": ok{answer}"),
            Outcome::Absent(bound) => write!(f, ": absent, bound {bound:?}"),
            Outcome::Fail | Outcome::Behind | Outcome::Unknown => write!(f, ": {}", outcome.label()),
            Outcome::Strange(answer) => write!(f, ": {answer}"),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Answer { etag, version, base, document, durability, bound, stale } = self;
        match durability {
            Some(Durability::Local) => write!(f, " local")?,
            Some(Durability::Redis) => write!(f, " redis")?,
            Some(Durability::Replicated) => write!(f, " replicated")?,
            None => {}
        }
        if let Some(base) = base {
            write!(f, " {} →", tag(base))?;
        }
        if let Some(etag) = etag {
            write!(f, " {}", tag(etag))?;
        }
        if let Some(version) = version {
            write!(f, " version {version}")?;
        }
        if let Some(document) = document {
            let marks = &document.marks;
            let tail = &marks[marks.len().saturating_sub(3)..];
            write!(f, " {} writes …{tail:?}", marks.len())?;
        }
        match stale {
            Some(stale) => write!(f, " stale {stale:?}"),
            None if bound.is_zero() => Ok(()),
            None => write!(f, " bound {bound:?}"),
        }
    }
}

impl Event {
    /// With every mark of the document.
    pub(super) fn in_full(&self) -> String {
        match self.document() {
            Some(document) => format!("{self} last {:?} of {:?}", document.last, document.marks),
            None => self.to_string(),
        }
    }
}

impl Action {
    pub fn label(&self) -> &'static str {
        match self {
            Action::Create { .. } => "create",
            Action::Write { dialect, .. } => dialect,
            Action::Read(Consistency::Default) => "read",
            Action::Read(Consistency::NoCache) => "read no-cache",
            Action::Read(Consistency::Strong) => "read strong",
            Action::Read(Consistency::AtLeast(_)) => "read at least",
            Action::Touch => "touch",
            Action::Delete => "delete",
            Action::Expire => "(expire)",
            Action::Foreign { .. } => "(foreign)",
        }
    }
}

impl Outcome {
    pub fn label(&self) -> &'static str {
        match self {
            Outcome::Ok(answer) if answer.stale.is_some() => "stale",
            Outcome::Ok(answer) if answer.durability == Some(Durability::Local) => "journaled",
            Outcome::Ok(_) => "ok",
            Outcome::Absent(_) => "absent",
            Outcome::Fail => "fail",
            Outcome::Behind => "behind",
            Outcome::Unknown => "unknown",
            Outcome::Strange(_) => "strange",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { name, pod, begun, ended, effect, lost } = self;
        let whom = pod.map_or("all".to_owned(), |pod| format!("pod {pod}"));
        let effect = if effect.is_empty() { "nobody noticed" } else { effect };
        write!(f, "{} … {} {whom} FAULT {name}: {effect}", ms(*begun), ms(*ended))?;
        match lost {
            Some(lost) => write!(f, "; {} sessions before, {} after", lost.before.len(), lost.after.len()),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { rule, session, shown_by } = self;
        write!(f, "{:?} {rule:?}, session {session}:\n    {shown_by}", rule.invariant())
    }
}

impl History {
    /// Writes all that was seen, and what was wrong with it, where `make test` has its logs.
    pub fn save(&self, name: &str, found: &[Violation]) -> PathBuf {
        let mut lines: Vec<(Duration, String)> = Vec::new();
        lines.extend(self.events.iter().map(|event| (event.invoked, event.to_string())));
        lines.extend(self.faults.iter().map(|fault| (fault.begun, fault.to_string())));
        lines.sort();
        let mut text: String = found.iter().map(|violation| format!("{violation}\n")).collect();
        for (pod, counted) in self.pods.iter().enumerate() {
            text += &format!("pod {pod}: {counted:?}\n");
        }
        text.extend(lines.into_iter().map(|(_, line)| line + "\n"));
        for (pod, log) in self.logs.iter().enumerate() {
            keep(&format!("history-{name}.pod-{pod}.log"), log);
        }
        keep(&format!("history-{name}.txt"), &text)
    }
}

fn ms(time: Duration) -> String {
    format!("{:9.3}", time.as_secs_f64() * 1000.0)
}

fn tag(etag: &str) -> String {
    etag.trim_matches('"').chars().take(TAG).collect()
}
