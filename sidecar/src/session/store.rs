//! Sessions in Redis: one script per operation, each one round trip.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{FromRedisValue, Script};

use super::durability::{Durability, How, Way};
use super::idempotency::Idempotency;
use super::l1::L1;
use super::op::OpId;
use super::{Error, Rules, SessionId, Text};
use crate::key::{self, SessionKeys};
use crate::redis::{self as transport, Confirm, Epoch, Redis, Sighting};

/// So long is an operation's id remembered: far longer than anybody sends it again.
const REMEMBERED_MS: u64 = 600_000;

/// The protocol itself, so that a test can break one rule of it and see that somebody notices.
#[derive(Debug, Clone)]
pub struct Scripts {
    pub look: Script,
    pub seek: Script,
    pub write: Script,
    pub touch: Script,
    pub delete: Script,
    pub restore: Script,
    pub bury: Script,
    pub recall: Script,
    pub reserve: Script,
}

impl Default for Scripts {
    fn default() -> Scripts {
        Scripts {
            look: Script::new(include_str!("import_look.lua")),
            seek: Script::new(include_str!("seek.lua")),
            write: Script::new(include_str!("write.lua")),
            touch: Script::new(include_str!("touch.lua")),
            delete: Script::new(include_str!("delete.lua")),
            restore: Script::new(include_str!("restore.lua")),
            bury: Script::new(include_str!("bury.lua")),
            recall: Script::new(include_str!("recall.lua")),
            reserve: Script::new(include_str!("reserve.lua")),
        }
    }
}

/// A session's bytes as Redis has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) text: Text,
    /// Milliseconds until it expires; negative if it never does.
    pub(crate) left_ms: i64,
}

/// One compare-and-set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Write<'a> {
    pub(crate) op: OpId,
    /// The digest of the bytes that `text` was made from; without one there must be no session.
    pub(crate) base: Option<&'a str>,
    pub(crate) text: &'a Text,
}

type ReadAt = (Option<Stored>, Option<Arc<Epoch>>);

/// What became of a session that was not found.
#[derive(Debug)]
pub(crate) enum Sought {
    Found(Stored),
    /// Within the life of a tombstone.
    Deleted,
    Missing(Sighting),
}

/// What Redis has lost of a session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Restore<'a> {
    /// The digest of the bytes that the lost ones came after, if they are there.
    pub(crate) base: Option<&'a str>,
    pub(crate) text: &'a Text,
    pub(crate) left: Duration,
    /// The ids of the lost operations, one after the other.
    pub(crate) ops: &'a [u8],
    /// By Redis' clock, when what is missing may be made again.
    pub(crate) from_us: i64,
}

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PutBack {
    Done,
    /// It is there, or something later is, or it was deleted.
    Needless,
    /// Others have written. `remembered`: the ids of their operations, and perhaps of ours.
    Conflict {
        current: Stored,
        remembered: Vec<u8>,
        now_us: i64,
    },
}

/// What is told of a write that is done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) durability: Durability,
    /// It was done before, by a request with the same key.
    pub(crate) earlier: Option<Earlier>,
}

/// What became of a request that came before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Earlier {
    /// The digest of what it wrote; none of a delete.
    pub(crate) digest: Option<String>,
}

impl Earlier {
    fn of(kept: &str) -> Earlier {
        Earlier { digest: (!kept.starts_with('-')).then(|| kept.to_owned()) }
    }
}

/// What Redis decided about a write.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome<T = ()> {
    Done(T),
    /// There is no such session.
    Missing,
    /// It was deleted within the life of a tombstone.
    Deleted,
    /// Its bytes are others than the writer knew.
    Conflict(Stored),
}

impl<T> Outcome<T> {
    pub(crate) fn map<U>(self, done: impl FnOnce(T) -> U) -> Outcome<U> {
        match self {
            Outcome::Done(value) => Outcome::Done(done(value)),
            Outcome::Missing => Outcome::Missing,
            Outcome::Deleted => Outcome::Deleted,
            Outcome::Conflict(current) => Outcome::Conflict(current),
        }
    }
}

/// What Redis answered to one attempt at a write.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer<T = ()> {
    /// `certain`: an earlier attempt at the same operation was not applied either, or the outcome would say so.
    Decided { outcome: Outcome<T>, certain: bool },
    /// It arrived after its deadline and was refused.
    Late,
}

