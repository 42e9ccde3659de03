//! What several sidecars did together, and what of it breaks a promise. All times are of one clock.

mod barrier;
mod leader;
mod messages;
mod print;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What was seen of one run.
#[derive(Debug, Clone, Default)]
pub struct History {
    pub wins: Vec<Win>,
    pub claims: Vec<Claim>,
    /// What leaders had done, as each listener heard of it, in its order.
    pub effects: BTreeMap<String, Vec<Effect>>,
    pub published: Vec<Published>,
    /// By app.
    pub heard: BTreeMap<String, Listener>,
    pub barriers: Vec<Barrier>,
    pub reads: Vec<Read>,
    pub faults: Vec<Fault>,
    /// Whether two leaders at once are excluded by more than the fence.
    pub exclusive: bool,
    /// When all was well again, all named one leader.
    pub settled: bool,
}

/// An election, as its winner saw it.
#[derive(Debug, Clone)]
pub struct Win {
    pub process: String,
    pub term: u64,
    pub nonce: String,
    /// From the asking for the lease to the knowledge that it is held.
    pub invoked: Duration,
    pub ok: Duration,
}

/// A process may act in this time.
#[derive(Debug, Clone)]
pub struct Claim {
    pub process: String,
    pub term: u64,
    pub nonce: String,
    pub from: Duration,
    pub until: Duration,
}

#[derive(Debug, Clone, Copy)]
pub struct Effect {
    pub term: u64,
    pub at: Duration,
}

/// Acknowledged.
#[derive(Debug, Clone)]
pub struct Published {
    pub id: String,
    pub position: Position,
    /// The app that it is for; all, if none is named.
    pub to: Option<String>,
    pub invoked: Duration,
    pub ok: Duration,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub n: u64,
    pub seq: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.n, self.seq)
    }
}

impl FromStr for Position {
    type Err = String;

    fn from_str(text: &str) -> Result<Position, String> {
        let read = |text: &str| text.parse().ok();
        let position =
            text.split_once('-').and_then(|(n, seq)| Some(Position { n: read(n)?, seq: read(seq)? }));
        position.ok_or_else(|| format!("no position: {text}"))
    }
}

/// What one app was told, by whichever process was its sidecar.
#[derive(Debug, Clone, Default)]
pub struct Listener {
    /// Since when it surely listened, and until when.
    pub from: Duration,
    pub until: Duration,
    pub told: Vec<Told>,
}

#[derive(Debug, Clone)]
pub struct Told {
    pub at: Duration,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Another process speaks from now on; it does not know what messages the one before told of.
    Began,
    Message {
        position: Position,
        id: String,
    },
    /// What is there is nothing to this app.
    Place(Position),
    /// These, and all between, are said to be lost.
    Gap {
        from: Position,
        to: Position,
    },
    /// Anything may be lost up to here, or to a place that is not said.
    Resync {
        to: Option<Position>,
    },
}

/// 200: all have applied that a key has this version, or serve nothing.
#[derive(Debug, Clone)]
pub struct Barrier {
    pub key: usize,
    pub version: u64,
    pub ok: Duration,
}

/// A process served a key from its memory.
#[derive(Debug, Clone)]
pub struct Read {
    pub process: String,
    pub key: usize,
    pub version: u64,
    pub invoked: Duration,
}

/// What the nemesis did, or tried to.
#[derive(Debug, Clone)]
pub struct Fault {
    pub name: &'static str,
    pub begun: Duration,
    pub ended: Duration,
    pub happened: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// L1: a term is one election's.
    OneNonce,
    /// L2: a later election has a higher term.
    Rising,
    /// L3: nothing is done under a term that is over.
    Fenced,
    /// L4: two do not lead at once.
    Disjoint,
    /// L5: there is a leader again.
    Leaderless,
    /// M1: numbers rise.
    Order,
    /// M2: what is missing is said to be.
    Gap,
    /// M3: what was acknowledged comes, or it is said that it does not.
    Lost,
    /// M4: nothing comes twice.
    Twice,
    /// R1: after the barrier nobody serves what was before it.
    Barrier,
}

#[derive(Debug, Clone)]
pub struct Violation {
    pub rule: Rule,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

/// Every violation, in the order of the rules.
pub fn check(history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut object = |rule: Rule, what: String| found.push(Violation { rule, what });
    leader::check(history, &mut object);
    messages::check(history, &mut object);
    barrier::check(history, &mut object);
    found
}
