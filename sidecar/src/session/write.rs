//! Writes: each ends in one script, and is sent again while nobody knows what became of it.

use std::ops::ControlFlow;
use std::sync::Arc;

use tokio::time::timeout;

use super::attempt::Attempts;
use super::budget::Budget;
use super::condition::Condition;
use super::journal::Intent;
use super::metrics::Source;
use super::op::OpId;
use super::outage::{Asks, Operation};
use super::ring::Wish;
use super::rule::{Change, Identity, Origin};
use super::store::{Outcome, Write, digest};
use super::{Basis, Error, Session, SessionId, Sessions, now_ms, random, rule};

/// How a write is to be done, apart from what it changes.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) condition: Condition,
    pub(crate) identity: Identity,
    pub(crate) budget: Budget,
}

impl Terms {
    pub(crate) fn new(condition: Condition, identity: Identity, budget: Budget) -> Terms {
        Terms { condition, identity, budget }
    }
}

/// A session as a write left it.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) session: Session,
    /// The digest of the bytes that it was applied to; none of a create or a touch.
    pub(crate) base: Option<String>,
}

impl Sessions {
    pub(super) async fn create(
        &self,
        origin: &Origin,
        fields: Option<(&Change, Identity)>,
        budget: Budget,
    ) -> Result<Written, Error> {
        let mut timer = self.0.metrics.timer("create");
        let now_ms = now_ms();
        let text = rule::create(origin, fields, now_ms)?;
        let id = SessionId::mint(now_ms, random()?);
        let intent = || Intent::Create(text.clone());
        if let Some(session) = self.journaled(&id, Operation::Create, Asks::default(), intent)? {
            timer.source = Source::Journal;
            return Ok(Written { session, base: None });
        }
        self.0.users.write(&id, None, &text).await?;
        match self.cas(&id, &Write { op: OpId::mint()?, base: None, text: &text }, &[], budget).await? {
            Outcome::Done(()) => {
                self.0.metrics.created.inc();
                Ok(Written { session: Session::written(id, text), base: None })
            }
            Outcome::Missing | Outcome::Deleted | Outcome::Conflict(_) => {
                Err(Error::Internal { reason: "128 random bits came twice".to_owned() })
            }
        }
    }

    /// Sent again while its outcome is unknown and there is time. `wishes`: what clients wanted of it.
    pub(super) async fn cas(
        &self,
        id: &SessionId,
        write: &Write<'_>,
        wishes: &[Wish],
        budget: Budget,
    ) -> Result<Outcome, Error> {
        let sent = self.sent(id);
        let outcome = self.cas_for(id, write, self.0.store.life_ms(), budget).await?;
        if outcome == Outcome::Done(()) {
            self.acknowledged(id, write, wishes, sent);
        }
        Ok(outcome)
    }

    /// With a life of the session's own.
    pub(super) async fn cas_for(
        &self,
        id: &SessionId,
        write: &Write<'_>,
        life_ms: u64,
        budget: Budget,
    ) -> Result<Outcome, Error> {
        let mut attempts = Attempts::new(budget, &self.0.metrics.resent);
        loop {
            let answer = self.0.store.write(id, write, life_ms).await;
            if let ControlFlow::Break(settled) = attempts.settle(answer).await {
                return settled;
            }
        }
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
        if let Some(session) = self.journaled(&id, operation, terms.condition.asks(), intent)? {
            timer.source = Source::Journal;
            return Ok(Written { session, base: None });
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
            let session = self.touch(id, &terms.condition, terms.budget).await?;
            return Ok(Written { session, base: None });
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
        let Terms { condition: _, identity, budget } = terms;
        if !self.0.allow_client_ids {
            return Err(Error::ClientIdRefused);
        }
        if budget.is_spent() {
            return Err(Error::no_time());
        }
        let text = rule::create(origin, Some((&change, identity)), now_ms())?;
        self.0.users.write(&id, None, &text).await?;
        match self.cas(&id, &Write { op: OpId::mint()?, base: None, text: &text }, &[], budget).await? {
            Outcome::Done(()) => {
                self.0.metrics.created.inc();
                Ok(Written { session: Session::written(id, text), base: None })
            }
            Outcome::Conflict(_) => self.update(id, change, terms).await,
            Outcome::Missing | Outcome::Deleted => Err(Error::NotFound),
        }
    }

    /// Renews the life and changes no byte.
    pub(super) async fn touch(
        &self,
        id: SessionId,
        condition: &Condition,
        budget: Budget,
    ) -> Result<Session, Error> {
        let mut timer = self.0.metrics.timer("touch");
        let asks = condition.asks();
        if let Some(journaled) = self.journaled(&id, Operation::Touch, asks, || Intent::Touch)? {
            timer.source = Source::Journal;
            return Ok(journaled);
        }
        self.caught_up(&id, budget).await?;
        let mut base = self.checked_base(&id, condition).await?;
        while !budget.is_spent() {
            let mut attempts = Attempts::new(budget, &self.0.metrics.resent);
            let outcome = loop {
                let answer = self.0.store.touch(&id, base.as_deref()).await;
                if let ControlFlow::Break(settled) = attempts.settle(answer).await {
                    break settled?;
                }
            };
            match self.settled(&id, outcome, condition).await? {
                ControlFlow::Break(stored) => {
                    let stored = self.admitted(&id, stored, condition).await?;
                    self.0.metrics.touched.inc();
                    return self.session(id, stored);
                }
                ControlFlow::Continue(fresh) => base = Some(fresh),
            }
        }
        Err(Error::no_time())
    }

    pub(super) async fn delete(
        &self,
        id: &SessionId,
        condition: &Condition,
        budget: Budget,
    ) -> Result<Basis, Error> {
        let mut timer = self.0.metrics.timer("delete");
        let asks = condition.asks();
        if let Some(journaled) = self.journaled(id, Operation::Delete, asks, || Intent::Delete)? {
            timer.source = Source::Journal;
            return Ok(journaled.basis);
        }
        self.caught_up(id, budget).await?;
        let mut base = self.checked_base(id, condition).await?;
        let op = OpId::mint()?;
        while !budget.is_spent() {
            let outcome = self.del(id, op, base.as_deref(), budget).await?;
            match self.settled(id, outcome, condition).await? {
                ControlFlow::Break(()) => {
                    self.0.metrics.deleted.inc();
                    return Ok(Basis::Redis);
                }
                ControlFlow::Continue(fresh) => base = Some(fresh),
            }
        }
        Err(Error::no_time())
    }

    /// Sent again like `cas`.
    pub(super) async fn del(
        &self,
        id: &SessionId,
        op: OpId,
        base: Option<&str>,
        budget: Budget,
    ) -> Result<Outcome, Error> {
        let sent = self.sent(id);
        let mut attempts = Attempts::new(budget, &self.0.metrics.resent);
        loop {
            let answer = self.0.store.delete(id, op, base).await;
            if let ControlFlow::Break(settled) = attempts.settle(answer).await {
                if let Ok(Outcome::Done(())) = settled {
                    self.deleted(id, op, base.map(str::to_owned), sent);
                }
                return settled;
            }
        }
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
        Ok(ControlFlow::Continue(digest(&current.text)))
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
        Ok(Some(digest(&current.text)))
    }
}
