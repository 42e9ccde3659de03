//! A user's sessions in Redis. The index is a hint that readers verify against the documents; the mark is not.
//! It lies in another slot than the sessions: two calls, never one script.

use redis::{FromRedisValue, Script};

use super::{Error, SessionId};
use crate::key::UserKeys;
use crate::redis::{self as transport, Redis};

/// An index and a mark outlive the last session that they are about by this.
const MARGIN_MS: u64 = 600_000;
/// No write that a session was named before takes as long.
const YOUNG_MS: u64 = 60_000;

#[derive(Debug, Clone)]
pub(crate) struct Index {
    redis: Redis,
    scripts: std::sync::Arc<Scripts>,
    life_ms: u64,
}

#[derive(Debug)]
struct Scripts {
    add: Script,
    drop: Script,
    page: Script,
    judge: Script,
    sign_out: Script,
}

/// What a session is to its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tie {
    /// It becomes the user's now.
    New,
    /// It is the user's already; since when, its document may say.
    Old,
}

/// A place between two sessions of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) score: i64,
    pub(crate) id: String,
}

impl Index {
    pub(crate) fn new(redis: Redis, life_ms: u64) -> Index {
        let scripts = Scripts {
            add: Script::new(include_str!("index_add.lua")),
            drop: Script::new(include_str!("index_drop.lua")),
            page: Script::new(include_str!("index_page.lua")),
            judge: Script::new(include_str!("index_judge.lua")),
            sign_out: Script::new(include_str!("sign_out.lua")),
        };
        Index { redis, scripts: std::sync::Arc::new(scripts), life_ms }
    }

    /// What was in an index is there still while this stays the same.
    pub(crate) fn incarnation(&self, keys: &UserKeys) -> Option<u64> {
        self.redis.incarnation(&keys.index).map(|incarnation| incarnation.n)
    }

    pub(crate) async fn add(
        &self,
        keys: &UserKeys,
        id: &SessionId,
        left_ms: u64,
        tie: Tie,
    ) -> Result<(), transport::Error> {
        let UserKeys { index, since, not_before } = keys;
        let new = if tie == Tie::New { "1" } else { "0" };
        let args = [id.as_str(), &left_ms.to_string(), &MARGIN_MS.to_string(), new];
        self.write(&self.scripts.add, &[index, since, not_before], &args).await
    }

    /// Whoever drops has seen that the session is gone, or somebody else's.
    pub(crate) async fn drop(&self, keys: &UserKeys, id: &str) -> Result<(), transport::Error> {
        let args = [id, &YOUNG_MS.to_string()];
        self.write(&self.scripts.drop, &[&keys.index, &keys.since], &args).await
    }

    /// The next sessions after a place, or the first.
    pub(crate) async fn page(
        &self,
        keys: &UserKeys,
        after: Option<&Place>,
        most: usize,
    ) -> Result<Vec<Place>, Error> {
        let (score, id) = after.map_or(("".to_owned(), ""), |place| (place.score.to_string(), &place.id));
        self.places(keys, [&score, id, &most.to_string(), "0"]).await
    }

    /// Sessions whose life was over by now when they were last named.
    pub(crate) async fn due(&self, keys: &UserKeys, most: usize) -> Result<Vec<Place>, Error> {
        self.places(keys, ["", "", &most.to_string(), "1"]).await
    }

    async fn places(&self, keys: &UserKeys, args: [&str; 4]) -> Result<Vec<Place>, Error> {
        let places: Vec<(String, i64)> = self.run(&self.scripts.page, &[&keys.index], &args).await?;
        Ok(places.into_iter().map(|(id, score)| Place { score, id }).collect())
    }

    /// The user's mark, and since when the session is the user's, as far as they are known.
    pub(crate) async fn judge(
        &self,
        keys: &UserKeys,
        id: &SessionId,
    ) -> Result<(Option<i64>, Option<i64>), Error> {
        self.run(&self.scripts.judge, &[&keys.since, &keys.not_before], &[id.as_str()]).await
    }

    pub(crate) async fn sign_out(&self, keys: &UserKeys) -> Result<(), Error> {
        let life = (self.life_ms + MARGIN_MS).to_string();
        let keys = [keys.since.as_str(), &keys.not_before];
        self.write(&self.scripts.sign_out, &keys, &[&life]).await.map_err(|error| match error {
            transport::Error::Unknown { reason } => Error::OutcomeUnknown { reason },
            error => failed(error),
        })
    }

    async fn write(&self, script: &Script, keys: &[&str], args: &[&str]) -> Result<(), transport::Error> {
        let deadline = self.redis.deadline_us(keys[0]).await.to_string();
        let args: Vec<&[u8]> =
            std::iter::once(deadline.as_str()).chain(args.iter().copied()).map(str::as_bytes).collect();
        let word: String = self.redis.run(script, keys, &args).await?;
        if word == "LATE" {
            let reason = "the attempt reached Redis after its deadline and was refused".to_owned();
            return Err(transport::Error::Unavailable { reason });
        }
        Ok(())
    }

    async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        args: &[&str],
    ) -> Result<T, Error> {
        let args: Vec<&[u8]> = args.iter().copied().map(str::as_bytes).collect();
        self.redis.run(script, keys, &args).await.map_err(failed)
    }
}

/// An index that is no index is no matter of the session's bytes.
pub(crate) fn failed(error: transport::Error) -> Error {
    match error {
        transport::Error::Unexpected { reason } => Error::Internal { reason },
        error => Error::read(error),
    }
}
