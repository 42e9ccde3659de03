//! Sessions kept in memory for as long as Redis would say if somebody changed them. A fill is kept only if nothing
//! was heard of its key since before it was sent; what is heard of is dropped; bytes are counted, and the longest
//! unused go first.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::flight::Air;
use super::rules::Coherence;
use super::store::Stored;
use super::{Error, SessionId, Text};
use crate::redis::{Changed, Epoch};

const SHARDS: usize = 16;
/// Keys that share a generation cost each other a fill, and nothing else.
const GENERATIONS: usize = 256;
/// What a copy costs beside its bytes and its id's: the tables' share, and the allocator's.
const OVERHEAD: usize = 384;
/// Every copy is read anew after this, whatever was heard of.
const LONGEST: Duration = Duration::from_secs(60);
const PREFIX: &[u8] = b"hyperpage:session:";

#[derive(Debug)]
pub(crate) struct L1 {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    /// Of each shard; 0: nothing is kept.
    budget: usize,
    coherence: Coherence,
    /// Reads under way; one that an own write has overtaken is joined by nobody.
    pub(super) air: Air<Result<Option<Stored>, Error>>,
    metrics: Metrics,
}

#[derive(Debug)]
struct Shard {
    copies: IndexMap<SessionId, Copy>,
    bytes: usize,
    /// Where the search for what is to go was left.
    hand: usize,
    generations: [u64; GENERATIONS],
}

#[derive(Debug)]
struct Copy {
    text: Text,
    /// When its life ends, by what was left of it when it was read.
    ends: Option<Instant>,
    read: Instant,
    /// The connection's on which it was read.
    epoch: Option<Arc<Epoch>>,
    /// It may have been changed since then, when it was known to be current.
    ended: Option<Instant>,
    used: bool,
}

#[derive(Debug, Default, Clone)]
struct Metrics {
    bytes: Gauge,
    entries: Gauge,
    evictions: Counter,
    expired: Counter,
}

/// What was so before a read was sent.
#[derive(Debug)]
pub(crate) struct Fill {
    epoch: Arc<Epoch>,
    generation: u64,
    sent: Instant,
}

/// An own write is under way; Redis says nothing of it on the connection that it was sent on.
#[derive(Debug)]
pub(crate) struct Sending<'a> {
    l1: &'a L1,
    id: &'a SessionId,
}

impl L1 {
    pub(crate) fn new(budget: usize, coherence: Coherence, registry: &mut Registry) -> L1 {
        let metrics = Metrics::default();
        let Metrics { bytes, entries, evictions, expired } = metrics.clone();
        registry.register("sessions_l1_bytes", "Bytes of the sessions kept in memory", bytes);
        registry.register("sessions_l1_entries", "Sessions kept in memory", entries);
        registry.register("sessions_l1_evictions", "Sessions that made place for others", evictions);
        registry.register(
            "sessions_expired",
            "Sessions kept in memory that Redis dropped at the end of their life; each pod counts those that it kept",
            expired,
        );
        let shard = |_| Mutex::new(Shard::default());
        let shards = std::array::from_fn(shard);
        L1 {
            shards,
            hasher: RandomState::new(),
            budget: budget / SHARDS,
            coherence,
            air: Air::default(),
            metrics,
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.budget > 0
    }

    /// What may be served now; `epoch` is that of the connection to the node that owns the session.
    pub(crate) fn get(&self, id: &SessionId, epoch: Option<&Arc<Epoch>>, now: Instant) -> Option<Stored> {
        let (mut shard, _) = self.shard(id);
        let copy = shard.copies.get_mut(id)?;
        let own = copy.epoch.as_ref()?;
        let held = epoch.is_some_and(|epoch| Arc::ptr_eq(epoch, own) && epoch.holds(now));
        if copy.ended.is_some() || (self.coherence.lease_checked && !held) || now >= copy.read + LONGEST {
            return None;
        }
        copy.used = true;
        copy.stored(now)
    }

    /// What was known last, and how long ago it was known to be current.
    pub(crate) fn stale(&self, id: &SessionId, now: Instant) -> Option<(Stored, Duration)> {
        let (shard, _) = self.shard(id);
        let copy = shard.copies.get(id)?;
        Some((copy.stored(now)?, now.saturating_duration_since(copy.known())))
    }

    /// Whatever was known to be current at that time, or later.
    pub(crate) fn known_since(&self, since: Instant, now: Instant) -> Vec<SessionId> {
        let mut ids = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let known = shard.copies.iter().filter(|(_, copy)| copy.known() >= since && !copy.is_over(now));
            ids.extend(known.map(|(id, _)| id.clone()));
        }
        ids
    }

