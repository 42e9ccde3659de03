//! Sessions in Redis: one script per operation, each one round trip.

use redis::Script;
use sha1::{Digest, Sha1};

use super::{Error, SessionId};
use crate::key::SessionKeys;
use crate::redis::Redis;

/// No late write of ours outlives its deadline by as much as this.
const TOMBSTONE_MS: u64 = 600_000;

/// The protocol itself, so that a test can break one rule of it and see that somebody notices.
#[derive(Debug, Clone)]
pub struct Scripts {
    pub read: Script,
    pub create: Script,
    pub update: Script,
    pub touch: Script,
    pub delete: Script,
}

impl Default for Scripts {
    fn default() -> Scripts {
        Scripts {
            read: Script::new(include_str!("read.lua")),
            create: Script::new(include_str!("create.lua")),
            update: Script::new(include_str!("update.lua")),
            touch: Script::new(include_str!("touch.lua")),
            delete: Script::new(include_str!("delete.lua")),
        }
    }
}

/// A session's bytes as Redis has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) text: String,
    /// Milliseconds until it expires; negative if it never does.
    pub(crate) left_ms: i64,
}

/// What Redis decided about a write.
#[derive(Debug)]
pub(crate) enum Outcome<T = ()> {
    Done(T),
    /// There is no such session.
    Missing,
    /// It was deleted within the life of a tombstone.
    Deleted,
    /// Its bytes are others than the writer knew.
    Conflict(Stored),
    /// The attempt arrived after its deadline and was refused.
    Late,
}

/// Names the bytes of a session: what a write compares, and the ETag.
pub(crate) fn digest(text: &str) -> String {
    let mut hex = String::with_capacity(40);
    for byte in Sha1::digest(text.as_bytes()) {
        hex.extend([byte >> 4, byte & 15].map(|half| char::from(b"0123456789abcdef"[usize::from(half)])));
    }
    hex
}

#[derive(Debug, Clone)]
pub(crate) struct Store {
    redis: Redis,
    scripts: std::sync::Arc<Scripts>,
    life_ms: u64,
}

impl Store {
    pub(crate) fn new(redis: Redis, scripts: Scripts, life_ms: u64) -> Store {
        Store { redis, scripts: std::sync::Arc::new(scripts), life_ms }
    }

    pub(crate) fn life_ms(&self) -> u64 {
        self.life_ms
    }

    pub(crate) async fn read(&self, id: &SessionId) -> Result<Option<Stored>, Error> {
        let keys = SessionKeys::new(id);
        let reply = self.run(&self.scripts.read, &[&keys.session], &[]).await.map_err(Error::read)?;
        reply.stored()
    }

    pub(crate) async fn create(&self, id: &SessionId, text: &str) -> Result<Outcome, Error> {
        let (keys, life) = (SessionKeys::new(id), self.life_ms.to_string());
        let args = [text.as_bytes(), life.as_bytes()];
        self.write(&self.scripts.create, &keys.both(), &args).await?.outcome(|_| Ok(()))
    }

    pub(crate) async fn update(&self, id: &SessionId, base: &str, text: &str) -> Result<Outcome, Error> {
        let (keys, life) = (SessionKeys::new(id), self.life_ms.to_string());
        let args = [base.as_bytes(), text.as_bytes(), life.as_bytes()];
        self.write(&self.scripts.update, &keys.both(), &args).await?.outcome(|_| Ok(()))
    }

    /// Renews the life when 1 % of it has passed. `base` is the digest that the bytes must have, if any.
    pub(crate) async fn touch(&self, id: &SessionId, base: Option<&str>) -> Result<Outcome<Stored>, Error> {
        let (life, enough) = (self.life_ms.to_string(), (self.life_ms - self.life_ms / 100).to_string());
        let keys = SessionKeys::new(id);
        let args = [life.as_bytes(), enough.as_bytes(), base.unwrap_or_default().as_bytes()];
        self.write(&self.scripts.touch, &[&keys.session], &args).await?.outcome(Reply::current)
    }

    /// `base` as in `touch`.
    pub(crate) async fn delete(&self, id: &SessionId, base: Option<&str>) -> Result<Outcome, Error> {
        let (keys, tombstone) = (SessionKeys::new(id), TOMBSTONE_MS.to_string());
        let args = [base.unwrap_or_default().as_bytes(), tombstone.as_bytes()];
        self.write(&self.scripts.delete, &keys.both(), &args).await?.outcome(|_| Ok(()))
    }

    async fn write(&self, script: &Script, keys: &[&str], args: &[&[u8]]) -> Result<Reply, Error> {
        let deadline = self.redis.deadline_us(keys[0]).await.to_string();
        let args: Vec<&[u8]> = std::iter::once(deadline.as_bytes()).chain(args.iter().copied()).collect();
        self.run(script, keys, &args).await.map_err(Error::write)
    }

    async fn run(
        &self,
        script: &Script,
        keys: &[&str],
        args: &[&[u8]],
    ) -> Result<Reply, crate::redis::Error> {
        let (word, left_ms, bytes) = self.redis.run(script, keys, args).await?;
        Ok(Reply { word, left_ms, bytes })
    }
}

/// What every script answers.
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

    fn outcome<T>(self, done: impl FnOnce(Reply) -> Result<T, Error>) -> Result<Outcome<T>, Error> {
        Ok(match self.word.as_str() {
            "OK" => Outcome::Done(done(self)?),
            "MISSING" => Outcome::Missing,
            "DELETED" => Outcome::Deleted,
            "CONFLICT" => Outcome::Conflict(self.current()?),
            "LATE" => Outcome::Late,
            _ => return Err(self.unknown_word()),
        })
    }

    fn current(self) -> Result<Stored, Error> {
        let text = String::from_utf8(self.bytes.unwrap_or_default())
            .map_err(|error| Error::Unreadable { reason: error.utf8_error().to_string() })?;
        Ok(Stored { text, left_ms: self.left_ms })
    }

    fn unknown_word(&self) -> Error {
        Error::Internal { reason: format!("a session script answered {:?}", self.word) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_what_lua_calls_sha1hex() {
        assert_eq!(digest(""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        assert_eq!(digest("abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
    }
}
