//! Calls to one Redis over the connection that a supervisor keeps.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::{ErrorKind, Pipeline, RedisError, RedisResult, Script, ServerErrorKind, Value};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;

use super::canary::Canary;
use super::clock::Clock;
use super::dial::{Connection, Place};
use super::epoch::Epoch;
use super::error::{Error, words};
use super::incarnation::{Enrolled, Incarnation};
use super::lease::Event;
use super::strong::{Confirm, Strong};
use super::subscribe::Pushed;
use super::supervisor::Supervisor;
use super::target::Source;
use super::tracking::{Heard, Hearing};
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
    /// Since when Redis says on the connection what changes.
    pub(super) epoch: Option<Arc<Epoch>>,
    /// Why no copy of what is read on it may be served.
    pub(super) incoherent: Option<String>,
    /// It throws away what it should keep.
    pub(super) evicting: bool,
    /// It does not speak RESP3, and says nothing of its own accord but to whoever only listens.
    pub(super) old: bool,
    pub(super) reason: String,
    /// It has answered PONG at least once.
    pub(super) ever: bool,
    pub(super) lost: Option<Instant>,
    /// Since when it is there.
    pub(super) since: Option<Instant>,
    pub(super) warning: Option<String>,
}

/// A connection on which changes are heard of.
pub(super) struct Tracked {
    pub(super) connection: Connection,
    pub(super) epoch: Arc<Epoch>,
    pub(super) tag: Option<u32>,
}

impl Tracked {
    pub(super) fn is(&self, other: &Tracked) -> bool {
        Arc::ptr_eq(&self.epoch, &other.epoch)
    }
}

impl Snapshot {
    pub(super) fn tracked(&self) -> Option<Tracked> {
        let (connection, epoch) = (self.connection.clone()?, self.epoch.clone()?);
        Some(Tracked { connection, epoch, tag: self.enrolled.as_ref()?.tag })
    }
}

/// What a node answered, and on whose time.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) value: Value,
    pub(super) sighting: Sighting,
    pub(super) epoch: Option<Arc<Epoch>>,
}

/// A script's call by its hash, or plain commands.
#[derive(Clone)]
pub(super) struct Ask<'a> {
    pub(super) script: Option<&'a Script>,
    pub(super) commands: Pipeline,
    /// Of a node that does not own the key yet. It says so once for each command.
    pub(super) asking: bool,
    /// Whether the node's record is read after it.
    pub(super) seen: bool,
    /// Then the answer comes as a pair, with whether it is confirmed.
    pub(super) confirm: Option<Confirm>,
}

