//! One supervised connection: dials, asks PING and TIME ten times a second, drops what does not answer, dials again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::{ErrorKind, Pipeline, RedisError, RedisResult, Script, ServerErrorKind, Value};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::dial::{self, Connection, Held, Place};
use super::error::{Error, words};
use super::lease::{Action, Event, PING_TIMEOUT, State, step};
use super::metrics::{Metrics, Share};
use super::policy;
use super::report::Reporter;
use super::target::Source;

/// A call's answer must be there by then, wherever it got stuck.
pub(super) const ATTEMPT: Duration = Duration::from_millis(250);
const NO_SCRIPT: ErrorKind = ErrorKind::Server(ServerErrorKind::NoScript);
const IN_FLIGHT: usize = 1_024;
/// A connection lost this recently may be back in a moment, and a call waits for that; in an outage it does not.
const BLINK: Duration = Duration::from_millis(500);
/// The URL's file is read and sentinels are asked, and Redis is asked what it is, every so many PINGs.
const MASTER_EVERY: u64 = 20;
const POLICY_EVERY: u64 = 300;

/// What is known of the connection; `reason` says why there is none.
#[derive(Debug, Clone, Default)]
pub(super) struct Snapshot {
    pub(super) connection: Option<Connection>,
    pub(super) reason: String,
    /// It has answered PONG at least once.
    pub(super) ever: bool,
    pub(super) lost: Option<Instant>,
    pub(super) warning: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Link(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    snapshot: watch::Sender<Snapshot>,
    clock: Mutex<Clock>,
    /// A place for one doubt: the first is as good as all.
    doubt: mpsc::Sender<Event>,
    places: Semaphore,
}

impl Link {
    /// The caller owns the future, and runs it.
    pub(super) fn new(
        source: Arc<Source>,
        place: Place,
        metrics: Metrics,
        stop: CancellationToken,
    ) -> (Link, impl Future<Output = ()> + Send + 'static) {
        let (doubt, doubts) = mpsc::channel(1);
        let snapshot = Snapshot { reason: "not yet".to_owned(), ..Snapshot::default() };
        let shared = Shared {
            snapshot: watch::Sender::new(snapshot),
            clock: Mutex::default(),
            doubt,
            places: Semaphore::new(IN_FLIGHT),
        };
        let link = Link(Arc::new(shared));
        let reporter = Reporter::new(&place);
        let (up, evicts) = (Share::of(&metrics.up), Share::of(&metrics.evicts));
        let supervisor = Supervisor {
            link: link.clone(),
            source,
            place,
            metrics,
            up,
            evicts,
            reporter,
            doubts,
            held: None,
            pings: 0,
        };
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

    /// Sends the commands in one write; the answer to the last is the answer.
    pub(super) async fn call(&self, commands: &Pipeline, end: Instant) -> Result<Value, Failed> {
        let mut connection = self.connection().await?;
        let end = end.min(Instant::now() + ATTEMPT).into();
        let Ok(Ok(_place)) = timeout_at(end, self.0.places.acquire()).await else {
            return Err(Error::unavailable("too many calls wait for Redis").into());
        };
        let Ok(answer) = timeout_at(end, connection.send_packed_commands(commands, 0, commands.len())).await
        else {
            return Err(Error::Unknown { reason: "no answer in time".to_owned() }.into());
        };
        answer.and_then(last).map_err(|error| {
            self.doubt(&error);
            Failed { error: (&error).into(), redis: Some(error) }
        })
    }

    /// `command` evaluates the script by its hash; where Redis does not know it, it is loaded first.
    pub(super) async fn evaluate(
        &self,
        script: &Script,
        command: &Pipeline,
        end: Instant,
    ) -> Result<Value, Failed> {
        match self.call(command, end).await {
            Err(Failed { redis: Some(error), .. }) if error.kind() == NO_SCRIPT => {}
            answer => return answer,
        }
        let mut connection = self.connection().await?;
        match timeout_at(end.min(Instant::now() + ATTEMPT).into(), script.load_async(&mut connection)).await {
            Ok(Ok(_hash)) => self.call(command, end).await,
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

    async fn connection(&self) -> Result<Connection, Error> {
        self.blinked().await;
        let snapshot = self.0.snapshot.borrow();
        let absent = || Error::unavailable(format!("Redis not connected: {}", snapshot.reason));
        snapshot.connection.clone().ok_or_else(absent)
    }

    fn doubt(&self, error: &RedisError) {
        let doubt = match error.kind() {
            ErrorKind::Io | ErrorKind::Parse => Event::Doubted,
            ErrorKind::Server(ServerErrorKind::ReadOnly) => Event::ReadOnly,
            _ => return,
        };
        let _full_is_fine = self.0.doubt.try_send(doubt);
    }

    fn clock<T>(&self, act: impl FnOnce(&mut Clock) -> T) -> T {
        act(&mut self.0.clock.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn last(answers: Vec<Value>) -> RedisResult<Value> {
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
fn not_loaded(error: RedisError) -> Failed {
    match error.kind() {
        ErrorKind::Io | ErrorKind::Parse => Error::unavailable(words(&error)).into(),
        _ => Failed { error: (&error).into(), redis: Some(error) },
    }
}

struct Supervisor {
    link: Link,
    source: Arc<Source>,
    place: Place,
    metrics: Metrics,
    up: Share,
    evicts: Share,
    reporter: Reporter,
    doubts: mpsc::Receiver<Event>,
    held: Option<Held>,
    pings: u64,
}

impl Supervisor {
    async fn run(mut self) {
        let mut state = State::Absent { failures: 0 };
        let mut event = Event::Due;
        loop {
            let jitter = getrandom::u32().map_or(0, |number| number.to_le_bytes()[0]);
            let (next, action) = step(state, event, Instant::now(), jitter);
            self.publish(state, next);
            state = next;
            event = match action {
                Action::Wait(wait) => self.wait(wait).await,
                Action::Drop(wait) => {
                    self.drop_connection();
                    self.wait(wait).await
                }
                Action::Dial => self.dial().await,
                Action::Ping => self.ping().await,
            };
        }
    }

    async fn wait(&mut self, wait: Duration) -> Event {
        match timeout(wait, self.doubts.recv()).await {
            Ok(Some(doubt)) => {
                if doubt == Event::ReadOnly {
                    self.reporter.why("READONLY: it is not the master".to_owned());
                }
                doubt
            }
            Ok(None) | Err(_) => Event::Due,
        }
    }

    fn drop_connection(&mut self) {
        self.held = None;
        self.link.clock(Clock::forget);
    }

    async fn dial(&mut self) -> Event {
        self.drop_connection();
        self.metrics.dials.inc();
        match dial::dial(&self.source, &self.place).await {
            Ok(held) => {
                self.held = Some(held);
                // Doubts about the connection before.
                while self.doubts.try_recv().is_ok() {}
                self.pings = 0;
                Event::Dialed
            }
            Err(failure) => {
                self.reporter.why(failure.reason);
                if failure.rejected { Event::Rejected } else { Event::Unreachable }
            }
        }
    }

    async fn ping(&mut self) -> Event {
        let Some(held) = self.held.clone() else { return Event::Lost };
        let mut pinging = held.connection.clone();
        let look = self.pings.is_multiple_of(MASTER_EVERY) && self.pings > 0;
        let (answer, left) = tokio::join!(timeout(PING_TIMEOUT, ping(&mut pinging)), async {
            if look { dial::left(&self.source, &held).await } else { None }
        });
        let event = match (answer, left) {
            (Ok(Ok(redis_us)), None) => {
                self.link.clock(|clock| clock.observe(redis_us, Instant::now()));
                Event::Pong
            }
            (_, Some(reason)) => {
                self.reporter.why(reason.to_owned());
                Event::Demoted
            }
            (Ok(Err((event, reason))), None) => {
                self.reporter.why(reason);
                event
            }
            (Err(_), None) => {
                self.reporter.why(format!("no answer to PING within {} ms", PING_TIMEOUT.as_millis()));
                Event::Silent
            }
        };
        if event == Event::Pong {
            self.look_at_server(held.connection).await;
            self.pings += 1;
        }
        event
    }

    /// Best effort, and seldom: many a service does not let its users ask.
    async fn look_at_server(&mut self, mut connection: Connection) {
        if !self.pings.is_multiple_of(POLICY_EVERY) {
            return;
        }
        let Ok(Some(server)) = timeout(PING_TIMEOUT, policy::ask(&mut connection)).await else { return };
        self.evicts.set(server.evicts());
        let warning = server.warning();
        if self.link.0.snapshot.borrow().warning == warning {
            return;
        }
        if let Some(warning) = &warning {
            tracing::warn!(node = self.reporter.node(), "{warning}");
        }
        self.link.0.snapshot.send_modify(|snapshot| snapshot.warning = warning);
    }

    fn publish(&mut self, before: State, after: State) {
        let (was, is) = (matches!(before, State::Up { .. }), matches!(after, State::Up { .. }));
        self.reporter.report(is, Instant::now());
        if was == is {
            if !is {
                self.link.0.snapshot.send_if_modified(|snapshot| {
                    let changed = snapshot.reason != self.reporter.reason();
                    snapshot.reason = self.reporter.reason().to_owned();
                    changed
                });
            }
            return;
        }
        self.up.set(is);
        let connection = self.held.as_ref().filter(|_| is).map(|held| held.connection.clone());
        let reason = self.reporter.reason().to_owned();
        self.link.0.snapshot.send_modify(|snapshot| {
            snapshot.connection = connection;
            snapshot.ever |= is;
            snapshot.lost = was.then(Instant::now);
            snapshot.reason = reason;
        });
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        let stopping = Snapshot { reason: "the sidecar is stopping".to_owned(), ..Snapshot::default() };
        self.link.0.snapshot.send_replace(stopping);
    }
}

/// Redis' clock in microseconds, or what is wrong.
async fn ping(connection: &mut Connection) -> Result<i64, (Event, String)> {
    let mut pipe = redis::pipe();
    pipe.cmd("PING").cmd("TIME").ignore_errors();
    let answers: Vec<RedisResult<Value>> = match pipe.query_async(connection).await {
        Ok(answers) => answers,
        Err(error) if error.kind() == ErrorKind::Io => return Err((Event::Lost, words(&error))),
        Err(error) => return Err((Event::Garbage, words(&error))),
    };
    let Ok([pong, time]) = <[_; 2]>::try_from(answers) else {
        return Err((Event::Garbage, "not the answers to PING and TIME".to_owned()));
    };
    match (pong, time.map(redis::from_redis_value::<(i64, i64)>)) {
        (Err(error), _) | (_, Err(error)) => Err((Event::Refused, words(&error))),
        (Ok(Value::SimpleString(pong)), Ok(Ok((seconds, micros)))) if pong == "PONG" => {
            Ok(seconds.saturating_mul(1_000_000).saturating_add(micros))
        }
        (Ok(_), Ok(_)) => Err((Event::Garbage, "not the answers to PING and TIME".to_owned())),
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
