//! Brings journaled changes to Redis: each once, in the order in which this process acknowledged them, over whatever
//! the session has become.

use std::sync::Arc;
use std::time::Instant;

use tokio::time::timeout;

use super::away::Reason;
use super::budget::Budget;
use super::condition::Condition;
use super::durability::{How, Way};
use super::journal::{Attempt, Entry, Intent};
use super::op::OpId;
use super::ring::Wish;
use super::rule::{Change, Identity, Stamp};
use super::store::{Answer, Outcome, Sought, Write};
use super::user::Standing;
use super::{Error, SessionId, Sessions, now_ms, rule};

/// What became of one change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Replayed,
    Dropped(Reason),
}

impl Sessions {
    /// All that is journaled for the session. An error leaves what is not done for another time.
    pub(super) async fn replayed(&self, id: &SessionId, budget: Budget) -> Result<(), Error> {
        let away = &self.0.away;
        let Some(turn) = away.journal.turn(id) else { return Ok(()) };
        let _turn = timeout(budget.left(), turn.lock()).await.map_err(|_| Error::no_time())?;
        let mut again = Vec::new();
        while let Some((seq, entry)) = away.journal.first(id) {
            if budget.is_spent() {
                return Err(Error::no_time());
            }
            let fate = Box::pin(self.replay(id, seq, &entry, budget)).await?;
            if !self.0.rules.replay_once {
                again.push((seq, Entry { op: OpId::mint()?, attempt: None, ..entry }));
            }
            if away.journal.remove(seq) {
                match fate {
                    Fate::Replayed => drop(away.metrics.replayed.inc()),
                    Fate::Dropped(reason) => away.metrics.drop_many(reason, 1),
                }
            }
        }
        for (seq, entry) in again {
            Box::pin(self.replay(id, seq, &entry, budget)).await?;
        }
        Ok(())
    }

    async fn replay(&self, id: &SessionId, seq: u64, entry: &Entry, budget: Budget) -> Result<Fate, Error> {
        let sent = self.sent(id);
        let result = match &*entry.intent {
            Intent::Merge(change, identity) => {
                self.replay_merge(id, seq, entry, (change, *identity), budget).await
            }
            Intent::Touch => match self.0.store.touch(id, None, Way::Redis).await? {
                Answer::Decided { outcome: Outcome::Done(_), .. } => Ok(Fate::Replayed),
                Answer::Decided { .. } => self.absent(id).await,
                Answer::Late => Err(Error::late()),
            },
            Intent::Delete => match self.0.store.delete(id, entry.op, None, How::default()).await? {
                Answer::Decided { outcome: Outcome::Done(_), .. } => {
                    self.0.metrics.deleted.inc();
                    self.deleted(id, entry.op, None, sent);
                    Ok(Fate::Replayed)
                }
                Answer::Decided { outcome: Outcome::Deleted, .. } => Ok(Fate::Dropped(Reason::Tombstoned)),
                Answer::Decided { .. } => self.absent(id).await,
                Answer::Late => Err(Error::late()),
            },
            Intent::Create(text) => {
                self.0.users.write(id, None, text).await?;
                let write = Write { op: entry.op, base: None, text };
                match self.0.store.write(id, &write, self.0.store.life_ms(), How::default()).await? {
                    Answer::Decided { outcome: Outcome::Done(_), .. } => Ok(Fate::Replayed),
                    Answer::Decided { outcome: Outcome::Deleted, .. } => {
                        Ok(Fate::Dropped(Reason::Tombstoned))
                    }
                    Answer::Decided { .. } => Ok(Fate::Dropped(Reason::Unfit)),
                    Answer::Late => Err(Error::late()),
                }
            }
        };
        match result {
            Err(Error::Unreadable { .. }) => Ok(Fate::Dropped(Reason::Unfit)),
            result => result,
        }
    }

    async fn replay_merge(
        &self,
        id: &SessionId,
        seq: u64,
        entry: &Entry,
        (change, identity): (&Arc<Change>, Identity),
        budget: Budget,
    ) -> Result<Fate, Error> {
        let journal = &self.0.away.journal;
        let mut doubtful = entry.attempt.clone();
        while !budget.is_spent() {
            let in_doubt = doubtful.is_some();
            let attempt = match doubtful.take() {
                Some(attempt) => attempt,
                None => match self.merged(id, change, identity).await? {
                    Ok(attempt) => attempt,
                    Err(fate) => return Ok(fate),
                },
            };
            // Before it is sent: whoever waits for the answer may be given up.
            journal.attempted(seq, Some(attempt.clone()));
            let write = Write { op: entry.op, base: Some(&attempt.base), text: &attempt.text };
            let sent = self.sent(id);
            let answer = self.0.store.write(id, &write, self.0.store.life_ms(), How::default()).await;
            if !in_doubt && matches!(answer, Err(Error::Unavailable { .. }) | Ok(Answer::Late)) {
                journal.attempted(seq, None);
            }
            match answer? {
                Answer::Late => return Err(Error::late()),
                Answer::Decided { outcome: Outcome::Done(_), .. } => {
                    self.0.metrics.updated.inc();
                    self.acknowledged(id, &write, &[Wish::Merge(Arc::clone(change), identity)], sent);
                    return Ok(Fate::Replayed);
                }
                Answer::Decided { certain: false, .. } if in_doubt => {
                    return Ok(Fate::Dropped(Reason::Unknown));
                }
                Answer::Decided { outcome: Outcome::Deleted, .. } => {
                    return Ok(Fate::Dropped(Reason::Tombstoned));
                }
                Answer::Decided { outcome: Outcome::Missing | Outcome::Conflict(_), .. } => {
                    journal.attempted(seq, None);
                }
            }
        }
        Err(Error::no_time())
    }

    /// The change laid over the session as it is now.
    async fn merged(
        &self,
        id: &SessionId,
        change: &Arc<Change>,
        identity: Identity,
    ) -> Result<Result<Attempt, Fate>, Error> {
        let stored = match self.stored(id, &Condition::default()).await {
            Err(Error::NotFound) => return Ok(Err(self.gone(id).await?)),
            stored => stored?,
        };
        let base = stored.text.digest().to_owned();
        let shown = self.0.away.journal.view(id).flatten().and_then(|view| view.text);
        let text = match shown.filter(|_| !self.0.rules.replay_checks_base) {
            Some(shown) => shown,
            None => match rule::update(&stored.text, change, identity, now_ms(), Stamp::After) {
                Ok(text) => text.into(),
                Err(_) => return Ok(Err(Fate::Dropped(Reason::Unfit))),
            },
        };
        if self.0.users.write(id, Some(&stored.text), &text).await? == Standing::SignedOut {
            return Ok(Err(Fate::Dropped(Reason::Gone)));
        }
        Ok(Ok(Attempt { base, text }))
    }

    /// A script found nothing, which proves nothing.
    async fn absent(&self, id: &SessionId) -> Result<Fate, Error> {
        match self.stored(id, &Condition::default()).await {
            Err(Error::NotFound) => self.gone(id).await,
            Err(error) => Err(error),
            Ok(_) => Err(Error::late()),
        }
    }

    async fn gone(&self, id: &SessionId) -> Result<Fate, Error> {
        let expired = self.0.away.journal.is_expired(id, Instant::now());
        Ok(Fate::Dropped(match self.0.store.seek(id).await? {
            Sought::Deleted => Reason::Tombstoned,
            Sought::Found(_) | Sought::Missing(_) if expired => Reason::Expired,
            Sought::Found(_) | Sought::Missing(_) => Reason::Gone,
        }))
    }
}
