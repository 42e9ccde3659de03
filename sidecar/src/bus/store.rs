//! The messages in Redis: their top, and the last of them in a stream.

use redis::Script;

use super::position::{Life, Position, Top};
use super::rules::Rules;
use crate::coordination::Error;
use crate::key::GroupKeys;
use crate::leader::Held;
use crate::redis::{Error as RedisError, Incarnation, Redis};

/// Kept for those that were away for a while.
const MESSAGES: &str = "10000";
const BYTES: &str = "16777216";
/// Messages of the stream that are read at once: some megabytes at most.
pub(super) const PAGE: usize = 64;

#[derive(Debug)]
pub(super) struct Store {
    redis: Redis,
    pub(super) keys: GroupKeys,
    publish: Script,
    top: Script,
    read: Script,
    /// False: each life of Redis' data is taken for the first.
    lives: bool,
    confirmed: bool,
}

/// What is to be said, and to whom.
pub(super) struct Saying<'a> {
    pub(super) channel: &'a str,
    pub(super) envelope: &'a [u8],
    pub(super) fence: Option<&'a Fence>,
    pub(super) pods: bool,
    /// A channel of the original, and what its pods are told.
    pub(super) original: Option<(&'a str, &'a str)>,
}

/// Under what lease something is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    pub term: u64,
    pub nonce: String,
}

impl From<Held> for Fence {
    fn from(Held { term, nonce, until: _ }: Held) -> Fence {
        Fence { term, nonce }
    }
}

/// Where it stands, and the pods' rows where they were asked for.
pub(super) struct Said {
    pub(super) position: Position,
    pub(super) pods: Vec<(String, String)>,
}

/// A page of the stream.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) top: Top,
    pub(super) found: Vec<(u64, Vec<u8>)>,
    pub(super) more: bool,
}

impl Store {
    pub(super) fn new(redis: Redis, keys: GroupKeys, rules: &Rules) -> Store {
        Store {
            redis,
            keys,
            publish: Script::new(include_str!("publish.lua")),
            top: Script::new(include_str!("top.lua")),
            read: Script::new(include_str!("read.lua")),
            lives: rules.lives,
            confirmed: rules.confirmed,
        }
    }

    /// Redis' clock, while it is known.
    pub(super) fn now_us(&self) -> Option<i64> {
        self.redis.now_us(&self.keys.top)
    }

    /// What is said twice has two places; whoever hears it knows it by its id.
    pub(super) async fn publish(&self, saying: &Saying<'_>) -> Result<Said, Error> {
        let Saying { channel, envelope, fence, pods: with_pods, original } = saying;
        let deadline = self.redis.deadline_us(&self.keys.top).await.to_string();
        let met = self.met().map_err(Error::write)?;
        let (term, nonce) =
            fence.map_or_else(Default::default, |fence| (fence.term.to_string(), fence.nonce.as_str()));
        let (theirs, plain) = original.unwrap_or_default();
        let args = [
            deadline.as_bytes(),
            met.n.as_bytes(),
            met.run_id.as_bytes(),
            channel.as_bytes(),
            envelope,
            MESSAGES.as_bytes(),
            BYTES.as_bytes(),
            term.as_bytes(),
            nonce.as_bytes(),
            if *with_pods { b"1" } else { b"" },
            theirs.as_bytes(),
            plain.as_bytes(),
        ];
        let GroupKeys { lease, fence, top, stream, pods, mirror: _ } = &self.keys;
        let keys = [top, stream, lease, fence, pods].map(String::as_str);
        let told = self.redis.run_replicated(&self.publish, &keys, &args).await;
        let (answer, replicated): (Vec<String>, bool) = told.map_err(Error::write)?;
        if self.met().is_ok_and(|now| now != met) {
            // It may have been told to a Redis that had lost what the number before says, under a number given twice.
            return Err(Error::OutcomeUnknown { reason: "Redis was replaced meanwhile".to_owned() });
        }
        let mut words = answer.into_iter();
        match words.next().as_deref() {
            Some("OK") => {}
            Some("STALE") => return Err(Error::StaleTerm),
            _ => return Err(Error::Unavailable { reason: "it reached Redis too late".to_owned() }),
        }
        if self.confirmed && !replicated {
            // Whoever is on the other side of a network that is parted may have another master, and will not hear it.
            return Err(Error::OutcomeUnknown { reason: "no replica of Redis has confirmed it".to_owned() });
        }
        let mut number = || words.next().and_then(|word| word.parse().ok()).ok_or_else(unexpected);
        let position = Position { n: number()?, seq: number()? };
        let pods = std::iter::from_fn(|| words.next().zip(words.next())).collect();
        Ok(Said { position, pods })
    }

    pub(super) async fn top(&self, probe: &str) -> Result<Top, RedisError> {
        let deadline = self.redis.deadline_us(&self.keys.top).await.to_string();
        let met = self.met()?;
        let args = [deadline.as_bytes(), met.n.as_bytes(), met.run_id.as_bytes(), probe.as_bytes()];
        let (n, run_id, seq): (u64, String, u64) =
            self.redis.run(&self.top, &[&self.keys.top], &args).await?;
        Ok(Top { life: Life { n, run_id }, seq })
    }

    /// None where there is no top: it was lost, and the next to look at it begins a new one.
    pub(super) async fn read(&self, after: Position) -> Result<Option<Page>, RedisError> {
        let (n, first) = (after.n.to_string(), after.seq.saturating_add(1).to_string());
        let count = PAGE.to_string();
        let args = [n.as_bytes(), first.as_bytes(), count.as_bytes()];
        let answer: Vec<Vec<u8>> =
            self.redis.run(&self.read, &[&self.keys.top, &self.keys.stream], &args).await?;
        let mut words = answer.into_iter();
        let mut text = || words.next().and_then(|word| String::from_utf8(word).ok());
        let (Some(n), Some(run_id), Some(seq)) = (text(), text(), text()) else { return Ok(None) };
        let (Ok(n), Ok(seq)) = (n.parse(), seq.parse()) else { return Ok(None) };
        let pairs = std::iter::from_fn(|| words.next().zip(words.next()));
        let found: Vec<_> = pairs.map(|(seq, envelope)| (decimal(&seq), envelope)).collect();
        let more = found.len() == PAGE;
        Ok(Some(Page { top: Top { life: Life { n, run_id }, seq }, found, more }))
    }

    /// Asked when the connection is there. A Redis that could not be asked which life of its data it has may have lost
    /// the top, and would give numbers twice.
    fn met(&self) -> Result<Met, RedisError> {
        if !self.lives {
            return Ok(Met { n: "0".to_owned(), run_id: "?".to_owned() });
        }
        let Some(Incarnation { n, run_id, since_us: _ }) = self.redis.incarnation(&self.keys.top) else {
            return Err(RedisError::Unavailable { reason: "it is not known what Redis has lost".to_owned() });
        };
        Ok(Met { n: n.to_string(), run_id })
    }
}

#[derive(PartialEq, Eq)]
struct Met {
    n: String,
    run_id: String,
}

/// A number of the stream's; 0 for none, which no message has.
fn decimal(digits: &[u8]) -> u64 {
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or_default()
}

fn unexpected() -> Error {
    Error::Internal { reason: "not the answer of the script that publishes".to_owned() }
}
