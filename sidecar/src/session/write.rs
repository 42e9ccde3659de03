//! Writes: each ends in one script, and is sent again while nobody knows what became of it.

use std::ops::ControlFlow;
use std::sync::Arc;

use tokio::time::timeout;

use super::attempt::settled;
use super::budget::Budget;
use super::condition::Condition;
use super::durability::{Durability, How};
use super::journal::Intent;
use super::metrics::Source;
use super::op::OpId;
use super::outage::{Asks, Operation};
use super::ring::Wish;
use super::rule::{Change, Identity, Origin};
use super::store::{Earlier, Outcome, Receipt, Write};
use super::{Basis, Error, Session, SessionId, Sessions, Text, now_ms, random, rule};

/// How a write is to be done, apart from what it changes.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) condition: Condition,
    pub(crate) identity: Identity,
    pub(crate) how: How,
    pub(crate) budget: Budget,
}

impl Terms {
    pub(crate) fn new(condition: Condition, identity: Identity, how: How, budget: Budget) -> Terms {
        Terms { condition, identity, how, budget }
    }

    /// What an outage cannot give.
    fn asks(&self) -> Asks {
        Asks { conditional: self.condition.asks().conditional, ..self.how.asks() }
    }
}

/// A session as a write left it.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) session: Session,
    /// The digest of the bytes that it was applied to; none of a create or a touch.
    pub(crate) base: Option<String>,
    pub(crate) receipt: Receipt,
}

impl Written {
    /// Over no bytes that anybody could have known.
    fn of(session: Session, receipt: Receipt) -> Written {
        Written { session, base: None, receipt }
    }
}

impl Sessions {
    /// Under a key the same session comes of it however often it is asked for.
    pub(super) async fn create(
        &self,
        origin: &Origin,
        fields: Option<(&Change, Identity)>,
        how: How,
        budget: Budget,
    ) -> Result<Written, Error> {
        let mut timer = self.0.metrics.timer("create");
        let now_ms = now_ms();
        let text = Text::from(rule::create(origin, fields, now_ms)?);
        let minted = SessionId::mint(now_ms, random()?);
        let intent = || Intent::Create(text.clone());
        if let Some(session) = self.journaled(&minted, Operation::Create, how.asks(), intent)? {
            timer.source = Source::Journal;
            return Ok(Written::of(session, Receipt::default()));
        }
        let id = match &how.key {
            None => minted,
            Some(key) => {
                let id = self.0.store.reserve(key, minted.clone()).await?;
                if id != minted
                    && let Some(written) = self.recalled(&id, how).await?
                {
                    return Ok(written);
                }
                id
            }
        };
        match self.make(&id, text, how, budget).await? {
            Outcome::Done(written) => Ok(written),
            // It was made from this key, and that is longer ago than results are kept.
            Outcome::Deleted | Outcome::Conflict(_) if how.key.is_some() => {
                let earlier = Some(Earlier { digest: None });
                let receipt = Receipt { durability: Durability::Redis, earlier };
                Ok(Written::of(Session::written(id, Text::default()), receipt))
            }
            Outcome::Missing | Outcome::Deleted | Outcome::Conflict(_) => {
                Err(Error::Internal { reason: "128 random bits came twice".to_owned() })
            }
        }
    }

    /// Under this id, where there is no session yet.
    async fn make(
        &self,
        id: &SessionId,
        text: Text,
        how: How,
        budget: Budget,
    ) -> Result<Outcome<Written>, Error> {
        self.0.users.write(id, None, &text).await?;
        let write = Write { op: OpId::mint()?, base: None, text: &text };
        let outcome = self.cas(id, &write, &[], how, budget).await?;
        Ok(outcome.map(|receipt| {
            self.0.metrics.created.inc();
            Written::of(Session::written(id.clone(), text), receipt)
        }))
    }

    /// Sent again while its outcome is unknown and there is time. `wishes`: what clients wanted of it.
    pub(super) async fn cas(
        &self,
        id: &SessionId,
        write: &Write<'_>,
        wishes: &[Wish],
        how: How,
        budget: Budget,
    ) -> Result<Outcome<Receipt>, Error> {
        let sent = self.sent(id);
        let outcome = self.cas_all(id, write, self.0.store.life_ms(), how, budget).await?;
        if let Outcome::Done(Receipt { durability: _, earlier: None }) = &outcome {
            self.acknowledged(id, write, wishes, sent);
        }
        Ok(outcome)
    }

