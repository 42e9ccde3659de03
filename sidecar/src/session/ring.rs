//! The writes of the last seconds that Redis acknowledged to this process. A Redis that comes back without its last
//! ones is told them again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::op::OpId;
use super::rule::{Change, Identity};
use super::write::Terms;
use super::{SessionId, Text};
use crate::redis::Incarnation;

/// A Redis that survives loses less than this; longer ago, others may have written over it, or deleted it.
pub(crate) const AGE: Duration = Duration::from_secs(10);
const MAX_BYTES: usize = 2 << 20;
/// What a write costs beside its texts: digests, id, maps.
const OVERHEAD: usize = 384;
/// As many operation ids does Redis remember of a session, in bytes.
const REMEMBERED: usize = 16 * 8;

/// One compare-and-set that was acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) op: OpId,
    /// Digests; a creation has no base and a deletion no result.
    pub(crate) base: Option<String>,
    pub(crate) result: Option<String>,
    pub(crate) wishes: Vec<Wish>,
}

/// What one client wanted of it.
#[derive(Debug, Clone)]
pub(crate) enum Wish {
    /// Can be laid over whatever the session has become.
    Merge(Arc<Change>, Identity),
    /// Was meant for the very state that it was made from.
    Bound,
}

impl Wish {
    pub(crate) fn of(change: &Arc<Change>, terms: &Terms) -> Wish {
        match &**change {
            Change::Merge(..) if terms.condition.is_unconditional() => {
                Wish::Merge(Arc::clone(change), terms.identity)
            }
            Change::Merge(..) | Change::Patch(_) | Change::Replace(_) => Wish::Bound,
        }
    }
}

/// The writes to one session, each made from the result of the one before or from what others made of that.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    pub(crate) incarnation: Incarnation,
    pub(crate) writes: VecDeque<Kept>,
    /// The bytes of the last result; none after a deletion.
    pub(crate) text: Option<Text>,
    pub(crate) expires_at: Instant,
    /// The first write that this incarnation was seen not to have. What others write pushes out what shows it.
    lost: Option<(Incarnation, OpId)>,
}

#[derive(Debug, Default)]
pub(crate) struct Ring {
    inner: Mutex<Inner>,
    /// Held by whoever repairs a session: what becomes of it is counted once.
    pub(crate) turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Inner {
    bytes: usize,
    /// One for each incarnation, the oldest first; seldom more than one.
    chains: HashMap<SessionId, VecDeque<Chain>>,
    /// One for each write, in the order of their acknowledgement.
    order: VecDeque<(Instant, SessionId)>,
}

impl Ring {
    /// Returns how many writes were forgotten too early to make room.
    pub(crate) fn record(
        &self,
        id: &SessionId,
        incarnation: &Incarnation,
        written: Kept,
        text: Option<&Text>,
        expires_at: Instant,
        now: Instant,
    ) -> usize {
        let mut inner = self.inner();
        let cost = cost(&written);
        let chains = inner.chains.entry(id.clone()).or_default();
        // A write that was sent again meets an incarnation that nobody has told yet what the one before knew.
        if chains.back().is_none_or(|chain| chain.incarnation != *incarnation) {
            chains.push_back(Chain::of(incarnation.clone(), expires_at));
        }
        let chain = chains.back_mut().expect("there is one by now");
        let before = chain.text.as_ref().map_or(0, |text| text.len());
        chain.writes.push_back(written);
        chain.text = text.cloned();
        chain.expires_at = expires_at;
        inner.bytes = inner.bytes + cost + text.map_or(0, |text| text.len()) - before;
        inner.order.push_back((now, id.clone()));
        let mut lost = 0;
        while inner.bytes > MAX_BYTES && inner.forget_first() {
            lost += 1;
        }
        lost
    }

    /// While Redis answers: forgets what it has kept for long enough. What another incarnation acknowledged waits
    /// for its repair.
    pub(crate) fn prune(&self, now: Instant, current: impl Fn(&SessionId) -> Option<Incarnation>) {
        let mut inner = self.inner();
        while let Some((at, id)) = inner.order.front() {
            let kept =
                || inner.oldest(id).is_some_and(|chain| current(id).as_ref() != Some(&chain.incarnation));
            if now.saturating_duration_since(*at) < AGE || kept() {
                return;
            }
            inner.forget_first();
        }
    }

    /// What another incarnation than `current` acknowledged for the session.
    pub(crate) fn unrepaired(&self, id: &SessionId, current: &Incarnation) -> Option<Chain> {
        self.inner().oldest(id).filter(|chain| chain.incarnation != *current).cloned()
    }

    /// Whether anything is known of the session that an incarnation may not have.
    pub(crate) fn knows(&self, id: &SessionId) -> bool {
        self.inner().oldest(id).is_some()
    }

