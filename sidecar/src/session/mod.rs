//! Sessions: read → rule → compare-and-set, three steps that do not know each other.

pub mod api;
mod body;
mod budget;
mod condition;
mod document;
mod equal;
mod error;
mod id;
mod merge;
mod metrics;
#[cfg(test)]
mod openapi;
mod patch;
mod renewal;
mod rule;
mod store;
#[cfg(test)]
mod tests;
mod turns;
pub mod v1;

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;

use crate::config;
use crate::redis::Redis;
use budget::Budget;
use condition::Condition;
pub use error::Error;
pub use id::SessionId;
use metrics::Metrics;
use renewal::Renewal;
use rule::{Change, Identity, Origin};
pub use store::Scripts;
use store::{Outcome, Store, Stored, digest};
use turns::Turns;

/// A write that loses against this many others in a row gives up; each loss is another pod's success.
const ATTEMPTS: u32 = 64;

/// A cheap handle to the sessions in Redis.
#[derive(Debug, Clone)]
pub struct Sessions(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    rules: Rules,
    metrics: Metrics,
    turns: Turns,
    allow_client_ids: bool,
    /// What `/api/sessions` may do to a session's identity.
    identity: Identity,
}

/// The rules that a checker must notice when one is broken.
#[derive(Debug, Clone)]
pub struct Rules {
    pub scripts: Scripts,
    /// What a read concludes from an error.
    pub read_failed: fn(Error) -> Error,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { scripts: Scripts::default(), read_failed: |error| error }
    }
}

/// One session as it was read or written.
#[derive(Debug)]
pub struct Session {
    pub id: SessionId,
    text: String,
    renewed: Option<Renewal>,
}

impl Sessions {
    pub fn new(redis: Redis, settings: &config::Session, registry: &mut Registry) -> Sessions {
        Sessions::with_rules(redis, settings, registry, Rules::default())
    }

    pub fn with_rules(
        redis: Redis,
        settings: &config::Session,
        registry: &mut Registry,
        rules: Rules,
    ) -> Sessions {
        let config::Session { ttl_seconds, allow_client_ids, allow_identity_writes } = *settings;
        let store = Store::new(redis, rules.scripts.clone(), u64::from(ttl_seconds) * 1000);
        let identity = if allow_identity_writes { Identity::Writable } else { Identity::Kept };
        let metrics = Metrics::register(registry);
        let turns = Turns::default();
        Sessions(Arc::new(Inner { store, rules, metrics, turns, allow_client_ids, identity }))
    }

    async fn create(&self, origin: &Origin, fields: Option<(&Change, Identity)>) -> Result<Session, Error> {
        let now_ms = now_ms();
        let text = rule::create(origin, fields, now_ms)?;
        let id = SessionId::mint(now_ms, random()?);
        match self.0.store.create(&id, &text).await? {
            Outcome::Done(()) => {
                self.0.metrics.created.inc();
                Ok(Session::written(id, text))
            }
            Outcome::Late => Err(Error::late()),
            Outcome::Missing | Outcome::Deleted | Outcome::Conflict(_) => {
                Err(Error::Internal { reason: "128 random bits came twice".to_owned() })
            }
        }
    }

    /// `condition` decides what absence means; what it says of a session's bytes is the caller's to judge.
    async fn read(&self, id: SessionId, condition: &Condition) -> Result<Session, Error> {
        let stored = self.stored(&id, condition).await?;
        self.session(id, stored)
    }

    async fn stored(&self, id: &SessionId, condition: &Condition) -> Result<Stored, Error> {
        let stored = self.0.store.read(id).await.map_err(self.0.rules.read_failed)?;
        stored.ok_or_else(|| condition.absent())
    }

    async fn update(
        &self,
        id: SessionId,
        change: &Change,
        condition: &Condition,
        identity: Identity,
        budget: Budget,
    ) -> Result<Session, Error> {
        let _turn = self.0.turns.take(&id, budget.left()).await.ok_or_else(Error::no_time)?;
        let mut current = self.stored(&id, condition).await?;
        for attempt in 0..ATTEMPTS {
            if budget.is_spent() {
                break;
            }
            let base = digest(&current.text);
            condition.check(&base)?;
            let text = rule::update(&current.text, change, identity, now_ms())?;
            match self.0.store.update(&id, &base, &text).await? {
                Outcome::Done(()) => {
                    self.0.metrics.updated.inc();
                    return Ok(Session::written(id, text));
                }
                Outcome::Missing | Outcome::Deleted => return Err(condition.absent()),
                Outcome::Late => return Err(Error::late()),
                Outcome::Conflict(fresh) => current = fresh,
            }
            self.0.metrics.conflicts.inc();
            pause(attempt).await?;
        }
        Err(Error::no_time())
    }