    /// For nobody who waits, and with a life of the session's own.
    pub(super) async fn cas_for(
        &self,
        id: &SessionId,
        write: &Write<'_>,
        life_ms: u64,
        budget: Budget,
    ) -> Result<Outcome, Error> {
        Ok(self.cas_all(id, write, life_ms, How::default(), budget).await?.map(drop))
    }

    async fn cas_all(
        &self,
        id: &SessionId,
        write: &Write<'_>,
        life_ms: u64,
        how: How,
        budget: Budget,
    ) -> Result<Outcome<Receipt>, Error> {
        settled(budget, &self.0.metrics.resent, || self.0.store.write(id, write, life_ms, how)).await
    }

    /// What became of a request that came before under the same key, if one did.
    async fn recalled(&self, id: &SessionId, how: How) -> Result<Option<Written>, Error> {
        let Some(key) = &how.key else { return Ok(None) };
        let receipt = self.0.store.recall(id, key, how.way).await?;
        let session = Session::written(id.clone(), Text::default());
        Ok(receipt.map(|receipt| Written::of(session, receipt)))
    }

    /// The document goes with a replay as long as it is the one that was written.
    pub(super) async fn shown(&self, mut written: Written) -> Written {
        if let Some(Earlier { digest: Some(kept) }) = &written.receipt.earlier {
            self.0.metrics.replayed.inc();
            let current = self.stored(&written.session.id, &Condition::default()).await;
            written.session.text = current
                .ok()
                .map(|stored| stored.text)
                .filter(|text| text.digest() == kept)
                .unwrap_or_default();
        }
        written
    }

    /// Together with whoever else writes this session now.
    pub(super) async fn update(
        &self,
        id: SessionId,
        change: Arc<Change>,
        terms: Terms,
    ) -> Result<Written, Error> {
        let mut timer = self.0.metrics.timer("update");
        let budget = terms.budget;
        let operation = match &*change {
            Change::Merge(..) => Operation::Merge,
            Change::Patch(_) | Change::Replace(_) => Operation::Rewrite,
        };
        let intent = || Intent::Merge(Arc::clone(&change), terms.identity);
        if let Some(session) = self.journaled(&id, operation, terms.asks(), intent)? {
            timer.source = Source::Journal;
            return Ok(Written::of(session, Receipt::default()));
        }
        if let Some(written) = self.recalled(&id, terms.how).await? {
            return Ok(written);
        }
        self.caught_up(&id, budget).await?;
        let Some(mut seat) = self.0.combiner.join(&id, change, terms) else {
            self.0.metrics.turned_away.inc();
            return Err(Error::crowded());
        };
        if seat.first {
            self.0.leaders.spawn(self.clone().lead(id.clone()));
        }
        let answer = match timeout(budget.left(), &mut seat.answer).await {
            Ok(answer) => answer,
            Err(_) if self.0.combiner.withdraw(&id, &seat) => return Err(Error::no_time()),
            Err(_) => seat.answer.await,
        };
        answer.unwrap_or_else(|_| Err(Error::doubtful(None)))
    }

    /// Like `update`; where a change says nothing but "still here", the session's life is all that changes.
    pub(super) async fn update_or_touch(
        &self,
        id: SessionId,
        change: Arc<Change>,
        terms: Terms,
    ) -> Result<Written, Error> {
        if change.is_touch()? {
            return self.touch(id, &terms).await;
        }
        self.update(id, change, terms).await
    }

    /// Writes a session under an id that the client chose and that did not exist a moment ago.
    pub(super) async fn create_as(
        &self,
        id: SessionId,
        change: Arc<Change>,
        origin: &Origin,
        terms: Terms,
    ) -> Result<Written, Error> {
        let _timer = self.0.metrics.timer("create");
        let Terms { condition: _, identity, how, budget } = terms;
        if !self.0.allow_client_ids {
            return Err(Error::ClientIdRefused);
        }
        if budget.is_spent() {
            return Err(Error::no_time());
        }
        let text = rule::create(origin, Some((&change, identity)), now_ms())?;
        match self.make(&id, text.into(), how, budget).await? {
            Outcome::Done(written) => Ok(written),
            Outcome::Conflict(_) => self.update(id, change, terms).await,
            Outcome::Missing | Outcome::Deleted => Err(Error::NotFound),
        }
    }