impl<T> Answer<T> {
    fn map<U>(self, done: impl FnOnce(T) -> U) -> Answer<U> {
        match self {
            Answer::Decided { outcome, certain } => Answer::Decided { outcome: outcome.map(done), certain },
            Answer::Late => Answer::Late,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Store {
    redis: Redis,
    scripts: Arc<Scripts>,
    life_ms: u64,
    tombstone_ms: u64,
    confirm: Confirm,
    l1: Arc<L1>,
}

impl Store {
    pub(crate) fn new(redis: Redis, rules: &Rules, life_ms: u64, tombstone: Duration, l1: Arc<L1>) -> Store {
        let tombstone_ms = u64::try_from(tombstone.as_millis()).unwrap_or(u64::MAX);
        let confirm = Confirm { replicas: redis.replicas(), wait: rules.wait };
        Store { redis, scripts: Arc::new(rules.scripts.clone()), life_ms, tombstone_ms, confirm, l1 }
    }

    pub(crate) fn life_ms(&self) -> u64 {
        self.life_ms
    }

    pub(crate) fn life(&self) -> Duration {
        Duration::from_millis(self.life_ms)
    }

    /// The time of the connection to the node that owns the session.
    pub(crate) fn epoch(&self, id: &SessionId) -> Option<Arc<Epoch>> {
        self.redis.epoch(&key::session(id))
    }

    pub(crate) async fn read(&self, id: &SessionId) -> Result<Option<Stored>, Error> {
        Ok(self.read_at(id).await?.0)
    }

    /// And in whose time it was read.
    pub(crate) async fn read_at(&self, id: &SessionId) -> Result<ReadAt, Error> {
        let (found, epoch) = self.redis.get_at(&key::session(id)).await.map_err(Error::read)?;
        let stored = found.map(|(bytes, left_ms)| stored(bytes, left_ms)).transpose()?;
        Ok((stored, epoch))
    }

    /// What an import would meet: the bytes, and whether the session was deleted lately.
    pub(crate) async fn look(&self, id: &SessionId) -> Result<(Option<Text>, bool), Error> {
        let answer = self.redis.run(&self.scripts.look, &SessionKeys::new(id).both(), &[]).await;
        answer
            .map(|(text, tombstone): (Option<String>, bool)| (text.map(Text::from), tombstone))
            .map_err(Error::read)
    }

    pub(crate) async fn seek(&self, id: &SessionId) -> Result<Sought, Error> {
        let answer = self.redis.run_seen(&self.scripts.seek, &SessionKeys::new(id).both(), &[]).await;
        let ((word, left_ms, bytes), sighting) = answer.map_err(Error::read)?;
        let reply = Reply { word, left_ms, bytes };
        match reply.word.as_str() {
            "DELETED" => Ok(Sought::Deleted),
            _ => Ok(reply.stored()?.map_or(Sought::Missing(sighting), Sought::Found)),
        }
    }

    pub(crate) async fn write(
        &self,
        id: &SessionId,
        write: &Write<'_>,
        life_ms: u64,
        how: How,
    ) -> Result<Answer<Receipt>, Error> {
        let Write { op, base, text } = write;
        let (life, remembered) = (life_ms.to_string(), REMEMBERED_MS.to_string());
        let (base, key) = (base.unwrap_or_default().as_bytes(), how.key.as_ref());
        let key = key.map_or(&[][..], Idempotency::as_bytes);
        let args = [op.as_bytes(), base, text.as_bytes(), life.as_bytes(), remembered.as_bytes(), key];
        let keys = SessionKeys::new(id);
        let sent = Instant::now();
        // An answer to an earlier attempt says nothing of what has become of the bytes since.
        let done = |reply: Reply, durability| {
            let now = reply.word == "OK";
            Ok((reply.receipt(durability)?, now))
        };
        let _sending = self.l1.sending(id);
        let (answer, _) = self.attempt(&self.scripts.write, &keys.both(), &args, how.way, done).await?;
        if let Answer::Decided { outcome: Outcome::Done((_, true)), .. } = &answer {
            let left_ms = i64::try_from(life_ms).unwrap_or(i64::MAX);
            self.l1.wrote(id, &Stored { text: (*text).clone(), left_ms }, sent);
        }
        Ok(answer.map(|(receipt, _)| receipt))
    }

    /// Renews the life when 1 % of it has passed. `base` is the digest that the bytes must have, if any.
    pub(crate) async fn touch(
        &self,
        id: &SessionId,
        base: Option<&str>,
        way: Way,
    ) -> Result<Answer<(Stored, Durability)>, Error> {
        let (life, enough) = (self.life_ms.to_string(), (self.life_ms - self.life_ms / 100).to_string());
        let session = key::session(id);
        let args = [life.as_bytes(), enough.as_bytes(), base.unwrap_or_default().as_bytes()];
        let done = |reply: Reply, durability| Ok((reply.current()?, durability));
        let fill = self.l1.fill(id, self.redis.epoch(&session), Instant::now());
        let (answer, epoch) = self.attempt(&self.scripts.touch, &[&session], &args, way, done).await?;
        if let (Some(fill), Answer::Decided { outcome: Outcome::Done((stored, _)), .. }) = (fill, &answer) {
            self.l1.renew(id, &fill, stored, epoch.as_ref());
        }
        Ok(answer)
    }

    /// `base` as in `touch`.
    pub(crate) async fn delete(
        &self,
        id: &SessionId,
        op: OpId,
        base: Option<&str>,
        how: How,
    ) -> Result<Answer<Receipt>, Error> {
        let tombstone = self.tombstone_ms.to_string();
        let key = how.key.as_ref().map_or(&[][..], Idempotency::as_bytes);
        let args = [op.as_bytes(), base.unwrap_or_default().as_bytes(), tombstone.as_bytes(), key];
        let keys = SessionKeys::new(id);
        let _sending = self.l1.sending(id);
        let (answer, _) =
            self.attempt(&self.scripts.delete, &keys.both(), &args, how.way, Reply::receipt).await?;
        if let Answer::Decided { outcome: Outcome::Done(_) | Outcome::Deleted, .. } = &answer {
            self.l1.gone(id);
        }
        Ok(answer)
    }

    /// What became of a request that came before under the same key, if one did.
    pub(crate) async fn recall(
        &self,
        id: &SessionId,
        key: &Idempotency,
        way: Way,
    ) -> Result<Option<Receipt>, Error> {
        let keys = SessionKeys::new(id);
        let answer = self.send(&self.scripts.recall, &[&keys.sibling], &[key.as_bytes()], way).await;
        let ((word, kept), durability, _): ((String, String), _, _) = answer.map_err(Error::read)?;
        match word.as_str() {
            "NONE" => Ok(None),
            "REPLAYED" => Ok(Some(Receipt { durability, earlier: Some(Earlier::of(&kept)) })),
            _ => Err(Error::KeyReused),
        }
    }

    /// The id for a request to create a session: `new`, or the one that it got before. What becomes of this attempt
    /// need not be known: no session comes of it.
    pub(crate) async fn reserve(&self, key: &Idempotency, new: SessionId) -> Result<SessionId, Error> {
        let (redis_key, life) = (key.redis_key(), REMEMBERED_MS.to_string());
        let deadline = self.redis.deadline_us(&redis_key).await.to_string();
        let args = [deadline.as_bytes(), new.as_str().as_bytes(), &key.as_bytes()[20..], life.as_bytes()];
        let answer = self.redis.run(&self.scripts.reserve, &[&redis_key], &args).await;
        let (word, id): (String, String) = answer.map_err(Error::read)?;
        match word.as_str() {
            "OK" => SessionId::parse(&id),
            "LATE" => Err(Error::late()),
            _ => Err(Error::KeyReused),
        }
    }

    pub(crate) async fn restore(&self, id: &SessionId, restore: &Restore<'_>) -> Result<PutBack, Error> {
        let Restore { base, text, left, ops, from_us } = restore;
        let [left, version, remembered, from] = [
            left.as_millis().to_string(),
            text.version().unwrap_or_default().to_string(),
            REMEMBERED_MS.to_string(),
            from_us.to_string(),
        ];
        let base = base.unwrap_or_default().as_bytes();
        let args = [
            base,
            text.as_bytes(),
            left.as_bytes(),
            version.as_bytes(),
            ops,
            remembered.as_bytes(),
            from.as_bytes(),
        ];
        let (reply, remembered, now_us) = self.put_back(&self.scripts.restore, id, &args).await?;
        Ok(match reply.word.as_str() {
            "OK" => PutBack::Done,
            "APPLIED" | "NEWER" | "DELETED" => PutBack::Needless,
            "CONFLICT" => PutBack::Conflict { current: reply.current()?, remembered, now_us },
            "EARLY" => return Err(Error::repairing()),
            "LATE" => return Err(Error::late()),
            _ => return Err(reply.unknown_word()),
        })
    }

    /// Whether it was not deleted already.
    pub(crate) async fn bury(&self, id: &SessionId, op: OpId) -> Result<bool, Error> {
        let tombstone = self.tombstone_ms.to_string();
        let args = [op.as_bytes(), tombstone.as_bytes()];
        let (reply, _, _) = self.put_back(&self.scripts.bury, id, &args).await?;
        match reply.word.as_str() {
            "OK" => Ok(true),
            "APPLIED" => Ok(false),
            "LATE" => Err(Error::late()),
            _ => Err(reply.unknown_word()),
        }
    }

    async fn put_back(
        &self,
        script: &Script,
        id: &SessionId,
        args: &[&[u8]],
    ) -> Result<(Reply, Vec<u8>, i64), Error> {
        let keys = SessionKeys::new(id);
        let deadline = self.redis.deadline_us(&keys.session).await.to_string();
        let args: Vec<&[u8]> = std::iter::once(deadline.as_bytes()).chain(args.iter().copied()).collect();
        let _sending = self.l1.sending(id);
        let answer = self.redis.run(script, &keys.both(), &args).await;
        let (word, left_ms, bytes, remembered, now_us) = answer.map_err(Error::write)?;
        Ok((Reply { word, left_ms, bytes }, remembered, now_us))
    }

    async fn attempt<T>(
        &self,
        script: &Script,
        keys: &[&str],
        args: &[&[u8]],
        way: Way,
        done: impl FnOnce(Reply, Durability) -> Result<T, Error>,
    ) -> Result<(Answer<T>, Option<Arc<Epoch>>), Error> {
        let deadline = self.redis.deadline_us(keys[0]).await.to_string();
        let args: Vec<&[u8]> = std::iter::once(deadline.as_bytes()).chain(args.iter().copied()).collect();
        let answer = self.send(script, keys, &args, way).await;
        let ((word, left_ms, bytes, forgetful), durability, epoch): ((_, _, _, i64), _, _) =
            answer.map_err(Error::write)?;
        let outcome = Reply { word, left_ms, bytes }.outcome(|reply| done(reply, durability))?;
        let Some(outcome) = outcome else { return Ok((Answer::Late, epoch)) };
        Ok((Answer::Decided { outcome, certain: forgetful == 0 }, epoch))
    }

    /// Where no replica must confirm, there is nothing to wait for.
    async fn send<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        args: &[&[u8]],
        way: Way,
    ) -> Result<(T, Durability, Option<Arc<Epoch>>), transport::Error> {
        let Confirm { replicas, wait: _ } = self.confirm;
        if way == Way::Redis || replicas == 0 {
            let (answer, epoch) = self.redis.run_at(script, keys, args).await?;
            return Ok((answer, Durability::Redis, epoch));
        }
        let (answer, confirmed) = self.redis.run_confirmed(script, keys, args, self.confirm).await?;
        let durability =
            if confirmed { Durability::Replicated } else { Durability::Unconfirmed { replicas } };
        // On a connection on which nothing is heard.
        Ok((answer, durability, None))
    }
}

fn stored(bytes: Vec<u8>, left_ms: i64) -> Result<Stored, Error> {
    let text = String::from_utf8(bytes)
        .map_err(|error| Error::Unreadable { reason: error.utf8_error().to_string() })?;
    Ok(Stored { text: text.into(), left_ms })
}

/// What every script answers first.
struct Reply {
    word: String,
    left_ms: i64,
    bytes: Option<Vec<u8>>,
}

impl Reply {
    fn stored(self) -> Result<Option<Stored>, Error> {
        match self.word.as_str() {
            "OK" => self.current().map(Some),
            "MISSING" => Ok(None),
            _ => Err(self.unknown_word()),
        }
    }

    /// None if the attempt came late.
    fn outcome<T>(self, done: impl FnOnce(Reply) -> Result<T, Error>) -> Result<Option<Outcome<T>>, Error> {
        Ok(Some(match self.word.as_str() {
            "OK" | "APPLIED" | "REPLAYED" => Outcome::Done(done(self)?),
            "REUSED" => return Err(Error::KeyReused),
            "MISSING" => Outcome::Missing,
            "DELETED" => Outcome::Deleted,
            "CONFLICT" => Outcome::Conflict(self.current()?),
            "LATE" => return Ok(None),
            _ => return Err(self.unknown_word()),
        }))
    }

    fn receipt(self, durability: Durability) -> Result<Receipt, Error> {
        let replayed = self.word == "REPLAYED";
        let kept = String::from_utf8(self.bytes.unwrap_or_default()).unwrap_or_default();
        Ok(Receipt { durability, earlier: replayed.then(|| Earlier::of(&kept)) })
    }

    fn current(self) -> Result<Stored, Error> {
        stored(self.bytes.unwrap_or_default(), self.left_ms)
    }

    fn unknown_word(&self) -> Error {
        Error::Internal { reason: format!("a session script answered {:?}", self.word) }
    }
}
