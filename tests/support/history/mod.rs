//! What clients saw of some sessions while things broke, and what may not have been seen.
//!
//! Where Redis lost a deletion that it had acknowledged, the session may be seen alive once more, and be written, until
//! the repair window of the new incarnation is over: the order of lost writes against new ones is not promised.
//!
//! Every write leaves its own number in the session's document, as the member `wN` of `metadata`, and as `last`;
//! members keep their order. So the longest document ever seen tells in which order writes took effect, every other
//! must be a beginning of it, and one whose `last` is not its last was written by somebody twice.

mod durability;
mod life;
mod path;
mod print;
mod reads;
mod version;
mod wanted;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use path::Path;

/// Times are one clock's, since the start of the run.
#[derive(Debug, Clone, Default)]
pub struct History {
    pub events: Vec<Event>,
    pub faults: Vec<Fault>,
    pub pods: Vec<Pod>,
    /// So long after a loss of data a miss proves nothing.
    pub repair: Duration,
    /// What each pod's sidecar logged, for whoever looks for a cause.
    pub logs: Vec<String>,
}

/// One call of one client, or what the nemesis did to one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub session: usize,
    pub pod: usize,
    /// Asked before that one, under the same key: one of them may have done it, and remembers it alone.
    pub before: Vec<usize>,
    pub invoked: Duration,
    pub ended: Duration,
    pub action: Action,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Create {
        op: u64,
    },
    Write {
        op: u64,
        /// The kind of request, in a word.
        dialect: &'static str,
        /// Only if this was the last mark.
        after: Option<u64>,
    },
    Read(Consistency),
    Touch,
    Delete,
    /// The nemesis let the session expire; from `ended` on it is gone.
    Expire,
    /// The nemesis wrote the session behind every sidecar's back.
    Foreign {
        op: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    Default,
    NoCache,
    Strong,
    /// This version or a later one.
    AtLeast(i64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A complete 2xx or 304.
    Ok(Answer),
    /// The session is said not to exist, as of so long before the call at most.
    Absent(Duration),
    /// Had no effect and never will have: any other 4xx, 503 but for the next.
    Fail,
    /// The session is said to be older than the version that was asked for.
    Behind,
    /// May happen once, at any later time, or never.
    Unknown,
    /// An answer that no fault explains.
    Strange(String),
}

/// What an answer shows and claims.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    pub etag: Option<String>,
    /// In milliseconds since 1970; of two versions the later has the higher.
    pub version: Option<i64>,
    /// The version that a write was applied to.
    pub base: Option<String>,
    pub document: Option<Document>,
    pub durability: Option<Durability>,
    /// How old it may be by its own account.
    pub bound: Duration,
    /// It is marked as stale, by so much.
    pub stale: Option<Duration>,
}

/// The marks of a session's writers, in order, and who claims to be the last of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    pub marks: Vec<u64>,
    pub last: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    Local,
    Redis,
    Replicated,
}

/// What the nemesis did, and what came of it.
#[derive(Debug, Clone)]
pub struct Fault {
    pub name: &'static str,
    /// One pod, or all.
    pub pod: Option<usize>,
    pub begun: Duration,
    pub ended: Duration,
    /// What was seen of it; empty if it may as well not have happened.
    pub effect: String,
    pub lost: Option<Loss>,
}

/// The marks of each session before Redis lost data, and after; one that did not exist is in neither.
#[derive(Debug, Clone, Default)]
pub struct Loss {
    pub before: HashMap<usize, Vec<u64>>,
    pub after: HashMap<usize, Vec<u64>>,
    /// When the incarnation of what was left began: nothing was acknowledged by it before.
    pub renewed: Duration,
}

/// What a sidecar counted by the end of the run, and when it was killed.
#[derive(Debug, Clone, Default)]
pub struct Pod {
    pub killed: Vec<Duration>,
    pub paused: Vec<(Duration, Duration)>,
    /// Journaled calls that it did not apply.
    pub dropped: u64,
    /// Acknowledged writes that it found overtaken by another history.
    pub forked: u64,
    /// Acknowledged writes that it had no room to remember.
    pub overflowed: u64,
}

/// As correctness is written down: what is fresh (S1), bounded (S2), marked stale (S3), journaled (S4), deleted (S5)
/// and cut off by a loss of data (S6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Invariant {
    S1,
    S2,
    S3,
    S4,
    S5,
    S6,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// An acknowledged write is missing.
    Lost,
    /// A write took effect twice.
    Twice,
    /// A write that failed took effect.
    Ghost,
    /// Two documents of which neither begins the other, or one version with two successors.
    Fork,
    /// A write whose outcome was unknown took effect when its deadline had long passed.
    Late,
    /// Writes took effect against the order in which calls began and ended.
    Order,
    /// A conditional write took effect upon another version than it was meant for.
    Condition,
    /// A fresh answer was not current at any instant of its call.
    NotFresh,
    /// An answer that no fault explains.
    Strange,
    /// A read was not current at any instant within its bound.
    OutOfBound,
    /// A pod did not show what it had itself acknowledged.
    OwnWrite,
    /// An answer is older than the version that was asked for.
    Below,
    /// A version that was there is said not to be.
    NotBehind,
    /// A session that lives, or may live, is said not to exist.
    FalseAbsence,
    /// A read marked as stale is staler than it says.
    Staler,
    /// A journaled write vanished and nobody counted it.
    Vanished,
    /// A journaled write took effect twice.
    ReplayedTwice,
    /// A session is seen after it was gone.
    Resurrection,
    /// A write acknowledged as `redis` was cut by no loss that explains it, or nobody applied or counted it again.
    Cut,
    /// A write acknowledged as `replicated` was cut.
    ReplicatedCut,
}

