//! Changes that were acknowledged while Redis was away: in memory, in the order of their coming, bounded in bytes
//! and in age. Whoever knows the session sees them in it; a replay brings them to Redis.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Mutex as Lock;

use super::op::OpId;
use super::rule::{self, Change, Identity, Stamp};
use super::{Error, SessionId, Text};

/// What an entry costs beside its texts: the maps, the id twice.
const OVERHEAD: usize = 512;

/// What a client wanted. Each can be applied to whatever the session has become.
#[derive(Debug)]
pub(crate) enum Intent {
    Merge(Arc<Change>, Identity),
    Touch,
    Delete,
    /// A whole new session; only where nothing is promised (`SESSION_FALLBACK_TO_MEMORY=true`).
    Create(Text),
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Minted when it was acknowledged, so that Redis knows it again.
    pub(crate) op: OpId,
    pub(crate) intent: Arc<Intent>,
    pub(crate) at: Instant,
    /// Sent without an answer: Redis may have executed it, and is asked again with the same.
    pub(crate) attempt: Option<Attempt>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) base: String,
    pub(crate) text: Text,
}

/// A session as this process knew it last, with what it has journaled since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    /// None: deleted.
    pub(crate) text: Option<Text>,
    /// Redis said so then, or it was certain to be told of a change until then.
    pub(crate) current_at: Instant,
    /// None: never.
    pub(crate) expires_at: Option<Instant>,
}

/// Where the clock stands, for what ages here and for what is written into a session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) instant: Instant,
    pub(crate) ms: i64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) bytes: usize,
    pub(crate) age: Duration,
    /// Of a session, from its last write or touch.
    pub(crate) life: Duration,
}

#[derive(Debug)]
pub(crate) struct Journal {
    limits: Limits,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    bytes: usize,
    entries: BTreeMap<u64, (SessionId, Entry)>,
    sessions: HashMap<SessionId, Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    seqs: VecDeque<u64>,
    view: Option<View>,
    /// When Redis will have let it expire, none of this being told; if that is known.
    expires_at: Option<Instant>,
    /// Whoever replays for this session holds it.
    turn: Arc<Lock<()>>,
}

/// Why a change was not journaled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    /// It is known to be over, or deleted here; Redis has yet to be asked.
    Over,
    /// The change itself cannot be applied.
    Unfit(Error),
}

/// What is there, for people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Depth {
    pub(crate) entries: usize,
    pub(crate) bytes: usize,
    pub(crate) oldest: Duration,
}

impl Journal {
    pub(crate) fn new(limits: Limits) -> Journal {
        Journal { limits, inner: Mutex::default() }
    }

    /// `known` is what this process held of the session before its first change here.
    pub(crate) fn append(
        &self,
        id: &SessionId,
        op: OpId,
        intent: Intent,
        known: Option<View>,
        now: Now,
    ) -> Result<Option<View>, Refused> {
        let mut inner = self.inner();
        let before = inner.sessions.get(id).map(|pending| pending.view.clone());
        let first = before.is_none();
        let base = before.unwrap_or(known);
        let expires_at = base.as_ref().and_then(|view| view.expires_at);
        let view = after(base.as_ref(), &intent, self.limits.life, now)?;
        let held = if first { 0 } else { text_bytes(base.as_ref()) };
        let cost = cost(&intent);
        let bytes = inner.bytes + cost + text_bytes(view.as_ref()) - held;
        if bytes > self.limits.bytes {
            return Err(Refused::Full);
        }
        inner.bytes = bytes;
        let seq = inner.next;
        inner.next += 1;
        let entry = Entry { op, intent: Arc::new(intent), at: now.instant, attempt: None };
        inner.entries.insert(seq, (id.clone(), entry));
        let fresh = || Pending { expires_at, ..Pending::default() };
        let pending = inner.sessions.entry(id.clone()).or_insert_with(fresh);
        pending.seqs.push_back(seq);
        pending.view = view.clone();
        Ok(view)
    }

    /// What is waited for before anything else is asked of Redis about this session.
    pub(crate) fn turn(&self, id: &SessionId) -> Option<Arc<Lock<()>>> {
        self.inner().sessions.get(id).map(|pending| Arc::clone(&pending.turn))
    }

    pub(crate) fn has(&self, id: &SessionId) -> bool {
        self.inner().sessions.contains_key(id)
    }

    /// None: nothing is journaled for the session. Some(None): changes of a session that is not known here.
    pub(crate) fn view(&self, id: &SessionId) -> Option<Option<View>> {
        self.inner().sessions.get(id).map(|pending| pending.view.clone())
    }

    /// The next of this session to be replayed, with its number.
    pub(crate) fn first(&self, id: &SessionId) -> Option<(u64, Entry)> {
        let inner = self.inner();
        let seq = *inner.sessions.get(id)?.seqs.front()?;
        inner.entries.get(&seq).map(|(_, entry)| (seq, entry.clone()))
    }

