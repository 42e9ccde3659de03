//! What a request meets before it asks Redis: the outage, and what this process still owes to the session.

use std::time::{Duration, Instant};

use super::budget::Budget;
use super::journal::{Intent, Now, Refused, View};
use super::op::OpId;
use super::outage::{Asks, Event, Operation, State, Verdict, step, verdict};
use super::ring::{Kept, Wish};
use super::store::Write;
use super::{Basis, Error, Session, SessionId, Sessions, Text, now_ms};
use crate::key;
use crate::redis::Incarnation;

/// Which incarnation of Redis' data a write was sent to, as far as that is known.
#[derive(Debug)]
pub(super) struct Sent(Option<Incarnation>);

impl Sessions {
    /// For probes and people.
    pub fn report(&self, now: Instant) -> serde_json::Value {
        self.0.away.report(now)
    }

    /// What this process knew of the session last, when it was certain to be told of changes.
    fn held(&self, id: &SessionId) -> Option<View> {
        let now = Instant::now();
        let (stored, age) = self.0.l1.stale(id, now)?;
        let left = u64::try_from(stored.left_ms).ok().map(Duration::from_millis);
        let current_at = now.checked_sub(age).unwrap_or(now);
        Some(View {
            text: Some(stored.text),
            current_at,
            expires_at: left.and_then(|left| now.checked_add(left)),
        })
    }

    /// Journals the change where that is what becomes of it; None where Redis is to be asked.
    pub(super) fn journaled(
        &self,
        id: &SessionId,
        operation: Operation,
        asks: Asks,
        intent: impl FnOnce() -> Intent,
    ) -> Result<Option<Session>, Error> {
        match self.verdict(id, operation, asks) {
            Verdict::Do | Verdict::DoOrStale => Ok(None),
            Verdict::Refuse | Verdict::Stale => Err(Error::outage()),
            Verdict::Journal => self.journal(id, intent()).map(Some),
        }
    }

    fn journal(&self, id: &SessionId, intent: Intent) -> Result<Session, Error> {
        let away = &self.0.away;
        let now = Now { instant: Instant::now(), ms: now_ms() };
        let view = away.journal.append(id, OpId::mint()?, intent, self.held(id), now);
        match view {
            Ok(view) => {
                away.metrics.journaled.inc();
                let text = view.and_then(|view| view.text).unwrap_or_default();
                Ok(Session { basis: Basis::Journaled, ..Session::written(id.clone(), text) })
            }
            Err(Refused::Full) => {
                away.metrics.overflowed.inc();
                Err(Error::Unavailable { reason: "Redis is away and the journal is full".to_owned() })
            }
            Err(Refused::Over) => Err(Error::outage()),
            Err(Refused::Unfit(error)) => Err(error),
        }
    }

    /// What was known last, where that may be told.
    pub(super) fn stale(&self, id: &SessionId) -> Option<Session> {
        let away = &self.0.away;
        let now = Instant::now();
        let (view, own) = match away.journal.view(id) {
            Some(view) => (view?, true),
            None => (self.held(id)?, false),
        };
        let View { text, current_at, expires_at } = view;
        let age = now.saturating_duration_since(current_at);
        let over = expires_at.is_some_and(|expires_at| expires_at <= now);
        if over || age > away.max_stale {
            return None;
        }
        away.metrics.stale.inc();
        Some(Session { basis: Basis::Stale { age, own }, ..Session::written(id.clone(), text?) })
    }

    /// Brings to Redis what this process still owes it of the session, in order, before anything else is asked.
    pub(super) async fn caught_up(&self, id: &SessionId, budget: Budget) -> Result<(), Error> {
        self.repaired(id, budget).await?;
        self.reseeded(id).await?;
        self.replayed(id, budget).await
    }

    /// Notes a write that Redis has acknowledged, for the case that it loses it.
    pub(super) fn acknowledged(&self, id: &SessionId, write: &Write<'_>, wishes: &[Wish], sent: Sent) {
        let Write { op, base, text } = *write;
        let (base, result) = (base.map(str::to_owned), Some(text.digest().to_owned()));
        self.note(id, Kept { op, base, result, wishes: wishes.to_vec() }, Some(text), sent);
    }

    pub(super) fn deleted(&self, id: &SessionId, op: OpId, base: Option<String>, sent: Sent) {
        self.note(id, Kept { op, base, result: None, wishes: Vec::new() }, None, sent);
    }

    /// Before a write is sent: Redis may come back without it before its answer is looked at.
    pub(super) fn sent(&self, id: &SessionId) -> Sent {
        Sent(self.incarnation(id))
    }

    pub(super) fn incarnation(&self, id: &SessionId) -> Option<Incarnation> {
        self.0.redis.incarnation(&key::session(id))
    }

    fn note(&self, id: &SessionId, written: Kept, text: Option<&Text>, Sent(before): Sent) {
        // Not connected then, so it was sent to whoever is there since.
        let Some(incarnation) = before.or_else(|| self.incarnation(id)) else { return };
        let now = Instant::now();
        let expires_at = now + self.0.store.life();
        let forgotten = self.0.away.ring.record(id, &incarnation, written, text, expires_at, now);
        self.0.away.metrics.forgotten.inc_by(forgotten as u64);
    }

    /// Of the node that owns the session.
    pub(super) fn down_since(&self, id: &SessionId) -> Option<Instant> {
        self.0.redis.down_since(&key::session(id))
    }

    /// A node of a cluster may be away while the others answer: what counts is the one that owns the session.
    pub(super) fn verdict(&self, id: &SessionId, operation: Operation, asks: Asks) -> Verdict {
        let away = &self.0.away;
        let state = match self.down_since(id) {
            None => State::Healthy,
            Some(since) => step(State::Healthy, Event::Silent { since }, Instant::now()).0,
        };
        let conditional = asks.conditional && !self.0.rules.journal_conditional;
        verdict(state, away.fallback, operation, Asks { conditional, ..asks })
    }
}
