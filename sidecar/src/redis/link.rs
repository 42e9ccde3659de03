//! Calls to one Redis over the connection that a supervisor keeps.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::{ErrorKind, Pipeline, RedisError, RedisResult, Script, ServerErrorKind, Value};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::dial::{Connection, Place};
use super::error::{Error, words};
use super::incarnation::{Enrolled, Incarnation};
use super::lease::Event;
use super::strong::{Confirm, Strong};
use super::supervisor::Supervisor;
use super::target::Source;
use super::wires::Wires;
use super::witness::{Sighting, micros};

/// A call's answer must be there by then, wherever it got stuck.
pub(super) const ATTEMPT: Duration = Duration::from_millis(250);
pub(super) const NO_SCRIPT: ErrorKind = ErrorKind::Server(ServerErrorKind::NoScript);
const IN_FLIGHT: usize = 1_024;
/// A connection lost this recently may be back in a moment, and a call waits for that; in an outage it does not.
const BLINK: Duration = Duration::from_millis(500);

/// What is known of the connection; `reason` says why there is none.
#[derive(Debug, Clone, Default)]
pub(super) struct Snapshot {
    pub(super) connection: Option<Connection>,
    /// The record of the node at the other end, where one could be had.
    pub(super) enrolled: Option<Arc<Enrolled>>,
    /// It throws away what it should keep.
    pub(super) evicting: bool,
    pub(super) reason: String,
    /// It has answered PONG at least once.
    pub(super) ever: bool,
    pub(super) lost: Option<Instant>,
    /// Since when it is there.
    pub(super) since: Option<Instant>,
    pub(super) warning: Option<String>,
}

/// A script's call, by its hash.
#[derive(Clone)]
pub(super) struct Ask<'a> {
    pub(super) script: &'a Script,
    pub(super) command: Pipeline,
    /// Whether the node's record is read after it.
    pub(super) seen: bool,
    /// Then the answer comes as a pair, with whether it is confirmed.
    pub(super) confirm: Option<Confirm>,
}

#[derive(Debug, Clone)]
pub(super) struct Link(pub(super) Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) snapshot: watch::Sender<Snapshot>,
    clock: Mutex<Clock>,
    /// A place for one doubt: the first is as good as all.
    doubt: mpsc::Sender<Event>,
    places: Semaphore,
    strong: Strong,
}

impl Link {
    /// The caller owns the future, and runs it. An `heir` has taken over from another node what that one had.
    pub(super) fn new(
        source: Arc<Source>,
        place: Place,
        wires: Wires,
        heir: bool,
        stop: CancellationToken,
    ) -> (Link, impl Future<Output = ()> + Send + 'static) {
        let (doubt, doubts) = mpsc::channel(1);
        let snapshot = Snapshot { reason: "not yet".to_owned(), ..Snapshot::default() };
        let shared = Shared {
            snapshot: watch::Sender::new(snapshot),
            clock: Mutex::default(),
            doubt,
            places: Semaphore::new(IN_FLIGHT),
            strong: Strong::new(source.clone(), place.clone()),
        };
        let link = Link(Arc::new(shared));
        let supervisor = Supervisor::new(link.clone(), source, place, wires, heir, doubts);
        (link, async move {
            // Dropping the supervisor drops the connection.
            stop.run_until_cancelled_owned(supervisor.run()).await;
        })
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        self.0.snapshot.borrow().clone()
    }

    pub(super) fn now_us(&self, now: Instant) -> Option<i64> {
        self.clock(|clock| clock.now_us(now))
    }

    pub(super) fn incarnation(&self) -> Option<Incarnation> {
        Some(self.0.snapshot.borrow().enrolled.as_ref()?.incarnation.clone())
    }

    /// Sends the commands in one write; the answer to the last is the answer.
    pub(super) async fn call(&self, commands: &Pipeline, end: Instant) -> Result<Value, Failed> {
        let (mut connection, _) = self.connection().await?;
        last(self.send(&mut connection, commands, end).await?).map_err(|error| self.failed(error))
    }

    async fn send(
        &self,
        connection: &mut Connection,
        commands: &Pipeline,
        end: Instant,
    ) -> Result<Vec<Value>, Failed> {
        let end = end.min(Instant::now() + ATTEMPT).into();
        let Ok(Ok(_place)) = timeout_at(end, self.0.places.acquire()).await else {
            return Err(Error::unavailable("too many calls wait for Redis").into());
        };
        let Ok(answer) = timeout_at(end, connection.send_packed_commands(commands, 0, commands.len())).await
        else {
            return Err(Error::Unknown { reason: "no answer in time".to_owned() }.into());
        };
        answer.map_err(|error| self.failed(error))
    }

