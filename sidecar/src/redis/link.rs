//! One supervised connection: dials, asks PING and TIME ten times a second, drops what does not answer, dials again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::{ErrorKind, Pipeline, RedisResult, Script, ServerErrorKind, Value};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::dial::{self, Address, Connection, Place};
use super::error::{Error, words};
use super::lease::{Action, Event, PING_TIMEOUT, State, step};
use super::metrics::Metrics;
use super::policy;
use super::report::Reporter;
use super::target::Source;

/// A call's answer must be there by then, wherever it got stuck.
pub(super) const ATTEMPT: Duration = Duration::from_millis(250);
const NO_SCRIPT: ErrorKind = ErrorKind::Server(ServerErrorKind::NoScript);
const IN_FLIGHT: usize = 1_024;
/// A connection lost this recently may be back in a moment, and a call waits for that; in an outage it does not.
const BLINK: Duration = Duration::from_millis(500);
/// Sentinels are asked, and the eviction policy is looked at, every so many PINGs.
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
        let supervisor =
            Supervisor { link: link.clone(), source, place, metrics, reporter, doubts, held: None, pings: 0 };
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
            // Loading a script acts on no key.
            Ok(Err(error)) => Err(Error::unavailable(words(&error)).into()),
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

    fn doubt(&self, error: &redis::RedisError) {
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
    pub(super) redis: Option<redis::RedisError>,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed { error, redis: None }
    }
}

struct Supervisor {
    link: Link,
    source: Arc<Source>,
    place: Place,
    metrics: Metrics,
    reporter: Reporter,
    doubts: mpsc::Receiver<Event>,
    held: Option<(Connection, Option<Address>)>,
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
        let Some((connection, address)) = self.held.clone() else { return Event::Lost };
        let mut pinging = connection.clone();
        let ask_sentinels = self.pings.is_multiple_of(MASTER_EVERY) && self.pings > 0;
        let (answer, still) = tokio::join!(timeout(PING_TIMEOUT, ping(&mut pinging)), async {
            match address.filter(|_| ask_sentinels) {
                Some(address) => dial::still_master(&self.source, &address).await,
                None => true,
            }
        });
        let event = match answer {
            Ok(Ok(redis_us)) if still => {
                self.link.clock(|clock| clock.observe(redis_us, Instant::now()));
                Event::Pong
            }
            Ok(Ok(_)) => {
                self.reporter.why("the sentinels name another master".to_owned());
                Event::Demoted
            }
            Ok(Err((event, reason))) => {
                self.reporter.why(reason);
                event
            }
            Err(_) => {
                self.reporter.why(format!("no answer to PING within {} ms", PING_TIMEOUT.as_millis()));
                Event::Silent
            }
        };
        if event == Event::Pong {
            self.look_at_policy(connection).await;
            self.pings += 1;
        }
        event
    }

    /// Best effort, and seldom: many a service does not let its users ask.
    async fn look_at_policy(&mut self, mut connection: Connection) {
        if !self.pings.is_multiple_of(POLICY_EVERY) {
            return;
        }
        let Ok(Some(policy)) = timeout(PING_TIMEOUT, policy::eviction(&mut connection)).await else { return };
        let warning = policy::warning(&policy);
        self.metrics.evicts.set(i64::from(warning.is_some()));
        if let Some(warning) = &warning
            && self.pings == 0
        {
            tracing::warn!(policy, "{warning}");
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
        if is {
            self.metrics.up.inc();
        } else {
            self.metrics.up.dec();
        }
        let connection = self.held.as_ref().filter(|_| is).map(|(connection, _)| connection.clone());
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
        let snapshot = self
            .link
            .0
            .snapshot
            .send_replace(Snapshot { reason: "the sidecar is stopping".to_owned(), ..Snapshot::default() });
        if snapshot.connection.is_some() {
            self.metrics.up.dec();
        }
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