    /// Renews the life and changes no byte.
    pub(super) async fn touch(&self, id: SessionId, terms: &Terms) -> Result<Written, Error> {
        let mut timer = self.0.metrics.timer("touch");
        let Terms { condition, identity: _, how, budget } = terms;
        if let Some(session) = self.journaled(&id, Operation::Touch, terms.asks(), || Intent::Touch)? {
            timer.source = Source::Journal;
            return Ok(Written::of(session, Receipt::default()));
        }
        self.caught_up(&id, *budget).await?;
        let mut base = self.checked_base(&id, condition).await?;
        while !budget.is_spent() {
            let send = || self.0.store.touch(&id, base.as_deref(), how.way);
            let outcome = settled(*budget, &self.0.metrics.resent, send).await?;
            match self.settled(&id, outcome, condition).await? {
                ControlFlow::Break((stored, durability)) => {
                    let stored = self.admitted(&id, stored, condition).await?;
                    self.0.metrics.touched.inc();
                    let receipt = Receipt { durability, earlier: None };
                    return Ok(Written::of(self.session(id, stored)?, receipt));
                }
                ControlFlow::Continue(fresh) => base = Some(fresh),
            }
        }
        Err(Error::no_time())
    }

    pub(super) async fn delete(&self, id: &SessionId, terms: &Terms) -> Result<(Receipt, Basis), Error> {
        let mut timer = self.0.metrics.timer("delete");
        let Terms { condition, identity: _, how, budget } = terms;
        if let Some(journaled) = self.journaled(id, Operation::Delete, terms.asks(), || Intent::Delete)? {
            timer.source = Source::Journal;
            return Ok((Receipt::default(), journaled.basis));
        }
        if let Some(Written { receipt, .. }) = self.recalled(id, *how).await? {
            self.0.metrics.replayed.inc();
            return Ok((receipt, Basis::Redis));
        }
        self.caught_up(id, *budget).await?;
        let mut base = self.checked_base(id, condition).await?;
        let op = OpId::mint()?;
        while !budget.is_spent() {
            let outcome = self.del_how(id, op, base.as_deref(), *how, *budget).await?;
            match self.settled(id, outcome, condition).await? {
                ControlFlow::Break(receipt) => {
                    self.0.metrics.deleted.inc();
                    return Ok((receipt, Basis::Redis));
                }
                ControlFlow::Continue(fresh) => base = Some(fresh),
            }
        }
        Err(Error::no_time())
    }

    /// For nobody who waits.
    pub(super) async fn del(
        &self,
        id: &SessionId,
        op: OpId,
        base: Option<&str>,
        budget: Budget,
    ) -> Result<Outcome, Error> {
        Ok(self.del_how(id, op, base, How::default(), budget).await?.map(drop))
    }

    /// Sent again like `cas`.
    async fn del_how(
        &self,
        id: &SessionId,
        op: OpId,
        base: Option<&str>,
        how: How,
        budget: Budget,
    ) -> Result<Outcome<Receipt>, Error> {
        let sent = self.sent(id);
        let send = || self.0.store.delete(id, op, base, how);
        let outcome = settled(budget, &self.0.metrics.resent, send).await?;
        if let Outcome::Done(Receipt { durability: _, earlier: None }) = &outcome {
            self.deleted(id, op, base.map(str::to_owned), sent);
        }
        Ok(outcome)
    }

    /// Whether what needed no new bytes is done, or goes on over those of another writer.
    async fn settled<T>(
        &self,
        id: &SessionId,
        outcome: Outcome<T>,
        condition: &Condition,
    ) -> Result<ControlFlow<T, String>, Error> {
        let current = match outcome {
            Outcome::Done(done) => return Ok(ControlFlow::Break(done)),
            Outcome::Missing => self.found(id, condition).await?,
            Outcome::Deleted => return Err(condition.absent()),
            Outcome::Conflict(current) => current,
        };
        condition.check(&current.text)?;
        self.0.metrics.conflicts.inc();
        Ok(ControlFlow::Continue(current.text.digest().to_owned()))
    }

    /// The digest that a conditional touch or delete must meet; an unconditional one needs no read before it.
    pub(super) async fn checked_base(
        &self,
        id: &SessionId,
        condition: &Condition,
    ) -> Result<Option<String>, Error> {
        if condition.is_unconditional() {
            return Ok(None);
        }
        let current = self.stored(id, condition).await?;
        condition.check(&current.text)?;
        Ok(Some(current.text.digest().to_owned()))
    }
}
