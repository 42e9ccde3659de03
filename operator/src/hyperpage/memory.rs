//! What this process remembers of each Hyperpage. Losing it costs requests, never correctness.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::sync::OwnedMutexGuard;

use super::{Problem, bus, tell::Deed};
use crate::{
    children::{ChildId, Family, Live},
    pods::Unstarted,
    settled::{self, Moves},
    shape::Shape,
};
use crds::HyperpageStatus;

/// A watch that lags longer than this is broken, and what it shows is believed again.
const LAG: Duration = Duration::from_secs(5);
/// Between writes of status that only count.
const PACE: Duration = Duration::from_secs(2);
/// A pod that starts nothing for longer has more than a slow image to wait for, perhaps.
const PATIENCE: Duration = Duration::from_secs(20);
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Of events that wait; then the oldest are lost.
const UNTOLD: usize = 32;
const LAST_RETRY: Duration = Duration::from_secs(60);

/// What the server answered us, until the watch shows it too.
#[derive(Debug)]
struct Written {
    /// Version that the watch showed before; `None`: no object.
    before: Option<String>,
    /// `None`: deleted.
    after: Option<Live>,
    at: Instant,
}

/// The status last written.
#[derive(Debug)]
struct LastStatus {
    status: HyperpageStatus,
    /// The watch has shown it since.
    shown: bool,
    at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum News {
    None,
    Now,
    Later(Duration),
}

#[derive(Debug, Default)]
pub struct Memory {
    shape: Shape,
    /// Fingerprints as our last applies returned them; `None` in a process that has not looked yet.
    applied: Option<BTreeMap<ChildId, String>>,
    written: BTreeMap<ChildId, Written>,
    moves: BTreeMap<ChildId, Moves>,
    /// Fingerprints that somebody else's move left behind, so that one move counts once.
    noted: BTreeMap<ChildId, String>,
    status: Option<LastStatus>,
    /// The problem already told in an event.
    pub problem: Option<Problem>,
    /// What was done and nobody has been told of yet: an error, or a status that could not be written, came first.
    untold: VecDeque<Deed>,
    /// Somebody's Secret was missing or of no use: it is read until it is not.
    pub refused: bool,
    /// The key of the bus, as it was read or written last.
    pub bus: Option<bus::Seen>,
    /// Pods that do not start, of which the Secrets have been looked at already.
    looked: BTreeSet<Unstarted>,
    failures: u32,
}

impl Memory {
    /// The children as they are now: as watched, or as we know better from our own last writes.
    pub fn correct(&mut self, mut watched: Family, now: Instant) -> Family {
        self.written.retain(|id, written| {
            let version = watched.get(id).map(|live| &live.version);
            version == written.before.as_ref() && now.duration_since(written.at) < LAG
        });
        for (id, written) in &self.written {
            match &written.after {
                Some(live) => watched.insert(id.clone(), live.clone()),
                None => watched.remove(id),
            };
        }
        watched
    }

    /// After a restart: the digest in status says whether the children are as the last process left them.
    pub fn recall(&mut self, family: &Family, digest: Option<&str>) {
        if self.applied.is_some() {
            return;
        }
        let known = digest.is_some_and(|digest| digest == self::digest(family));
        let fingerprints = family.iter().filter(|_| known);
        self.applied = Some(fingerprints.map(|(id, live)| (id.clone(), live.fingerprint.clone())).collect());
    }

    pub fn settled(&self, id: &ChildId, live: &Live, hash: &str) -> bool {
        self.shape == Shape::Lean
            && live.desired.as_deref() == Some(hash)
            && self.fingerprint(id) == Some(&live.fingerprint)
    }

    /// Notes who moved a child that we had applied.
    pub fn note_move(&mut self, id: &ChildId, live: &Live, now: Instant) {
        let moved = self.fingerprint(id).is_some_and(|ours| *ours != live.fingerprint);
        if moved
            && self.noted.insert(id.clone(), live.fingerprint.clone()).as_ref() != Some(&live.fingerprint)
        {
            let by = live.mover.as_deref().unwrap_or("an unnamed manager");
            self.moves.entry(id.clone()).or_default().moved(by, now);
        }
    }

    pub fn fight(&self, id: &ChildId, now: Instant) -> Option<&str> {
        self.moves.get(id)?.fight(now)
    }

    /// `before` is what the decision to write was based on, `after` the server's answer.
    pub fn wrote(&mut self, id: &ChildId, before: Option<&Live>, after: Option<Live>, now: Instant) {
        self.noted.remove(id);
        let applied = self.applied.get_or_insert_default();
        match &after {
            Some(live) => applied.insert(id.clone(), live.fingerprint.clone()),
            None => applied.remove(id),
        };
        let before = match self.written.remove(id) {
            Some(earlier) => earlier.before,
            None => before.map(|live| live.version.clone()),
        };
        self.written.insert(id.clone(), Written { before, after, at: now });
    }

    /// A live read showed a child that the watch does not.
    pub fn found(&mut self, id: &ChildId, live: Live, now: Instant) {
        self.written.insert(id.clone(), Written { before: None, after: Some(live), at: now });
    }