    /// Before a read is sent. None: its answer will not be kept.
    pub(crate) fn fill(&self, id: &SessionId, epoch: Option<Arc<Epoch>>, now: Instant) -> Option<Fill> {
        let epoch = epoch.filter(|_| self.is_on())?;
        let (shard, bucket) = self.shard(id);
        Some(Fill { epoch, generation: shard.generations[bucket], sent: now })
    }

    /// `epoch` is that of the connection that answered.
    pub(crate) fn keep(&self, id: &SessionId, fill: &Fill, stored: &Stored, epoch: Option<&Arc<Epoch>>) {
        if !epoch.is_some_and(|epoch| Arc::ptr_eq(epoch, &fill.epoch)) {
            return;
        }
        let (mut shard, bucket) = self.shard(id);
        if shard.generations[bucket] == fill.generation {
            self.insert(&mut shard, id, Copy::new(stored, Some(fill.epoch.clone()), fill.sent, None));
        }
    }

    /// A touch reads what it renews: it is kept like a fill, and fills under way know less.
    pub(crate) fn renew(&self, id: &SessionId, fill: &Fill, stored: &Stored, epoch: Option<&Arc<Epoch>>) {
        self.keep(id, fill, stored, epoch);
        let (mut shard, bucket) = self.shard(id);
        shard.generations[bucket] += 1;
    }

    pub(crate) fn sending<'a>(&'a self, id: &'a SessionId) -> Sending<'a> {
        self.bump(id);
        Sending { l1: self, id }
    }

    /// An own write was acknowledged: these are the bytes, and nothing is heard of others yet.
    pub(crate) fn wrote(&self, id: &SessionId, stored: &Stored, sent: Instant) {
        if !self.coherence.bump_on_own_write || !self.is_on() {
            return;
        }
        let (mut shard, bucket) = self.shard(id);
        shard.generations[bucket] += 1;
        self.insert(&mut shard, id, Copy::new(stored, None, sent, Some(sent)));
    }

    /// It is not there any more.
    pub(crate) fn gone(&self, id: &SessionId) {
        let _for_nobody = self.take(id);
    }

    /// It was changed, or is not there any more; once its life is over, that is why.
    pub(crate) fn went(&self, id: &SessionId, now: Instant) {
        if self.take(id).is_some_and(|copy| copy.is_over(now)) {
            self.metrics.expired.inc();
        }
    }

    /// Called while a connection is read.
    pub(crate) fn heard(&self, changed: Changed<'_>) {
        match changed {
            Changed::Key(key) => {
                let id = key.strip_prefix(PREFIX).and_then(|id| std::str::from_utf8(id).ok());
                if let Some(id) = id.and_then(|id| SessionId::parse(id).ok()) {
                    self.went(&id, Instant::now());
                }
            }
            Changed::All if !self.coherence.flush_on_null => {}
            Changed::All => {
                for shard in &self.shards {
                    let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
                    shard.generations.iter_mut().for_each(|generation| *generation += 1);
                    // Kept, and not served: after a wipe they may be all that is left.
                    shard.copies.values_mut().for_each(|copy| copy.end());
                }
            }
        }
    }

    /// Fills that were begun before are not kept, and what there is is not served.
    fn bump(&self, id: &SessionId) {
        if !self.coherence.bump_on_own_write {
            return;
        }
        self.air.close(id);
        let (mut shard, bucket) = self.shard(id);
        shard.generations[bucket] += 1;
        if let Some(copy) = shard.copies.get_mut(id) {
            copy.end();
        }
    }