    /// Like `update`; where a change says nothing but "still here", the session's life is all that changes.
    async fn update_or_touch(
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
    async fn create_as(
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
        match self.0.store.create(&id, &text).await? {
            Outcome::Done(()) => {
                self.0.metrics.created.inc();
                Ok(Session::written(id, text))
            }
            Outcome::Conflict(_) => {
                self.update(id, change, &Condition::default(), self.0.identity, budget).await
            }
            Outcome::Missing | Outcome::Deleted => Err(Error::NotFound),
            Outcome::Late => Err(Error::late()),
        }
    }

    /// Renews the life and changes no byte.
    async fn touch(&self, id: SessionId, condition: &Condition, budget: Budget) -> Result<Session, Error> {
        let mut base = self.checked_base(&id, condition).await?;
        while !budget.is_spent() {
            let outcome = self.0.store.touch(&id, base.as_deref()).await?;
            match self.settled(outcome, condition)? {
                ControlFlow::Break(stored) => {
                    self.0.metrics.touched.inc();
                    return self.session(id, stored);
                }
                ControlFlow::Continue(fresh) => base = Some(fresh),
            }
        }
        Err(Error::no_time())
    }

    async fn delete(&self, id: &SessionId, condition: &Condition, budget: Budget) -> Result<(), Error> {
        let mut base = self.checked_base(id, condition).await?;
        while !budget.is_spent() {
            let outcome = self.0.store.delete(id, base.as_deref()).await?;
            match self.settled(outcome, condition)? {
                ControlFlow::Break(()) => {
                    self.0.metrics.deleted.inc();
                    return Ok(());
                }
                ControlFlow::Continue(fresh) => base = Some(fresh),
            }
        }
        Err(Error::no_time())
    }

    /// Whether what needed no new bytes is done, or goes on over those of another writer.
    fn settled<T>(
        &self,
        outcome: Outcome<T>,
        condition: &Condition,
    ) -> Result<ControlFlow<T, String>, Error> {
        match outcome {
            Outcome::Done(done) => Ok(ControlFlow::Break(done)),
            Outcome::Missing | Outcome::Deleted => Err(condition.absent()),
            Outcome::Late => Err(Error::late()),
            Outcome::Conflict(current) => {
                let fresh = digest(&current.text);
                condition.check(&fresh)?;
                self.0.metrics.conflicts.inc();
                Ok(ControlFlow::Continue(fresh))
            }
        }
    }

    /// The digest that a conditional touch or delete must meet; an unconditional one needs no read before it.
    async fn checked_base(&self, id: &SessionId, condition: &Condition) -> Result<Option<String>, Error> {
        if condition.is_unconditional() {
            return Ok(None);
        }
        let base = digest(&self.stored(id, condition).await?.text);
        condition.check(&base)?;
        Ok(Some(base))
    }

    fn session(&self, id: SessionId, stored: Stored) -> Result<Session, Error> {
        let renewed =
            Renewal::of(&stored, self.0.store.life_ms(), now_ms()).map_err(rule::Refusal::Unreadable)?;
        Ok(Session { id, text: stored.text, renewed })
    }
}

impl Session {
    fn written(id: SessionId, text: String) -> Session {
        Session { id, text, renewed: None }
    }

    fn digest(&self) -> String {
        digest(&self.text)
    }

    /// The digest as the header has it.
    fn etag(&self) -> String {
        format!("\"{}\"", self.digest())
    }

    fn answer(&self) -> Cow<'_, str> {
        match &self.renewed {
            None => Cow::Borrowed(&self.text),
            Some(renewal) => Cow::Owned(renewal.told(&self.text)),
        }
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

fn random() -> Result<u128, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Error::Internal { reason: error.to_string() })?;
    Ok(u128::from_ne_bytes(bytes))
}

#[expect(clippy::disallowed_methods, reason = "the one clock of the block; every rule takes `now`")]
fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