    pub fn last_status(&self) -> Option<&HyperpageStatus> {
        self.status.as_ref().map(|last| &last.status)
    }

    /// Whether a status is worth a write: it differs from the last one we wrote, or, once the watch has shown
    /// that one, from what somebody made of it. Pods that are counted up one by one do not each get a write.
    pub fn news(
        &mut self,
        status: &HyperpageStatus,
        watched: Option<&HyperpageStatus>,
        now: Instant,
    ) -> News {
        let Some(last) = &mut self.status else {
            if watched == Some(status) {
                self.wrote_status(status.clone(), now);
                return News::None;
            }
            return News::Now;
        };
        last.shown |= watched == Some(&last.status);
        if last.status == *status && (!last.shown || watched == Some(status)) {
            return News::None;
        }
        let counted = only_counts_differ(&last.status, status);
        match PACE.checked_sub(now.duration_since(last.at)).filter(|rest| counted && !rest.is_zero()) {
            Some(rest) => News::Later(rest),
            None => News::Now,
        }
    }

    pub fn wrote_status(&mut self, status: HyperpageStatus, now: Instant) {
        self.status = Some(LastStatus { status, shown: false, at: now });
    }

    /// Whether pods that have not started for long are a reason to look at the Secrets that they mount, and if not
    /// yet, when one will be. Each pod is a reason once.
    pub fn patience(&self, unstarted: &BTreeSet<Unstarted>, now: Timestamp) -> (bool, Option<Duration>) {
        let wait = |pod: &Unstarted| PATIENCE.saturating_sub(waited(pod, now));
        let look = unstarted.difference(&self.looked).any(|pod| wait(pod).is_zero());
        (look, unstarted.iter().map(wait).filter(|wait| !wait.is_zero()).min())
    }

    /// The Secrets have been looked at.
    pub fn looked(&mut self, mut unstarted: BTreeSet<Unstarted>, now: Timestamp) {
        unstarted.retain(|pod| waited(pod, now) >= PATIENCE);
        self.looked = unstarted;
    }

    pub fn did(&mut self, deed: Deed) {
        if self.untold.len() == UNTOLD {
            self.untold.pop_front();
        }
        self.untold.push_back(deed);
    }

    pub fn untold(&self) -> Option<&Deed> {
        self.untold.front()
    }

    /// The first of what was untold has been.
    pub fn told(&mut self) {
        self.untold.pop_front();
    }

    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// How long to wait after one more failure.
    pub fn failed(&mut self) -> Duration {
        let wait = FIRST_RETRY.saturating_mul(2_u32.saturating_pow(self.failures.min(10)));
        self.failures = self.failures.saturating_add(1);
        wait.min(LAST_RETRY)
    }

    fn fingerprint(&self, id: &ChildId) -> Option<&String> {
        self.applied.as_ref()?.get(id)
    }
}

/// Those that have not started for longer than a pod should need.
pub fn late(unstarted: &BTreeSet<Unstarted>, now: Timestamp) -> BTreeSet<String> {
    unstarted.iter().filter(|pod| waited(pod, now) >= PATIENCE).map(|pod| pod.pod.clone()).collect()
}

fn waited(pod: &Unstarted, now: Timestamp) -> Duration {
    now.duration_since(pod.since).try_into().unwrap_or_default()
}

/// All that a script would wait for is the same.
fn only_counts_differ(one: &HyperpageStatus, other: &HyperpageStatus) -> bool {
    let gist = |status: &HyperpageStatus| {
        let mut gist = HyperpageStatus { replicas: None, ready_replicas: None, app: None, ..status.clone() };
        gist.conditions.iter_mut().for_each(|condition| condition.message.clear());
        gist
    };
    gist(one) == gist(other)
}

/// One word for all children, for status: equal means that nobody has touched what we applied.
pub fn digest(family: &Family) -> String {
    let parts = family.iter().map(|(id, live)| (id.to_string(), &live.uid, &live.desired, &live.fingerprint));
    settled::hash(&parts.collect::<Vec<_>>())
}

/// By uid of the Hyperpage: one that is made again is a new one.
#[derive(Debug)]
pub struct Memories {
    shape: Shape,
    by_uid: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Memory>>>>,
}

impl Memories {
    pub fn of_shape(shape: Shape) -> Self {
        Self { shape, by_uid: Mutex::default() }
    }

    /// The controller never runs two reconciles of one object, so this waits only after a timeout.
    pub async fn of(&self, uid: &str) -> OwnedMutexGuard<Memory> {
        let new = || Arc::new(tokio::sync::Mutex::new(Memory { shape: self.shape, ..Memory::default() }));
        let memory = self.lock().entry(uid.to_owned()).or_insert_with(new).clone();
        memory.lock_owned().await
    }

    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    /// Forgets all others.
    pub fn keep(&self, uids: &HashSet<String>) {
        self.lock().retain(|uid, _| uids.contains(uid));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<tokio::sync::Mutex<Memory>>>> {
        self.by_uid.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