    /// Whether the session's life is over, none of its changes having reached Redis.
    pub(crate) fn is_expired(&self, id: &SessionId, now: Instant) -> bool {
        let inner = self.inner();
        inner
            .sessions
            .get(id)
            .and_then(|pending| pending.expires_at)
            .is_some_and(|expires_at| expires_at <= now)
    }

    /// None: no attempt can have acted.
    pub(crate) fn attempted(&self, seq: u64, attempt: Option<Attempt>) {
        let mut inner = self.inner();
        let Inner { bytes, entries, .. } = &mut *inner;
        if let Some((_, entry)) = entries.get_mut(&seq) {
            *bytes += attempt.as_ref().map_or(0, Attempt::len);
            *bytes -= entry.attempt.as_ref().map_or(0, Attempt::len);
            entry.attempt = attempt;
        }
    }

    /// Whether it was there still.
    pub(crate) fn remove(&self, seq: u64) -> bool {
        self.inner().remove(seq)
    }

    /// The sessions with changes, the longest waiting first.
    pub(crate) fn sessions(&self) -> Vec<SessionId> {
        let inner = self.inner();
        let first = |seq: &u64, id: &SessionId| {
            inner.sessions.get(id).is_some_and(|pending| pending.seqs.front() == Some(seq))
        };
        let firsts = inner.entries.iter().filter(|(seq, (id, _))| first(seq, id));
        firsts.map(|(_, (id, _))| id.clone()).collect()
    }

    /// Drops what is too old to be replayed, and says how much that was. What Redis may have executed, or is just
    /// being told, stays.
    pub(crate) fn expire(&self, now: Instant) -> usize {
        let mut inner = self.inner();
        let old = |entry: &Entry| now.saturating_duration_since(entry.at) > self.limits.age;
        let told =
            |id: &SessionId| inner.sessions.get(id).is_some_and(|pending| pending.turn.try_lock().is_err());
        let entries = inner.entries.iter().take_while(|(_, (_, entry))| old(entry));
        let gone: Vec<u64> = entries
            .filter(|(_, (id, entry))| entry.attempt.is_none() && !told(id))
            .map(|(seq, _)| *seq)
            .collect();
        gone.iter().filter(|seq| inner.remove(**seq)).count()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.inner().entries.is_empty()
    }

    pub(crate) fn depth(&self, now: Instant) -> Depth {
        let inner = self.inner();
        let oldest = inner.entries.values().next().map(|(_, entry)| now.saturating_duration_since(entry.at));
        Depth { entries: inner.entries.len(), bytes: inner.bytes, oldest: oldest.unwrap_or_default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn remove(&mut self, seq: u64) -> bool {
        let Some((id, entry)) = self.entries.remove(&seq) else { return false };
        self.bytes -= cost(&entry.intent) + entry.attempt.as_ref().map_or(0, Attempt::len);
        let Some(pending) = self.sessions.get_mut(&id) else { return true };
        pending.seqs.retain(|other| *other != seq);
        if pending.seqs.is_empty() {
            self.bytes -= text_bytes(pending.view.as_ref());
            self.sessions.remove(&id);
        }
        true
    }
}

impl Attempt {
    fn len(&self) -> usize {
        self.base.len() + self.text.len()
    }
}

/// The session as it is seen here after the change; None where it is not known.
fn after(base: Option<&View>, intent: &Intent, life: Duration, now: Now) -> Result<Option<View>, Refused> {
    let expires_at = now.instant.checked_add(life);
    if let Intent::Create(text) = intent {
        return Ok(Some(View { text: Some(text.clone()), current_at: now.instant, expires_at }));
    }
    let Some(View { text, current_at, expires_at: over }) = base else {
        // Whatever the session is, it is deleted here from now on.
        return Ok(match intent {
            Intent::Delete => Some(View { text: None, current_at: now.instant, expires_at }),
            Intent::Merge(..) | Intent::Touch | Intent::Create(_) => None,
        });
    };
    let Some(text) = text.as_ref().filter(|_| over.is_none_or(|over| now.instant < over)) else {
        return Err(Refused::Over);
    };
    let text = match intent {
        Intent::Merge(change, identity) => {
            let merged = rule::update(text, change, *identity, now.ms, Stamp::After);
            Some(merged.map_err(|refusal| Refused::Unfit(refusal.into()))?.into())
        }
        Intent::Touch | Intent::Create(_) => Some(text.clone()),
        Intent::Delete => None,
    };
    Ok(Some(View { text, current_at: *current_at, expires_at }))
}

fn cost(intent: &Intent) -> usize {
    OVERHEAD
        + match intent {
            Intent::Merge(change, _) => change.len(),
            Intent::Create(text) => text.len(),
            Intent::Touch | Intent::Delete => 0,
        }
}

fn text_bytes(view: Option<&View>) -> usize {
    view.and_then(|view| view.text.as_ref()).map_or(0, |text| text.len())
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