impl Rule {
    pub fn invariant(self) -> Invariant {
        use Rule::*;
        match self {
            Lost | Twice | Ghost | Fork | Late | Order | Condition | NotFresh | Strange => Invariant::S1,
            OutOfBound | OwnWrite | Below | NotBehind | FalseAbsence => Invariant::S2,
            Staler => Invariant::S3,
            Vanished | ReplayedTwice => Invariant::S4,
            Resurrection => Invariant::S5,
            Cut | ReplicatedCut => Invariant::S6,
        }
    }
}

/// A broken promise with the events that show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub rule: Rule,
    pub session: usize,
    pub shown_by: String,
}

/// The violations of a history, by session; `events` in any order.
pub fn check(history: &History) -> Vec<Violation> {
    let history = &History { events: as_redis_had_it(&history.events), ..history.clone() };
    let mut sessions: BTreeMap<usize, Vec<&Event>> = BTreeMap::new();
    for event in &history.events {
        sessions.entry(event.session).or_default().push(event);
    }
    let lossless = history.faults.iter().all(|fault| fault.lost.is_none());
    let mut found = Found::default();
    for (session, events) in sessions {
        found.session = session;
        strange(&events, &mut found);
        let path = Path::new(events);
        life::check(&path, history, &mut found);
        wanted::check(&path, lossless, &mut found);
        if lossless {
            path::check(&path, history, &mut found);
            version::check(&path, &mut found);
            reads::check(&path, &mut found);
        }
    }
    durability::check(history, lossless, &mut found);
    found.violations
}

/// An answer may hold changes that wait in its pod's journal, after all that Redis had: these are yet to come, in
/// another order perhaps.
fn as_redis_had_it(events: &[Event]) -> Vec<Event> {
    let waiting = |event: &Event, op: u64| {
        let may_wait = |other: &&Event| other.is_journaled() || other.outcome == Outcome::Unknown;
        let own = events.iter().filter(|other| other.pod == event.pod && other.session == event.session);
        own.filter(may_wait).any(|other| other.op() == Some(op))
    };
    let strip = |event: &Event| {
        let mut stripped = event.clone();
        if event.is_journaled()
            && let Outcome::Ok(Answer { document: Some(document), .. }) = &mut stripped.outcome
        {
            document.last = None;
            while document.marks.last().is_some_and(|op| waiting(event, *op)) {
                document.marks.pop();
            }
        }
        stripped
    };
    events.iter().map(strip).collect()
}

fn strange(events: &[&Event], found: &mut Found) {
    for event in events.iter().filter(|event| matches!(event.outcome, Outcome::Strange(_))) {
        found.report(Rule::Strange, [event.to_string()]);
    }
}

/// What was found so far, and in which session one is looking.
#[derive(Default)]
struct Found {
    session: usize,
    violations: Vec<Violation>,
}

impl Found {
    fn report(&mut self, rule: Rule, shown_by: impl IntoIterator<Item = String>) {
        let shown_by = shown_by.into_iter().collect::<Vec<_>>().join("\n    ");
        self.violations.push(Violation { rule, session: self.session, shown_by });
    }
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Outcome {
        Outcome::Ok(answer)
    }
}

impl Event {
    /// The mark that it leaves.
    pub fn op(&self) -> Option<u64> {
        match self.action {
            Action::Write { op, .. } | Action::Create { op } | Action::Foreign { op } => Some(op),
            Action::Read(_) | Action::Touch | Action::Delete | Action::Expire => None,
        }
    }

    pub fn ok(&self) -> Option<&Answer> {
        match &self.outcome {
            Outcome::Ok(answer) => Some(answer),
            Outcome::Absent(_) | Outcome::Fail | Outcome::Behind | Outcome::Unknown | Outcome::Strange(_) => {
                None
            }
        }
    }

    fn document(&self) -> Option<&Document> {
        self.ok()?.document.as_ref()
    }

    /// Applied by Redis when the answer came.
    fn is_applied(&self) -> bool {
        self.ok().is_some_and(|answer| answer.durability != Some(Durability::Local))
    }

    /// Promised by one pod, for later.
    fn is_journaled(&self) -> bool {
        self.ok().is_some_and(|answer| answer.durability == Some(Durability::Local))
    }

    /// From when on the answer may be true.
    fn since(&self) -> Duration {
        let slack = match &self.outcome {
            Outcome::Ok(answer) => answer.stale.unwrap_or(answer.bound),
            Outcome::Absent(bound) => *bound,
            Outcome::Fail | Outcome::Behind | Outcome::Unknown | Outcome::Strange(_) => Duration::ZERO,
        };
        self.invoked.saturating_sub(slack)
    }
}
