//! Writes: read, decide, compare and set, and again over what another writer made meanwhile.

use std::ops::ControlFlow;
use std::time::Duration;

use super::attempt::Attempts;
use super::budget::Budget;
use super::condition::Condition;
use super::op::OpId;
use super::rule::{Change, Identity, Origin};
use super::store::{Outcome, Write, digest};
use super::user::Standing;
use super::{Error, Session, SessionId, Sessions, now_ms, random, rule};

/// A write that loses against this many others in a row gives up; each loss is another pod's success.
const ATTEMPTS: u32 = 64;

impl Sessions {
    pub(super) async fn create(
        &self,
        origin: &Origin,
        fields: Option<(&Change, Identity)>,
        budget: Budget,
    ) -> Result<Session, Error> {
        let now_ms = now_ms();
        let text = rule::create(origin, fields, now_ms)?;
        let id = SessionId::mint(now_ms, random()?);
        self.0.users.write(&id, None, &text).await?;
        match self.cas(&id, &Write { op: OpId::mint()?, base: None, text: &text }, budget).await? {
            Outcome::Done(()) => {
                self.0.metrics.created.inc();
                Ok(Session::written(id, text))
            }
            Outcome::Missing | Outcome::Deleted | Outcome::Conflict(_) => {
                Err(Error::Internal { reason: "128 random bits came twice".to_owned() })
            }
        }
    }

    /// Sent again while its outcome is unknown and there is time.
    pub(super) async fn cas(
        &self,
        id: &SessionId,
        write: &Write<'_>,
        budget: Budget,
    ) -> Result<Outcome, Error> {
        self.cas_for(id, write, self.0.store.life_ms(), budget).await
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

    pub(super) async fn update(
        &self,
        id: SessionId,
        change: &Change,
        condition: &Condition,
        identity: Identity,
        budget: Budget,
    ) -> Result<Session, Error> {
        let _turn = self.0.turns.take(&id, budget.left()).await.ok_or_else(Error::no_time)?;
        let mut current = self.stored(&id, condition).await?;
        let op = OpId::mint()?;
        for attempt in 0..ATTEMPTS {
            if budget.is_spent() {
                break;
            }
            let base = digest(&current.text);
            condition.check(&base)?;
            let text = rule::update(&current.text, change, identity, now_ms())?;
            if self.0.users.write(&id, Some(&current.text), &text).await? == Standing::SignedOut {
                return self.refused(&id, &current.text, condition).await;
            }
            match self.cas(&id, &Write { op, base: Some(&base), text: &text }, budget).await? {
                Outcome::Done(()) => {
                    self.0.metrics.updated.inc();
                    return Ok(Session::written(id, text));
                }
                Outcome::Missing => current = self.found(&id, condition).await?,
                Outcome::Deleted => return Err(condition.absent()),
                Outcome::Conflict(fresh) => current = fresh,
            }
            self.0.metrics.conflicts.inc();
            pause(attempt).await?;
        }
        Err(Error::no_time())
    }

    /// Like `update`; where a change says nothing but "still here", the session's life is all that changes.
    pub(super) async fn update_or_touch(
        &self,
        id: SessionId,
        change: &Change,
        condition: &Condition,
        identity: Identity,
        budget: Budget,
    ) -> Result<Session, Error> {
        if change.is_touch()? {
            return self.touch(id, condition, budget).await;
        }
        self.update(id, change, condition, identity, budget).await
    }

    /// Writes a session under an id that the client chose and that did not exist a moment ago.
    pub(super) async fn create_as(
        &self,
        id: SessionId,
        change: &Change,
        origin: &Origin,
        budget: Budget,
    ) -> Result<Session, Error> {
        if !self.0.allow_client_ids {
            return Err(Error::ClientIdRefused);
        }
        if budget.is_spent() {
            return Err(Error::no_time());
        }
        let text = rule::create(origin, Some((change, self.0.identity)), now_ms())?;
        self.0.users.write(&id, None, &text).await?;
        match self.cas(&id, &Write { op: OpId::mint()?, base: None, text: &text }, budget).await? {
            Outcome::Done(()) => {
                self.0.metrics.created.inc();
                Ok(Session::written(id, text))
            }
            Outcome::Conflict(_) => {
                self.update(id, change, &Condition::default(), self.0.identity, budget).await
            }
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
    ) -> Result<(), Error> {
        let mut base = self.checked_base(id, condition).await?;
        let op = OpId::mint()?;
        while !budget.is_spent() {
            let outcome = self.del(id, op, base.as_deref(), budget).await?;
            match self.settled(id, outcome, condition).await? {
                ControlFlow::Break(()) => {
                    self.0.metrics.deleted.inc();
                    return Ok(());
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
        let mut attempts = Attempts::new(budget, &self.0.metrics.resent);
        loop {
            let answer = self.0.store.delete(id, op, base).await;
            if let ControlFlow::Break(settled) = attempts.settle(answer).await {
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
        let fresh = digest(&current.text);
        condition.check(&fresh)?;
        self.0.metrics.conflicts.inc();
        Ok(ControlFlow::Continue(fresh))
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
        let base = digest(&self.stored(id, condition).await?.text);
        condition.check(&base)?;
        Ok(Some(base))
    }
}

/// The first losers try again at once; who keeps losing steps aside for a random moment.
async fn pause(attempt: u32) -> Result<(), Error> {
    if attempt > 1 {
        let limit_us = u64::from(attempt.min(16)) * 1000;
        tokio::time::sleep(Duration::from_micros(random()? as u64 % limit_us)).await;
    }
    Ok(())
}