    /// What the answer may be concluded from is read after it, on the same connection.
    async fn ask(&self, ask: &Ask<'_>, end: Instant) -> Result<(Value, Sighting), Failed> {
        let (mut connection, enrolled) = self.connection().await?;
        let Some(enrolled) = enrolled.filter(|_| ask.seen) else {
            let value = last(self.send(&mut connection, &ask.command, end).await?);
            return Ok((value.map_err(|error| self.failed(error))?, Sighting::Nothing));
        };
        let mut pipe = ask.command.clone();
        pipe.cmd("GET").arg(&enrolled.key).cmd("TIME");
        let mut answers = self.send(&mut connection, &pipe, end).await?;
        let (time, record) = (answers.pop(), answers.pop());
        let value = last(answers).map_err(|error| self.failed(error))?;
        let record = record.and_then(|record| Incarnation::read(Ok(record)).ok().flatten());
        let now_us = time.and_then(|time| micros(time).ok());
        let Some(now_us) = now_us.filter(|_| record.as_ref() == Some(&enrolled.incarnation)) else {
            // The supervisor asks at once, and enrols.
            let _full_is_fine = self.0.doubt.try_send(Event::Doubted);
            return Ok((value, Sighting::Nothing));
        };
        let age_us = now_us.saturating_sub(enrolled.incarnation.since_us);
        let evicting = self.0.snapshot.borrow().evicting;
        Ok((value, Sighting::Record { age_us, evicting }))
    }

    /// Where Redis does not know the script, it is loaded first.
    pub(super) async fn evaluate(&self, ask: &Ask<'_>, end: Instant) -> Result<(Value, Sighting), Failed> {
        if let Some(confirm) = ask.confirm {
            let pair = self.0.strong.run(self, ask, confirm, end).await?;
            return Ok((pair, Sighting::Nothing));
        }
        let call = || self.ask(ask, end);
        match call().await {
            Err(Failed { redis: Some(error), .. }) if error.kind() == NO_SCRIPT => {}
            answer => return answer,
        }
        let (mut connection, _) = self.connection().await?;
        let loaded = ask.script.load_async(&mut connection);
        match timeout_at(end.min(Instant::now() + ATTEMPT).into(), loaded).await {
            Ok(Ok(_hash)) => call().await,
            Ok(Err(error)) => {
                self.doubt(&error);
                Err(not_loaded(error))
            }
            Err(_) => Err(Error::unavailable("loading a script took too long").into()),
        }
    }

    /// Waits until a connection that was lost a moment ago is back, or the moment is over.
    pub(super) async fn blinked(&self) {
        let lost = match &*self.0.snapshot.borrow() {
            Snapshot { connection: None, lost: Some(lost), .. } => *lost,
            _ => return,
        };
        let mut snapshots = self.0.snapshot.subscribe();
        let back = snapshots.wait_for(|snapshot| snapshot.connection.is_some());
        let _in_time = timeout_at((lost + BLINK).into(), back).await;
    }

    /// The connection, and the record that is held for it.
    async fn connection(&self) -> Result<(Connection, Option<Arc<Enrolled>>), Error> {
        self.blinked().await;
        let snapshot = self.0.snapshot.borrow();
        let absent = || Error::unavailable(format!("Redis not connected: {}", snapshot.reason));
        Ok((snapshot.connection.clone().ok_or_else(absent)?, snapshot.enrolled.clone()))
    }

    pub(super) async fn up_since(&self) -> Result<Instant, Error> {
        self.connection().await?;
        self.snapshot().since.ok_or_else(|| Error::unavailable("Redis not connected"))
    }

    fn failed(&self, error: RedisError) -> Failed {
        self.doubt(&error);
        Failed { error: (&error).into(), redis: Some(error) }
    }

    pub(super) fn doubt(&self, error: &RedisError) {
        let doubt = match error.kind() {
            ErrorKind::Io | ErrorKind::Parse => Event::Doubted,
            ErrorKind::Server(ServerErrorKind::ReadOnly) => Event::ReadOnly,
            _ => return,
        };
        let _full_is_fine = self.0.doubt.try_send(doubt);
    }

    pub(super) fn clock<T>(&self, act: impl FnOnce(&mut Clock) -> T) -> T {
        act(&mut self.0.clock.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(super) fn last(answers: Vec<Value>) -> RedisResult<Value> {
    answers.into_iter().next_back().unwrap_or(Value::Nil).extract_error()
}

/// Why a call failed, and Redis' own error where it sent one: a cluster's says where to go instead.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: Error,
    pub(super) redis: Option<RedisError>,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed { error, redis: None }
    }
}

/// Loading a script acts on no key: without an answer nothing has happened. An error that Redis answers comes back
/// every time, until a person mends it: an old Redis, or a user who may not load scripts.
pub(super) fn not_loaded(error: RedisError) -> Failed {
    match error.kind() {
        ErrorKind::Io | ErrorKind::Parse => Error::unavailable(words(&error)).into(),
        _ => Failed { error: (&error).into(), redis: Some(error) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_that_redis_will_not_load_is_no_outage() {
        let refused = |answer: &str| {
            let value = redis::parse_redis_value(format!("{answer}\r\n").as_bytes());
            not_loaded(value.and_then(Value::extract_error).unwrap_err()).error
        };
        for lasting in ["-ERR Error compiling script (new function): user_script:1", "-NOPERM no permissions"]
        {
            assert!(matches!(refused(lasting), Error::Unexpected { .. }), "{lasting}");
        }
        for passing in
            ["-LOADING Redis is loading the dataset in memory", "-BUSY a script runs", "no protocol"]
        {
            assert!(matches!(refused(passing), Error::Unavailable { .. }), "{passing}");
        }
        let lost = RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert!(matches!(not_loaded(lost).error, Error::Unavailable { .. }));
    }
}
