//! Tells a Redis that came back without its last writes those that it acknowledged to this process.

use std::time::Instant;

use tokio::time::timeout;

use super::budget::Budget;
use super::durability::How;
use super::op::OpId;
use super::ring::{Chain, Sight, Wish};
use super::rule::Stamp;
use super::store::{Outcome, PutBack, Restore, Stored, Write};
use super::user::Standing;
use super::{Error, SessionId, Sessions, Text, now_ms, rule};
use crate::redis::Incarnation;

/// Deletions come first: what is missing is made again when every living sidecar has had the time to tell of them.
pub(super) const SETTLED_US: i64 = 1_000_000;
/// Others may have yet to tell of the writes that ours were made from.
const FORKED_US: i64 = 2_500_000;

impl Sessions {
    /// Whatever this process wrote to the session before Redis lost data is there, or reported. An error leaves it for
    /// another time.
    pub(super) async fn repaired(&self, id: &SessionId, budget: Budget) -> Result<(), Error> {
        let ring = &self.0.away.ring;
        let Some(current) = self.incarnation(id) else {
            return if self.owes(id) { Err(Error::repairing()) } else { Ok(()) };
        };
        if ring.unrepaired(id, &current).is_none() {
            return Ok(());
        }
        let _turn = timeout(budget.left(), ring.turn.lock()).await.map_err(|_| Error::no_time())?;
        let Some(chain) = ring.unrepaired(id, &current) else { return Ok(()) };
        let Repaired { restored, forked } = Box::pin(self.repair(id, &chain, &current, budget)).await?;
        ring.remove(id, &chain.incarnation);
        self.0.away.metrics.restored.inc_by(restored as u64);
        self.0.away.metrics.forked.inc_by(forked as u64);
        Ok(())
    }

    /// Whether there is anything to repair. A replica that was promoted answers before it takes a write, and so before
    /// it can say whose data it has: what is new may not come before what it may have lost.
    pub(super) fn owes(&self, id: &SessionId) -> bool {
        let ring = &self.0.away.ring;
        match self.incarnation(id) {
            Some(current) => ring.unrepaired(id, &current).is_some(),
            None => self.down_since(id).is_none() && ring.knows(id),
        }
    }

    async fn repair(
        &self,
        id: &SessionId,
        chain: &Chain,
        current: &Incarnation,
        budget: Budget,
    ) -> Result<Repaired, Error> {
        let (Some(text), Some(last)) = (&chain.text, chain.writes.back()) else {
            return self.bury(id, chain).await;
        };
        let left = chain.expires_at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Repaired::default());
        }
        let stored = self.0.store.read(id).await?;
        let found = stored.as_ref().map(|stored| stored.text.digest().to_owned());
        let sight = match stored.filter(|_| !self.0.rules.repair_by_digest) {
            Some(Stored { text: there, .. }) if there.version() >= text.version() => Sight::Whole,
            Some(_) => Sight::Cut(0),
            None => chain.sight(found.as_deref()),
        };
        let (from, base) = match sight {
            Sight::Whole => return Ok(Repaired::default()),
            Sight::Cut(from) => (from, found.as_deref()),
            Sight::Unknown => (0, None),
        };
        let ops: Vec<u8> =
            chain.writes.range(from..).flat_map(|write| write.op.as_bytes().to_vec()).collect();
        let restore = Restore { base, text, left, ops: &ops, from_us: current.since_us + SETTLED_US };
        match self.0.store.restore(id, &restore).await? {
            PutBack::Done => Ok(Repaired { restored: chain.writes.len() - from, forked: 0 }),
            PutBack::Needless => Ok(Repaired::default()),
            PutBack::Conflict { current: stored, remembered, now_us } => {
                let since_us = now_us.saturating_sub(current.since_us);
                match chain.first_lost(current, &remembered) {
                    Ok(None) => Ok(Repaired::default()),
                    first if since_us < FORKED_US => {
                        if let Ok(Some(from)) = first {
                            self.0.away.ring.lost(id, chain, current, from);
                        }
                        Err(Error::repairing())
                    }
                    Ok(Some(from)) => self.merge_again(id, stored, chain, from, last.op, budget).await,
                    Err(_undecided) => Ok(Repaired { restored: 0, forked: chain.writes.len() }),
                }
            }
        }
    }

    async fn bury(&self, id: &SessionId, chain: &Chain) -> Result<Repaired, Error> {
        let Some(last) = chain.writes.back() else { return Ok(Repaired::default()) };
        let buried = self.0.store.bury(id, last.op).await?;
        Ok(Repaired { restored: usize::from(buried), forked: 0 })
    }

    /// Others have written instead: what was meant for whatever the session is, is laid over what it has become, as
    /// one new write. The rest is reported alone.
    async fn merge_again(
        &self,
        id: &SessionId,
        mut current: Stored,
        chain: &Chain,
        from: usize,
        op: OpId,
        budget: Budget,
    ) -> Result<Repaired, Error> {
        let lost = || chain.writes.range(from..);
        let repaired = Repaired { restored: 0, forked: lost().count() };
        let wishes: Vec<Wish> = lost().flat_map(|written| written.wishes.clone()).collect();
        if !wishes.iter().any(|wish| matches!(wish, Wish::Merge(..))) {
            return Ok(repaired);
        }
        while !budget.is_spent() {
            let mut text = current.text.to_string();
            for wish in &wishes {
                let Wish::Merge(change, identity) = wish else { continue };
                // What no longer fits is reported with the others.
                text = rule::update(&text, change, *identity, now_ms(), Stamp::After).unwrap_or(text);
            }
            let text = Text::from(text);
            if self.0.users.write(id, Some(&current.text), &text).await? == Standing::SignedOut {
                return Ok(repaired);
            }
            let base = current.text.digest().to_owned();
            let write = Write { op, base: Some(&base), text: &text };
            match self.cas(id, &write, &wishes, How::default(), budget).await? {
                Outcome::Done(_) | Outcome::Missing | Outcome::Deleted => return Ok(repaired),
                Outcome::Conflict(fresh) => current = fresh,
            }
        }
        Err(Error::no_time())
    }
}

/// How many writes.
#[derive(Debug, Clone, Copy, Default)]
struct Repaired {
    restored: usize,
    forked: usize,
}
