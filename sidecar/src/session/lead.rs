//! One compare-and-set for all who gathered: read, merge each in turn, write, and again over what another pod made
//! meanwhile.

use std::time::Duration;

use super::budget::Budget;
use super::combiner::{Lead, Member};
use super::condition::Condition;
use super::op::OpId;
use super::ring::Wish;
use super::rule::Stamp;
use super::store::{Outcome, Write};
use super::user::Standing;
use super::write::Written;
use super::{Error, Session, SessionId, Sessions, Text, now_ms, random, rule};

/// A write that loses against this many others in a row gives up; each loss is another pod's success.
const ATTEMPTS: u32 = 64;

/// The bytes that changes are laid over.
struct Base {
    text: Text,
    /// Read after the last of the batch had come. What an earlier write left may be another's by now: as long as a
    /// compare-and-set decides that does no harm, but nobody is refused for it.
    fresh: bool,
}

/// What a batch would write, and what becomes of each member when that is written.
struct Merged {
    text: Text,
    fates: Vec<Result<(), Error>>,
}

impl Sessions {
    /// Writes for one session until nobody waits. Whoever led could go away with its client, so this is a task.
    pub(super) async fn lead(self, id: SessionId) {
        let mut lead = Lead::new(&self.0.combiner, &id);
        let mut left = None;
        while let Some(batch) = lead.next() {
            left = self.write_together(&id, batch, left).await;
        }
    }

    /// Tells every member; returns the bytes it left in Redis, if that is known.
    async fn write_together(
        &self,
        id: &SessionId,
        mut batch: Vec<Member>,
        left: Option<Text>,
    ) -> Option<Text> {
        match self.combined(id, &mut batch, left).await {
            // What came before under a key says nothing of the bytes that are there now.
            Ok((written, _)) if written.receipt.earlier.is_some() => {
                for member in batch {
                    member.tell(Ok(written.clone()));
                }
                None
            }
            Ok((written, fates)) => {
                let done = fates.iter().filter(|fate| fate.is_ok()).count() as u64;
                self.0.metrics.updated.inc_by(done);
                self.0.metrics.combined.inc_by(done.saturating_sub(1));
                for (member, fate) in batch.into_iter().zip(fates) {
                    member.tell(fate.map(|()| written.clone()));
                }
                Some(written.session.text)
            }
            Err(error) => {
                for member in batch {
                    let error = member.terms.condition.tells(error.clone());
                    member.tell(Err(error));
                }
                None
            }
        }
    }

    /// Members that cannot be part of it are told and leave the batch.
    async fn combined(
        &self,
        id: &SessionId,
        batch: &mut Vec<Member>,
        left: Option<Text>,
    ) -> Result<(Written, Vec<Result<(), Error>>), Error> {
        let op = OpId::mint()?;
        let mut base = match left {
            Some(text) => Base { text, fresh: false },
            None => self.fresh(id).await?,
        };
        for attempt in 0..ATTEMPTS {
            dismiss(batch, |member| member.terms.budget.is_spent().then(Error::no_time));
            let budget = batch.iter().map(|member| member.terms.budget).reduce(Budget::later);
            let budget = budget.ok_or_else(Error::no_time)?;
            if self.owes(id) {
                // Redis came back while the batch waited for it: what it lost comes before what is new.
                self.caught_up(id, budget).await?;
                base = self.fresh(id).await?;
            }
            let mut merged = merge(&base.text, batch, now_ms());
            if merged.fates.iter().all(Result::is_err) {
                if base.fresh {
                    let mut fates = std::mem::take(&mut merged.fates).into_iter();
                    dismiss(batch, |_| fates.next().and_then(Result::err));
                    return Err(Error::no_time());
                }
                base = self.fresh(id).await?;
                continue;
            }
            if self.0.users.write(id, Some(&base.text), &merged.text).await? == Standing::SignedOut {
                return self.refused(id, &base.text, &Condition::default()).await;
            }
            let digest = base.text.digest();
            let write = Write { op, base: Some(digest), text: &merged.text };
            let done = batch.iter().zip(&merged.fates).filter(|(_, fate)| fate.is_ok());
            let wishes: Vec<Wish> =
                done.map(|(Member { change, terms, .. }, _)| Wish::of(change, terms)).collect();
            let how = batch.first().map(|first| first.terms.how).unwrap_or_default();
            match self.cas(id, &write, &wishes, how, budget).await? {
                Outcome::Done(receipt) => {
                    let session = Session::written(id.clone(), merged.text);
                    return Ok((Written { session, base: Some(digest.to_owned()), receipt }, merged.fates));
                }
                Outcome::Deleted => return Err(Error::NotFound),
                Outcome::Missing => {
                    let found = self.found(id, &Condition::default()).await?;
                    base = Base { text: found.text, fresh: true };
                }
                Outcome::Conflict(current) => base = Base { text: current.text, fresh: true },
            }
            self.0.metrics.conflicts.inc();
            pause(attempt).await?;
        }
        Err(Error::no_time())
    }

    async fn fresh(&self, id: &SessionId) -> Result<Base, Error> {
        Ok(Base { text: self.stored(id, &Condition::default()).await?.text, fresh: true })
    }
}

/// Tells those for whom there is an error, and keeps the others.
fn dismiss(batch: &mut Vec<Member>, mut error: impl FnMut(&Member) -> Option<Error>) {
    for member in std::mem::take(batch) {
        match error(&member) {
            Some(error) => member.tell(Err(error)),
            None => batch.push(member),
        }
    }
}

/// In the order of coming. Whose change does not fit is left out, and the others are none the wiser.
fn merge(base: &Text, batch: &[Member], now_ms: i64) -> Merged {
    let mut merged = Merged { text: base.clone(), fates: Vec::with_capacity(batch.len()) };
    let mut stamp = Stamp::After;
    for Member { change, terms, .. } in batch {
        let fate = terms
            .condition
            .check(&merged.text)
            .and_then(|()| Ok(rule::update(&merged.text, change, terms.identity, now_ms, stamp)?));
        merged.fates.push(fate.map(|text| {
            merged.text = text.into();
            stamp = Stamp::With;
        }));
    }
    merged
}

/// The first losers try again at once; who keeps losing steps aside for a random moment.
async fn pause(attempt: u32) -> Result<(), Error> {
    if attempt > 1 {
        let limit_us = u64::from(attempt.min(16)) * 1000;
        tokio::time::sleep(Duration::from_micros(random()? as u64 % limit_us)).await;
    }
    Ok(())
}