    /// All sessions with such writes: what was deleted first, for others wait with what they know of it, and not for
    /// long; then the oldest.
    pub(crate) fn all_unrepaired(
        &self,
        current: impl Fn(&SessionId) -> Option<Incarnation>,
    ) -> Vec<SessionId> {
        let inner = self.inner();
        let other = |id: &&SessionId| {
            let chain = inner.oldest(id);
            chain.is_some_and(|chain| current(id).is_some_and(|current| current != chain.incarnation))
        };
        let mut seen = std::collections::HashSet::new();
        let ids = inner.order.iter().map(|(_, id)| id).filter(other).filter(|id| seen.insert(*id));
        let mut ids: Vec<SessionId> = ids.cloned().collect();
        ids.sort_by_key(|id| inner.oldest(id).is_some_and(|chain| chain.text.is_some()));
        ids
    }

    /// The writes from this one on are not in that incarnation.
    pub(crate) fn lost(&self, id: &SessionId, chain: &Chain, current: &Incarnation, from: usize) {
        let Some(op) = chain.writes.get(from).map(|written| written.op) else { return };
        let mut inner = self.inner();
        let kept = inner.chains.get_mut(id).and_then(VecDeque::front_mut);
        if let Some(kept) = kept.filter(|kept| kept.incarnation == chain.incarnation) {
            kept.lost = Some((current.clone(), op));
        }
    }

    /// Repaired, or beyond it.
    pub(crate) fn remove(&self, id: &SessionId, incarnation: &Incarnation) {
        let mut inner = self.inner();
        if inner.oldest(id).is_some_and(|chain| chain.incarnation == *incarnation) {
            inner.remove_oldest(id);
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn oldest(&self, id: &SessionId) -> Option<&Chain> {
        self.chains.get(id)?.front()
    }

    fn forget_first(&mut self) -> bool {
        let Some((_, id)) = self.order.pop_front() else { return false };
        let Some(chain) = self.chains.get_mut(&id).and_then(VecDeque::front_mut) else { return true };
        self.bytes -= chain.writes.pop_front().map_or(0, |written| cost(&written));
        if chain.writes.is_empty() {
            self.take_oldest(&id);
        }
        true
    }

    fn remove_oldest(&mut self, id: &SessionId) {
        let mut gone = self.take_oldest(id);
        self.order.retain(|(_, other)| {
            let of_it = other == id && gone > 0;
            gone -= usize::from(of_it);
            !of_it
        });
    }

    /// Returns how many writes it had.
    fn take_oldest(&mut self, id: &SessionId) -> usize {
        let Some(chains) = self.chains.get_mut(id) else { return 0 };
        let Some(chain) = chains.pop_front() else { return 0 };
        if chains.is_empty() {
            self.chains.remove(id);
        }
        self.bytes -= chain.writes.iter().map(cost).sum::<usize>() + chain.text.map_or(0, |text| text.len());
        chain.writes.len()
    }
}

fn cost(written: &Kept) -> usize {
    let wishes = written.wishes.iter().map(|wish| match wish {
        Wish::Merge(change, _) => change.len(),
        Wish::Bound => 0,
    });
    OVERHEAD + wishes.sum::<usize>()
}

/// What became of a chain, seen from the bytes that the new incarnation holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    /// The last write is there.
    Whole,
    /// The writes from this one on are lost, and nobody has written since.
    Cut(usize),
    /// Somebody has written: after them, or instead of them.
    Unknown,
}

impl Chain {
    pub(crate) fn of(incarnation: Incarnation, expires_at: Instant) -> Chain {
        Chain { incarnation, writes: VecDeque::new(), text: None, expires_at, lost: None }
    }

    /// `current`: the digest of the bytes there are, if any.
    pub(crate) fn sight(&self, current: Option<&str>) -> Sight {
        let Some(last) = self.writes.back() else { return Sight::Whole };
        if last.result.as_deref() == current && current.is_some() {
            return Sight::Whole;
        }
        let Some(current) = current else { return Sight::Cut(0) };
        let is = |digest: &Option<String>| digest.as_deref() == Some(current);
        if let Some(at) = self.writes.iter().rposition(|written| is(&written.result)) {
            return Sight::Cut(at + 1);
        }
        self.writes.iter().rposition(|written| is(&written.base)).map_or(Sight::Unknown, Sight::Cut)
    }

    /// The first write that is not among the operations which Redis remembers; none if the last one is. Where Redis
    /// remembers as many as it can and none of these, nobody can say: `Err`.
    pub(crate) fn first_lost(
        &self,
        current: &Incarnation,
        remembered: &[u8],
    ) -> Result<Option<usize>, Undecided> {
        if let Some((_, op)) = self.lost.as_ref().filter(|(seen_in, _)| seen_in == current) {
            return Ok(Some(self.writes.iter().position(|written| written.op == *op).unwrap_or(0)));
        }
        let known = |op: &OpId| remembered.chunks_exact(8).any(|known| known == op.as_bytes());
        match self.writes.iter().rposition(|written| known(&written.op)) {
            Some(at) => Ok((at + 1 < self.writes.len()).then_some(at + 1)),
            None if remembered.len() >= REMEMBERED => Err(Undecided),
            None => Ok(Some(0)),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Undecided;

#[cfg(test)]
#[path = "ring_tests.rs"]
mod tests;
