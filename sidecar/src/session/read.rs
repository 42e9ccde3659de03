//! Reads: what a session is, or why that cannot be said.

use super::budget::Budget;
use super::condition::Condition;
use super::metrics::Source;
use super::outage::{Operation, Verdict};
use super::renewal::Renewal;
use super::store::Stored;
use super::user::Standing;
use super::{Basis, Error, Session, SessionId, Sessions, now_ms, rule};

impl Sessions {
    /// `condition` decides what absence means; what it says of a session's bytes is the caller's to judge.
    pub(super) async fn read(&self, id: SessionId, condition: &Condition) -> Result<Session, Error> {
        let mut timer = self.0.metrics.timer("read");
        let read = match self.verdict(&id, Operation::Read, condition.asks()) {
            Verdict::Stale => Err(Error::outage()),
            _ => self.read_through(&id, condition).await,
        };
        match read {
            Err(error @ Error::Unavailable { .. }) if !condition.names_a_version() => {
                timer.source = Source::Memory;
                self.stale(&id).ok_or(error)
            }
            read => self.session(id, read?),
        }
    }

    async fn read_through(&self, id: &SessionId, condition: &Condition) -> Result<Stored, Error> {
        self.caught_up(id, Budget::begin()).await?;
        self.stored(id, condition).await
    }

    /// What Redis says now: writers are refused for it.
    pub(super) async fn stored(&self, id: &SessionId, condition: &Condition) -> Result<Stored, Error> {
        let stored = self.0.store.read(id).await.map_err(self.0.rules.read_failed)?;
        let stored = match stored {
            Some(stored) => stored,
            None => self.found(id, condition).await?,
        };
        self.admitted(id, stored, condition).await
    }

    /// What came from Redis, unless its user has signed out everywhere since: then it is deleted.
    pub(super) async fn admitted(
        &self,
        id: &SessionId,
        stored: Stored,
        condition: &Condition,
    ) -> Result<Stored, Error> {
        match self.0.users.read(id, &stored).await.map_err(self.0.rules.read_failed)? {
            Standing::Valid => Ok(stored),
            Standing::SignedOut => self.refused(id, &stored.text, condition).await,
        }
    }

    /// It is over, whether or not it can be deleted now.
    pub(super) async fn refused<T>(
        &self,
        id: &SessionId,
        text: &str,
        condition: &Condition,
    ) -> Result<T, Error> {
        if let Err(error) = self.end(id, text, Budget::begin()).await {
            tracing::debug!(%error, "a session that is signed out stays until it is read again");
        }
        Err(condition.absent())
    }

    pub(super) fn session(&self, id: SessionId, stored: Stored) -> Result<Session, Error> {
        let renewed =
            Renewal::of(&stored, self.0.store.life_ms(), now_ms()).map_err(rule::Refusal::Unreadable)?;
        Ok(Session { id, text: stored.text, renewed, basis: Basis::Redis })
    }
}
