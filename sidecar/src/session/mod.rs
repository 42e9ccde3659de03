//! Sessions: read → rule → compare-and-set, three steps that do not know each other.

pub mod api;
mod body;
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
mod rule;
mod store;
#[cfg(test)]
mod tests;
mod turns;
pub mod v1;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::time::Instant;

use crate::config;
use crate::redis::Redis;
use condition::Condition;
use document::Invalid;
pub use error::Error;
pub use id::SessionId;
use metrics::Metrics;
use rule::{Change, Identity, Origin};
pub use store::Scripts;
use store::{Outcome, Store, Stored, digest};
use turns::Turns;

/// A write that loses against this many others in a row gives up; each loss is another pod's success.
const ATTEMPTS: u32 = 64;
/// No attempt starts later than this after the first; with one call's own deadline that is under two seconds.
const RETRY_FOR: Duration = Duration::from_millis(800);

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
    /// When it was last renewed, if that was later than `lastActivity` says, and where that value stands.
    renewed: Option<(i64, Range<usize>)>,
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
            Outcome::Done => {
                self.0.metrics.created.inc();
                Ok(Session::written(id, text))
            }
            Outcome::Late => Err(Error::late()),
            Outcome::Missing | Outcome::Deleted | Outcome::Conflict(_) => {
                Err(Error::Internal { reason: "128 random bits came twice".to_owned() })
            }
        }
    }

    async fn read(&self, id: SessionId) -> Result<Session, Error> {
        let stored = self.0.store.read(&id).await.map_err(self.0.rules.read_failed)?;
        self.session(id, stored.ok_or(Error::NotFound)?)
    }

    async fn update(
        &self,
        id: SessionId,
        change: &Change,
        condition: &Condition,
        identity: Identity,
    ) -> Result<Session, Error> {
        let started = Instant::now();
        let _turn = self.0.turns.take(&id, RETRY_FOR).await.ok_or_else(Error::contended)?;
        let stored = self.0.store.read(&id).await.map_err(self.0.rules.read_failed)?;
        let mut current = stored.ok_or_else(|| condition.absent())?;
        for attempt in 0..ATTEMPTS {
            if started.elapsed() > RETRY_FOR {
                break;
            }
            let base = digest(&current.text);
            condition.check(&base)?;
            let text = rule::update(&current.text, change, identity, now_ms())?;
            match self.0.store.update(&id, &base, &text).await? {
                Outcome::Done => {
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
        Err(Error::contended())
    }

    /// Like `update`; where a change says nothing but "still here", the session's life is all that changes.
    async fn update_or_touch(
        &self,
        id: SessionId,
        change: &Change,
        condition: &Condition,
        identity: Identity,
    ) -> Result<Session, Error> {
        if condition.is_unconditional() && change.is_touch()? {
            return self.touch(id).await.map_err(|error| match error {
                Error::NotFound => condition.absent(),
                other => other,
            });
        }
        self.update(id, change, condition, identity).await
    }

    /// Writes a session under an id that the client chose and that did not exist a moment ago.
    async fn create_as(&self, id: SessionId, change: &Change, origin: &Origin) -> Result<Session, Error> {
        if !self.0.allow_client_ids {
            return Err(Error::ClientIdRefused);
        }
        let text = rule::create(origin, Some((change, self.0.identity)), now_ms())?;
        match self.0.store.create(&id, &text).await? {
            Outcome::Done => {
                self.0.metrics.created.inc();
                Ok(Session::written(id, text))
            }
            Outcome::Conflict(_) => self.update(id, change, &Condition::default(), self.0.identity).await,
            Outcome::Missing | Outcome::Deleted => Err(Error::NotFound),
            Outcome::Late => Err(Error::late()),
        }
    }

    async fn touch(&self, id: SessionId) -> Result<Session, Error> {
        let stored = self.0.store.touch(&id).await?.ok_or(Error::NotFound)?;
        self.0.metrics.touched.inc();
        self.session(id, stored)
    }

    async fn delete(&self, id: &SessionId, condition: &Condition) -> Result<(), Error> {
        let started = Instant::now();
        let mut base = self.checked_base(id, condition).await?;
        while started.elapsed() <= RETRY_FOR {
            match self.0.store.delete(id, base.as_deref()).await? {
                Outcome::Done => {
                    self.0.metrics.deleted.inc();
                    return Ok(());
                }
                Outcome::Missing | Outcome::Deleted => return Err(condition.absent()),
                Outcome::Late => return Err(Error::late()),
                Outcome::Conflict(current) => {
                    let fresh = digest(&current.text);
                    condition.check(&fresh)?;
                    base = Some(fresh);
                }
            }
            self.0.metrics.conflicts.inc();
        }
        Err(Error::contended())
    }

    /// The digest that a conditional delete must meet; an unconditional one needs no read before it.
    async fn checked_base(&self, id: &SessionId, condition: &Condition) -> Result<Option<String>, Error> {
        if condition.is_unconditional() {
            return Ok(None);
        }
        let stored = self.0.store.read(id).await.map_err(self.0.rules.read_failed)?;
        let base = digest(&stored.ok_or_else(|| condition.absent())?.text);
        condition.check(&base)?;
        Ok(Some(base))
    }

    fn session(&self, id: SessionId, stored: Stored) -> Result<Session, Error> {
        let renewed =
            renewal(&stored, self.0.store.life_ms(), now_ms()).map_err(rule::Refusal::Unreadable)?;
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
        let Some((renewed_ms, at)) = &self.renewed else { return Cow::Borrowed(&self.text) };
        let mut text = self.text.clone();
        text.replace_range(at.clone(), &format!("\"{}\"", rule::timestamp(*renewed_ms)));
        Cow::Owned(text)
    }
}

/// A touch changes no byte, so when the session was last renewed is computed from the life that is left. Told is
/// only what is later than `lastActivity` by more than the way to Redis may cost; with the place of that value.
fn renewal(stored: &Stored, life_ms: u64, now_ms: i64) -> Result<Option<(i64, Range<usize>)>, Invalid> {
    let Stored { text, left_ms } = stored;
    let Some(value) = document::peek(text, "lastActivity")? else { return Ok(None) };
    let (Ok(life_ms), Some(written_ms)) =
        (i64::try_from(life_ms), rule::milliseconds(value.trim_matches('"')))
    else {
        return Ok(None);
    };
    let slack_ms = (life_ms / 100).min(1000);
    let renewed_ms = now_ms.saturating_sub((life_ms - left_ms).max(0));
    let at = value.as_ptr() as usize - text.as_ptr() as usize;
    let tell = *left_ms >= 0 && renewed_ms > written_ms.saturating_add(slack_ms);
    Ok(tell.then_some((renewed_ms, at..at + value.len())))
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

#[cfg(test)]
mod renewal_tests {
    use super::*;

    const LIFE: u64 = 86_400_000;
    /// 2026-11-20T18:20:34.366Z
    const NOW: i64 = 1_795_198_834_366;

    fn answer(text: &str, left_ms: i64) -> String {
        let stored = Stored { text: text.to_owned(), left_ms };
        let renewed = renewal(&stored, LIFE, NOW).unwrap();
        let id = SessionId::parse("a").unwrap();
        Session { id, text: stored.text, renewed }.answer().into_owned()
    }

    #[test]
    fn an_answer_tells_the_last_touch_and_changes_nothing_else() {
        let text = r#"{"a":"2020-01-01T00:00:00.000Z","lastActivity":"2020-01-01T00:00:00.000Z","b":1.0}"#;
        let expect = r#"{"a":"2020-01-01T00:00:00.000Z","lastActivity":"2026-11-20T18:20:33.366Z","b":1.0}"#;
        assert_eq!(answer(text, LIFE as i64 - 1000), expect);
    }

    #[test]
    fn what_was_written_is_told_as_it_was_written() {
        let written = |time: &str| format!(r#"{{"lastActivity":"{time}"}}"#);
        for (text, left_ms) in [
            // Redis was reached 900 ms after the value was made.
            (written("2026-11-20T18:20:33.466Z"), LIFE as i64),
            // Another writer's clock is ahead, or its sessions live longer, or for ever.
            (written("2026-11-20T19:20:34.366Z"), LIFE as i64),
            (written("2026-11-20T18:20:34.366Z"), 10 * LIFE as i64),
            (written("2020-01-01T00:00:00.000Z"), -1),
            (written("yesterday"), LIFE as i64),
            (r#"{"lastActivity":7}"#.to_owned(), LIFE as i64),
            ("{}".to_owned(), LIFE as i64),
        ] {
            assert_eq!(answer(&text, left_ms), text);
        }
    }
}
