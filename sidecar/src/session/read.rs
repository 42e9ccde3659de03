//! Reads: what a session is, or why that cannot be said.

use super::condition::Condition;
use super::renewal::Renewal;
use super::store::Stored;
use super::{Error, Session, SessionId, Sessions, now_ms, rule};

impl Sessions {
    /// `condition` decides what absence means; what it says of a session's bytes is the caller's to judge.
    pub(super) async fn read(&self, id: SessionId, condition: &Condition) -> Result<Session, Error> {
        let stored = self.stored(&id, condition).await?;
        self.session(id, stored)
    }

    pub(super) async fn stored(&self, id: &SessionId, condition: &Condition) -> Result<Stored, Error> {
        let stored = self.0.store.read(id).await.map_err(self.0.rules.read_failed)?;
        stored.ok_or_else(|| condition.absent())
    }

    pub(super) fn session(&self, id: SessionId, stored: Stored) -> Result<Session, Error> {
        let renewed =
            Renewal::of(&stored, self.0.store.life_ms(), now_ms()).map_err(rule::Refusal::Unreadable)?;
        Ok(Session { id, text: stored.text, renewed })
    }
}