impl Ask<'_> {
    pub(super) fn plain(commands: Pipeline) -> Self {
        Ask { script: None, commands, asking: false, seen: false, confirm: None }
    }

    pub(super) fn packed(&self) -> Cow<'_, Pipeline> {
        if !self.asking {
            return Cow::Borrowed(&self.commands);
        }
        let mut pipe = redis::pipe();
        for command in self.commands.cmd_iter() {
            pipe.cmd("ASKING").add_command(command.clone());
        }
        Cow::Owned(pipe)
    }

    /// The answer to the command; to more than one, the list of the answers.
    pub(super) fn value(&self, answers: Vec<Value>) -> RedisResult<Value> {
        let (skip, step) = if self.asking { (1, 2) } else { (0, 1) };
        let mut answers = answers.into_iter().skip(skip).step_by(step).map(Value::extract_error);
        match self.commands.len() {
            1 => answers.next().unwrap_or(Ok(Value::Nil)),
            _ => answers.collect::<RedisResult<_>>().map(Value::Array),
        }
    }
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
        let incoherent = Some("that changes are heard of is not proven yet".to_owned());
        let snapshot = Snapshot { reason: "not yet".to_owned(), incoherent, ..Snapshot::default() };
        let shared = Shared {
            snapshot: watch::Sender::new(snapshot),
            clock: Mutex::default(),
            doubt,
            places: Semaphore::new(IN_FLIGHT),
            strong: Strong::new(source.clone(), place.clone()),
        };
        let link = Link(Arc::new(shared));
        let heard = Arc::new(Heard::new(getrandom::u64().unwrap_or_default()));
        let (ear, told, doubt) = (wires.ear.clone(), wires.metrics.clone(), link.0.doubt.clone());
        let hearing = Hearing::new(ear, told, doubt, heard.clone());
        let canary = Canary::new(link.clone(), source.clone(), place.clone(), wires.clone(), heard);
        let supervisor = Supervisor::new(link.clone(), source, place, wires, heir, hearing, doubts);
        (link, async move {
            // Dropping the supervisor drops the connection.
            stop.run_until_cancelled_owned(async { tokio::join!(supervisor.run(), canary.run()) }).await;
        })
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        self.0.snapshot.borrow().clone()
    }

    /// None while it is connected; `started` if it never was.
    pub(super) fn down_since(&self, started: Instant) -> Option<Instant> {
        let snapshot = self.0.snapshot.borrow();
        snapshot.connection.is_none().then(|| snapshot.lost.unwrap_or(started))
    }

    pub(super) fn now_us(&self, now: Instant) -> Option<i64> {
        self.clock(|clock| clock.now_us(now))
    }

    pub(super) fn incarnation(&self) -> Option<Incarnation> {
        Some(self.0.snapshot.borrow().enrolled.as_ref()?.incarnation.clone())
    }

    pub(super) fn epoch(&self) -> Option<Arc<Epoch>> {
        self.0.snapshot.borrow().epoch.clone()
    }

    /// Says in the log when copies begin or cease to be served, and why.
    pub(super) fn incoherent(&self, reason: Option<String>) {
        self.0.snapshot.send_if_modified(|snapshot| {
            let changed = snapshot.incoherent != reason;
            if changed {
                match &reason {
                    Some(reason) => tracing::warn!(reason, "sessions are read from Redis only"),
                    None => tracing::info!("sessions are served from memory while nothing changes them"),
                }
            }
            snapshot.incoherent = reason;
            changed
        });
    }

    /// Sends the commands in one write; the answer to the last is the answer.
    pub(super) async fn call(&self, commands: &Pipeline, end: Instant) -> Result<Value, Failed> {
        let (mut connection, ..) = self.connection().await?;
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
    async fn ask(&self, ask: &Ask<'_>, end: Instant) -> Result<Answer, Failed> {
        let (mut connection, enrolled, epoch) = self.connection().await?;
        let Some(enrolled) = enrolled.filter(|_| ask.seen) else {
            let answers = self.send(&mut connection, &ask.packed(), end).await?;
            let value = ask.value(answers).map_err(|error| self.failed(error))?;
            return Ok(Answer { value, sighting: Sighting::Nothing, epoch });
        };
        let mut pipe = ask.packed().into_owned();
        pipe.cmd("GET").arg(&enrolled.key).cmd("TIME");
        let mut answers = self.send(&mut connection, &pipe, end).await?;
        let (time, record) = (answers.pop(), answers.pop());
        let value = ask.value(answers).map_err(|error| self.failed(error))?;
        let record = record.and_then(|record| Incarnation::read(Ok(record)).ok().flatten());
        let now_us = time.and_then(|time| micros(time).ok());
        let Some(now_us) = now_us.filter(|_| record.as_ref() == Some(&enrolled.incarnation)) else {
            // The supervisor asks at once, and enrols.
            let _full_is_fine = self.0.doubt.try_send(Event::Doubted);
            return Ok(Answer { value, sighting: Sighting::Nothing, epoch });
        };
        let age_us = now_us.saturating_sub(enrolled.incarnation.since_us);
        let evicting = self.0.snapshot.borrow().evicting;
        Ok(Answer { value, sighting: Sighting::Record { age_us, evicting }, epoch })
    }

    /// Where Redis does not know the script, it is loaded first.
    pub(super) async fn evaluate(&self, ask: &Ask<'_>, end: Instant) -> Result<Answer, Failed> {
        if let Some(confirm) = ask.confirm {
            let value = Box::pin(self.0.strong.run(self, ask, confirm, end)).await?;
            return Ok(Answer { value, sighting: Sighting::Nothing, epoch: None });
        }
        match (self.ask(ask, end).await, ask.script) {
            (Err(Failed { redis: Some(error), .. }), Some(script)) if error.kind() == NO_SCRIPT => {
                let (mut connection, ..) = self.connection().await?;
                Box::pin(load(&mut connection, script, end, |error| self.doubt(error))).await?;
                Box::pin(self.ask(ask, end)).await
            }
            (answer, _) => answer,
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

    /// The connection, the record that is held for it, and its time.
    async fn connection(&self) -> Result<(Connection, Option<Arc<Enrolled>>, Option<Arc<Epoch>>), Error> {
        self.blinked().await;
        let snapshot = self.0.snapshot.borrow();
        let absent = || Error::unavailable(format!("Redis not connected: {}", snapshot.reason));
        let connection = snapshot.connection.clone().ok_or_else(absent)?;
        Ok((connection, snapshot.enrolled.clone(), snapshot.epoch.clone()))
    }

    pub(super) async fn up_since(&self) -> Result<Instant, Error> {
        self.connection().await?;
        self.snapshot().since.ok_or_else(|| Error::unavailable("Redis not connected"))
    }

    /// Since when the supervised connection is there, if it is.
    pub(super) fn since(&self) -> Option<Instant> {
        self.0.snapshot.borrow().since
    }

    /// Beside the supervised one, on the runtime of the caller; and the key of the node's record.
    pub(super) async fn dial(&self) -> Result<(Connection, String), Error> {
        let connection = self.0.strong.dial().await?;
        let enrolled = self.0.snapshot.borrow().enrolled.clone();
        let record = enrolled.map(|enrolled| enrolled.key.clone());
        Ok((connection, record.ok_or_else(|| Error::unavailable("the node's record is not known yet"))?))
    }

    /// The same, on which somebody listens.
    pub(super) async fn dial_listening(&self, pushed: &Pushed) -> Result<Connection, Error> {
        self.0.strong.dial_listening(pushed).await
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

pub(super) async fn load(
    connection: &mut Connection,
    script: &Script,
    end: Instant,
    failed: impl FnOnce(&RedisError),
) -> Result<(), Failed> {
    match timeout_at(end.min(Instant::now() + ATTEMPT).into(), script.load_async(connection)).await {
        Ok(Ok(_hash)) => Ok(()),
        Ok(Err(error)) => {
            failed(&error);
            Err(not_loaded(error))
        }
        Err(_) => Err(Error::unavailable("loading a script took too long").into()),
    }
}

/// Loading a script acts on no key: without an answer nothing has happened. An error that Redis answers comes back
/// every time, until a person mends it: an old Redis, or a user who may not load scripts.
fn not_loaded(error: RedisError) -> Failed {
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