    /// And no fill that was begun before is kept.
    fn take(&self, id: &SessionId) -> Option<Copy> {
        let (mut shard, bucket) = self.shard(id);
        shard.generations[bucket] += 1;
        self.remove(&mut shard, id)
    }

    fn insert(&self, shard: &mut Shard, id: &SessionId, copy: Copy) {
        self.remove(shard, id);
        let cost = cost(id, &copy);
        if cost > self.budget {
            return;
        }
        while shard.bytes + cost > self.budget {
            let Some((evicted, copy)) = shard.longest_unused() else { break };
            self.forget(shard, &evicted, &copy);
            self.metrics.evictions.inc();
        }
        shard.bytes += cost;
        self.metrics.bytes.inc_by(cost.cast_signed() as i64);
        self.metrics.entries.inc();
        shard.copies.insert(id.clone(), copy);
    }

    fn remove(&self, shard: &mut Shard, id: &SessionId) -> Option<Copy> {
        let copy = shard.copies.swap_remove(id)?;
        self.forget(shard, id, &copy);
        Some(copy)
    }

    fn forget(&self, shard: &mut Shard, id: &SessionId, copy: &Copy) {
        let cost = cost(id, copy);
        shard.bytes -= cost;
        self.metrics.bytes.dec_by(cost.cast_signed() as i64);
        self.metrics.entries.dec();
    }

    /// The shard of a session, and where its generation is there.
    fn shard(&self, id: &SessionId) -> (MutexGuard<'_, Shard>, usize) {
        let hash = self.hasher.hash_one(id) as usize;
        let shard = self.shards[hash % SHARDS].lock().unwrap_or_else(PoisonError::into_inner);
        (shard, hash / SHARDS % GENERATIONS)
    }
}

impl Drop for Sending<'_> {
    /// Answered, given up, or never to be answered: a fill that was sent meanwhile may have overtaken it.
    fn drop(&mut self) {
        self.l1.bump(self.id);
    }
}

impl Default for Shard {
    fn default() -> Shard {
        Shard { copies: IndexMap::new(), bytes: 0, hand: 0, generations: [0; GENERATIONS] }
    }
}

impl Shard {
    /// The first since the last search that was not used in the meantime.
    fn longest_unused(&mut self) -> Option<(SessionId, Copy)> {
        // Each is passed once and taken the second time at the latest.
        for _ in 0..=2 * self.copies.len() {
            self.hand = if self.hand < self.copies.len() { self.hand } else { 0 };
            let (_, copy) = self.copies.get_index_mut(self.hand)?;
            if !std::mem::take(&mut copy.used) {
                return self.copies.swap_remove_index(self.hand);
            }
            self.hand += 1;
        }
        None
    }
}

impl Copy {
    fn new(stored: &Stored, epoch: Option<Arc<Epoch>>, read: Instant, ended: Option<Instant>) -> Copy {
        let left = u64::try_from(stored.left_ms).ok().map(Duration::from_millis);
        let ends = left.and_then(|left| read.checked_add(left));
        Copy { text: stored.text.clone(), ends, read, epoch, ended, used: false }
    }

    /// Whatever is heard of happened since the last PING that was answered.
    fn end(&mut self) {
        let known = self.known();
        self.ended.get_or_insert(known);
    }

    /// When it was known to be current for the last time.
    fn known(&self) -> Instant {
        let held = || self.epoch.as_ref().map_or(self.read, |epoch| epoch.known().max(self.read));
        self.ended.unwrap_or_else(held)
    }

    fn is_over(&self, now: Instant) -> bool {
        self.ends.is_some_and(|ends| ends <= now)
    }

    /// None when its life is over.
    fn stored(&self, now: Instant) -> Option<Stored> {
        let left_ms = match self.ends {
            Some(ends) => i64::try_from(ends.checked_duration_since(now)?.as_millis()).ok()?,
            None => -1,
        };
        Some(Stored { text: self.text.clone(), left_ms })
    }
}

fn cost(id: &SessionId, copy: &Copy) -> usize {
    copy.text.len() + id.as_str().len() + OVERHEAD
}

#[cfg(test)]
#[path = "l1_tests.rs"]
mod tests;
