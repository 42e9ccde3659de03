//! Reads: what a session is, or why that cannot be said.

use std::time::{Duration, Instant};

use super::budget::Budget;
use super::condition::Condition;
use super::metrics::Source;
use super::outage::{Operation, Verdict};
use super::renewal::Renewal;
use super::store::Stored;
use super::user::Standing;
use super::{Basis, Error, Session, SessionId, Sessions, Text, now_ms, rule};

impl Sessions {
    /// `condition` decides what absence means; what it says of a session's bytes is the caller's to judge.
    pub(super) async fn read(&self, id: SessionId, condition: &Condition) -> Result<Session, Error> {
        let mut timer = self.0.metrics.timer("read");
        let read = match self.verdict(&id, Operation::Read, condition.asks()) {
            Verdict::Stale => Err(Error::outage()),
            _ => self.read_through(&id, condition, &mut timer.source).await,
        };
        match read {
            Err(error @ Error::Unavailable { .. }) if condition.takes_stale() => {
                timer.source = Source::Memory;
                self.stale(&id).ok_or(error)
            }
            read => {
                let (stored, bound) = read?;
                self.0.metrics.bound(bound);
                let mut session = self.session(id, stored)?;
                session.bound_ms = Some(u64::try_from(bound.as_micros().div_ceil(1000)).unwrap_or(u64::MAX));
                Ok(session)
            }
        }
    }

    /// And how much older than the request it may be.
    async fn read_through(
        &self,
        id: &SessionId,
        condition: &Condition,
        source: &mut Source,
    ) -> Result<(Stored, Duration), Error> {
        let now = Instant::now();
        let epoch = self.0.store.epoch(id);
        let may = || !condition.is_fresh() && !self.0.away.journal.has(id);
        if let Some(kept) = self.0.l1.get(id, epoch.as_ref(), now).filter(|_| may()) {
            *source = Source::L1;
            return Ok((kept, epoch.map(|epoch| epoch.bound()).unwrap_or_default()));
        }
        self.caught_up(id, Budget::begin()).await?;
        let (read, age) = if condition.is_fresh() {
            (Box::pin(self.filled(id)).await, Duration::ZERO)
        } else {
            Box::pin(self.0.l1.air.share(id, now, || self.filled(id))).await
        };
        match read.map_err(|error| condition.tells(error))? {
            Some(stored) => Ok((stored, age)),
            None => Ok((Box::pin(self.found(id, condition)).await?, age)),
        }
    }

    /// What Redis says, kept for those who read it next.
    async fn filled(&self, id: &SessionId) -> Result<Option<Stored>, Error> {
        self.0.metrics.filled.inc();
        let fill = self.0.l1.fill(id, self.0.store.epoch(id), Instant::now());
        let (stored, epoch) = self.0.store.read_at(id).await.map_err(self.0.rules.read_failed)?;
        let Some(stored) = stored else { return Ok(None) };
        let stored = self.admitted(id, stored, &Condition::default()).await?;
        if let Some(fill) = fill {
            self.0.l1.keep(id, &fill, &stored, epoch.as_ref());
        }
        Ok(Some(stored))
    }

    /// What Redis says now: writers are refused for it.
    pub(super) async fn stored(&self, id: &SessionId, condition: &Condition) -> Result<Stored, Error> {
        let stored = self.0.store.read(id).await.map_err(self.0.rules.read_failed)?;
        let stored = match stored {
            Some(stored) => stored,
            None => Box::pin(self.found(id, condition)).await?,
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
            Standing::SignedOut => Box::pin(self.refused(id, &stored.text, condition)).await,
        }
    }

    /// It is over, whether or not it can be deleted now.
    pub(super) async fn refused<T>(
        &self,
        id: &SessionId,
        text: &Text,
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
        Ok(Session { id, text: stored.text, renewed, basis: Basis::Redis, bound_ms: None })
    }
}
