//! A connection for one user alone, to the node that owns a key: what is sent on it is executed in that order, and WAIT
//! speaks for it. It lives on the runtime that it is dialled on. After an error it is dropped, and what was concluded
//! from its having been one connection ends with it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::{FromRedisValue, Pipeline, Value};
use tokio::time::timeout;

use super::Redis;
use super::clock::Clock;
use super::dial::Connection;
use super::error::Error;
use super::incarnation::Incarnation;
use super::witness::micros;

/// Beyond what replicas are waited for.
const SLACK: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(crate) struct Own {
    id: u64,
    redis: Redis,
    key: String,
    connection: Connection,
    /// Since when the supervised connection is there. Another one may lead to another Redis.
    beside: Instant,
    record: String,
    clock: Clock,
}

/// One look at a key.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) master: bool,
    /// None where the record is missing: data was lost, and nobody has said so yet.
    pub(crate) incarnation: Option<Incarnation>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) time_us: i64,
}

impl Redis {
    /// To the node that owns `key`; refused while the supervised connection to it is not there.
    pub(crate) async fn own(&self, key: &str) -> Result<Own, Error> {
        static DIALLED: AtomicU64 = AtomicU64::new(1);
        let unowned =
            || Error::unavailable("Redis not connected: no node of the cluster owns the key's slot");
        let link = self.owner(key).ok_or_else(unowned)?;
        let beside = link.up_since().await?;
        let (connection, record) = link.dial().await?;
        let id = DIALLED.fetch_add(1, Ordering::Relaxed);
        let (redis, key, clock) = (self.clone(), key.to_owned(), Clock::default());
        Ok(Own { id, redis, key, connection, beside, record, clock })
    }
}

impl Own {
    /// No other connection of this process has the same.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Reads the key, and whose word that is.
    pub(crate) async fn look(&mut self, patience: Duration) -> Result<Seen, Error> {
        let mut pipe = redis::pipe();
        pipe.cmd("ROLE").cmd("GET").arg(&self.record).cmd("GET").arg(&self.key).cmd("TIME");
        let mut answers = self.send(&pipe, patience).await?.into_iter();
        let mut next = || answers.next().unwrap_or(Value::Nil);
        let (role, record, value, time) = (next(), next(), next(), next());
        let time_us = micros(time).map_err(|error| Error::from(&error))?;
        self.clock.observe(time_us, Instant::now());
        let incarnation = Incarnation::read(Ok(record)).map_err(|error| Error::from(&error))?;
        let value = match value.extract_error() {
            // Not ours to read; whoever writes it makes a string of it.
            Err(error) if error.code() == Some("WRONGTYPE") => None,
            value => parsed(value.map_err(|error| Error::from(&error))?)?,
        };
        Ok(Seen { master: is_master(&role), incarnation, value, time_us })
    }

    /// Runs a script on the key. Its first argument is the deadline, by Redis' clock as the last look showed it, and it
    /// answers `(…, TIME in us)`. Says too whether as many replicas as are asked for have confirmed what it wrote.
    pub(crate) async fn run<T: FromRedisValue>(
        &mut self,
        script: &str,
        args: &[&[u8]],
        replicas: u32,
        patience: Duration,
    ) -> Result<(T, bool), Error> {
        let late = || Error::unavailable("Redis' clock is not known on this connection");
        let now_us = self.clock.now_us(Instant::now()).ok_or_else(late)?;
        let deadline_us = now_us.saturating_add(i64::try_from(patience.as_micros()).unwrap_or(i64::MAX));
        let mut pipe = redis::pipe();
        pipe.cmd("EVAL").arg(script).arg(1).arg(&self.key).arg(deadline_us).arg(args);
        let waits = replicas > 0;
        if waits {
            pipe.cmd("WAIT").arg(replicas).arg(patience.as_millis().to_string());
        }
        let patience = if waits { patience + SLACK } else { patience };
        let mut answers = self.send(&pipe, patience).await?.into_iter();
        let answer = answers.next().unwrap_or(Value::Nil).extract_error();
        let answer = parsed(answer.map_err(|error| Error::from(&error))?)?;
        let count: u32 = if waits { parsed(answers.next().unwrap_or(Value::Nil))? } else { 0 };
        Ok((answer, count >= replicas))
    }

    /// Redis' clock now, as far as it is known.
    pub(crate) fn now_us(&self) -> Option<i64> {
        self.clock.now_us(Instant::now())
    }

    async fn send(&mut self, pipe: &Pipeline, patience: Duration) -> Result<Vec<Value>, Error> {
        let since = self.redis.owner(&self.key).and_then(|link| link.since());
        if since.is_some_and(|since| since != self.beside) {
            return Err(Error::unavailable("the connection beside it is another one now"));
        }
        let sent = self.connection.send_packed_commands(pipe, 0, pipe.len());
        match timeout(patience, sent).await {
            Ok(answers) => answers.map_err(|error| (&error).into()),
            Err(_) => Err(Error::Unknown { reason: "no answer in time".to_owned() }),
        }
    }
}

/// Many a service does not let its users ask: there a write will tell.
fn is_master(role: &Value) -> bool {
    match role {
        Value::Array(role) => role
            .first()
            .is_some_and(|role| matches!(role, Value::BulkString(role) if role.as_slice() == b"master")),
        _ => true,
    }
}

fn parsed<T: FromRedisValue>(value: Value) -> Result<T, Error> {
    redis::from_redis_value(value)
        .map_err(|error| Error::Unexpected { reason: format!("a value of another type: {error}") })
}
