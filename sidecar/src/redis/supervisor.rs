//! Keeps one connection: dials, enrols, asks PING and TIME ten times a second, drops what does not answer, dials again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{ErrorKind, RedisResult, Value};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::clock::Clock;
use super::dial::{self, Connection, Held, Place};
use super::epoch::Epoch;
use super::error::words;
use super::incarnation::{self, Enrolled, Incarnation, Judgement, judge};
use super::lease::{Action, Event, PING_TIMEOUT, State, step};
use super::link::{Link, Snapshot};
use super::metrics::Share;
use super::policy;
use super::report::Reporter;
use super::target::Source;
use super::tracking::{self, Hearing};
use super::wires::Wires;
use super::witness::micros;

/// The URL's file is read and sentinels are asked, and Redis is asked what it is, every so many PINGs.
const MASTER_EVERY: u64 = 20;
const POLICY_EVERY: u64 = 300;
/// The same, of a Redis that may throw data away.
const EVICTIONS_EVERY: u64 = 20;
/// A Redis that has thrown data away may go on doing so.
const EVICTING: Duration = Duration::from_secs(30);
/// Whoever refuses a record is asked again after so many PINGs.
const ENROL_EVERY: u64 = 5;

pub(super) struct Supervisor {
    link: Link,
    source: Arc<Source>,
    place: Place,
    wires: Wires,
    up: Share,
    evicts: Share,
    evicting: Share,
    reporter: Reporter,
    doubts: mpsc::Receiver<Event>,
    held: Option<Held>,
    hearing: Hearing,
    tracking: Tracking,
    /// Answered on this connection.
    pings: u64,
    enrolment: Enrolment,
    evictions: Evictions,
    warnings: Warnings,
}

/// Whether Redis says on the present connection what changes.
enum Tracking {
    Unasked,
    On(Arc<Epoch>),
    Refused,
}

/// The node's record, as this process knows it.
#[derive(Default)]
struct Enrolment {
    /// Of the present connection.
    held: Option<Arc<Enrolled>>,
    /// What was another node's may have been lost on the way here.
    heir: bool,
    /// Of any connection before.
    remembered: Option<Incarnation>,
    /// The connection has none yet, and has not had one.
    first: bool,
    /// Not before this PING.
    due: u64,
    /// A loss that nobody has been told of.
    lost: bool,
}

#[derive(Default)]
struct Evictions {
    seen: Option<u64>,
    last: Option<Instant>,
    possible: bool,
}

#[derive(Default)]
struct Warnings {
    server: Option<String>,
    record: Option<String>,
    evicting: Option<String>,
}

impl Supervisor {
    pub(super) fn new(
        link: Link,
        source: Arc<Source>,
        place: Place,
        wires: Wires,
        heir: bool,
        hearing: Hearing,
        doubts: mpsc::Receiver<Event>,
    ) -> Supervisor {
        let Wires { metrics, ear: _, changes: _ } = &wires;
        let share = Share::of;
        let (up, evicts, evicting) = (share(&metrics.up), share(&metrics.evicts), share(&metrics.evicting));
        let reporter = Reporter::new(&place);
        Supervisor {
            link,
            source,
            place,
            wires,
            up,
            evicts,
            evicting,
            reporter,
            doubts,
            held: None,
            hearing,
            tracking: Tracking::Unasked,
            pings: 0,
            enrolment: Enrolment { heir, ..Enrolment::default() },
            evictions: Evictions::default(),
            warnings: Warnings::default(),
        }
    }

    pub(super) async fn run(mut self) {
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
        self.tracking = Tracking::Unasked;
        self.enrolment.held = None;
        self.enrolment.first = true;
        self.enrolment.due = 0;
        self.evictions.seen = None;
        self.link.clock(Clock::forget);
    }

    async fn dial(&mut self) -> Event {
        self.drop_connection();
        self.wires.metrics.dials.inc();
        let pushed = self.hearing.wanted().then(|| self.hearing.pushed());
        match dial::dial(&self.source, &self.place, pushed.as_ref()).await {
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
        let key = self.enrolment.held.as_ref().map(|enrolled| enrolled.key.clone());
        let sent = Instant::now();
        let look = self.pings.is_multiple_of(MASTER_EVERY) && self.pings > 0;
        let (answer, left) = tokio::join!(timeout(PING_TIMEOUT, ping(&mut pinging, key.as_deref())), async {
            if look { dial::left(&self.source, &held).await } else { None }
        });
        let record = match (answer, left) {
            (Ok(Ok(Pong { redis_us, record })), None) => {
                self.link.clock(|clock| clock.observe(redis_us, Instant::now()));
                if let Tracking::On(epoch) = &self.tracking {
                    epoch.ponged(sent);
                }
                record
            }
            (_, Some(reason)) => {
                self.reporter.why(reason.to_owned());
                return Event::Demoted;
            }
            (Ok(Err((event, reason))), None) => {
                self.reporter.why(reason);
                return event;
            }
            (Err(_), None) => return self.silent(),
        };
        if let Err(event) = self.track(&held).await {
            return event;
        }
        let event = self.enrol(held.connection.clone(), record).await;
        if event == Event::Pong {
            self.look_at_server(held.connection).await;
            self.pings += 1;
        }
        event
    }

    fn silent(&mut self) -> Event {
        self.reporter.why(format!("no answer to PING within {} ms", PING_TIMEOUT.as_millis()));
        Event::Silent
    }

    /// Before the connection is used, so that no read on it goes untracked.
    async fn track(&mut self, held: &Held) -> Result<(), Event> {
        if !matches!(self.tracking, Tracking::Unasked) {
            return Ok(());
        }
        self.tracking = Tracking::Refused;
        self.link.0.snapshot.send_modify(|snapshot| snapshot.old = held.old);
        if !self.hearing.wanted() {
            self.link.incoherent(Some("SESSION_L1_BYTES is 0".to_owned()));
        } else if !held.pushes {
            self.link.incoherent(Some("Redis, or a proxy before it, does not speak RESP3".to_owned()));
        } else {
            match timeout(PING_TIMEOUT, tracking::begin(&mut held.connection.clone())).await {
                Ok(Ok(())) => {
                    let epoch = Epoch::new(Instant::now(), self.source.replicas() > 0);
                    self.tracking = Tracking::On(Arc::new(epoch));
                }
                Ok(Err(error)) if error.kind() == ErrorKind::Io => {
                    self.reporter.why(words(&error));
                    return Err(Event::Lost);
                }
                Ok(Err(error)) => self.link.incoherent(Some(format!("CLIENT TRACKING: {}", words(&error)))),
                Err(_) => return Err(self.silent()),
            }
        }
        Ok(())
    }

    /// Sees to it that the record that is held is the one that is there.
    async fn enrol(&mut self, mut connection: Connection, record: Record) -> Event {
        let same = match (&self.enrolment.held, record) {
            (None, _) | (Some(_), Record::Moved) => false,
            (Some(held), Record::Read(record)) => record.as_ref() == Some(&held.incarnation),
            // Nothing was said of it, and whoever needs it reads it himself.
            (Some(_), Record::Unread) => true,
        };
        if same || self.pings < self.enrolment.due {
            return Event::Pong;
        }
        if self.enrolment.held.take().is_some() {
            self.link.0.snapshot.send_modify(|snapshot| snapshot.enrolled = None);
        }
        let Enrolment { remembered, first, .. } = &self.enrolment;
        let enrolled = incarnation::enrol(&mut connection, &self.place, remembered.as_ref(), *first);
        match timeout(PING_TIMEOUT, enrolled).await {
            Ok(Ok(enrolled)) => self.enrolled(enrolled),
            Ok(Err(error)) => match error.kind() {
                ErrorKind::Io => {
                    self.reporter.why(words(&error));
                    return Event::Lost;
                }
                ErrorKind::Parse => {
                    self.reporter.why(words(&error));
                    return Event::Garbage;
                }
                // It serves, and nobody can say what it has lost.
                _ => {
                    self.enrolment.due = self.pings + ENROL_EVERY;
                    let words = words(&error);
                    self.warnings.record =
                        Some(format!("whether a session is absent cannot be said: no record: {words}"));
                    self.warn();
                }
            },
            Err(_) => return self.silent(),
        }
        Event::Pong
    }

    fn enrolled(&mut self, enrolled: Enrolled) {
        let Enrolled { key: _, tag: _, incarnation } = &enrolled;
        let judgement = judge(self.enrolment.remembered.as_ref(), incarnation);
        if let Judgement::New { lost } = judgement {
            let Incarnation { n, run_id: _, since_us: _ } = incarnation;
            self.wires.metrics.incarnations.inc();
            let lost = lost || std::mem::take(&mut self.enrolment.heir);
            self.enrolment.lost |= lost;
            if lost {
                tracing::warn!(
                    node = self.reporter.node(),
                    n,
                    "Redis was replaced or emptied: data may be lost"
                );
            }
        }
        let unknown = "INFO is refused: each connection counts as one to another Redis; allow the command";
        self.warnings.record = (!incarnation.tells_the_server()).then(|| unknown.to_owned());
        self.warn();
        self.enrolment.first = false;
        self.enrolment.remembered = Some(incarnation.clone());
        let enrolled = Arc::new(enrolled);
        self.enrolment.held = Some(enrolled.clone());
        // Before there is a connection to be used, `publish` shows both.
        self.link.0.snapshot.send_if_modified(|snapshot| {
            let shown = snapshot.connection.is_some();
            snapshot.enrolled = shown.then_some(enrolled);
            shown
        });
        if self.link.snapshot().connection.is_some() {
            self.tell_loss();
        }
    }

    /// After the new incarnation is shown, so that whoever hears of it finds it.
    fn tell_loss(&mut self) {
        if std::mem::take(&mut self.enrolment.lost) {
            self.wires.data_lost();
        }
    }

    /// Best effort, and seldom: many a service does not let its users ask.
    async fn look_at_server(&mut self, mut connection: Connection) {
        let every = if self.evictions.possible { EVICTIONS_EVERY } else { POLICY_EVERY };
        if !self.pings.is_multiple_of(every) {
            return;
        }
        let Ok(Some(server)) = timeout(PING_TIMEOUT, policy::ask(&mut connection)).await else { return };
        self.evicts.set(server.evicts());
        self.evictions.possible = server.evicts();
        let now = Instant::now();
        let evicting = self.evictions.goes_on(server.evicted(), now);
        self.evicting.set(evicting);
        self.link
            .0
            .snapshot
            .send_if_modified(|snapshot| std::mem::replace(&mut snapshot.evicting, evicting) != evicting);
        self.warnings.evicting =
            evicting.then(|| "Redis has evicted keys: whether a session is absent cannot be said".to_owned());
        self.warnings.server = server.warning();
        self.warn();
    }

    fn warn(&self) {
        let Warnings { server, record, evicting } = &self.warnings;
        let warnings: Vec<&str> =
            [server, record, evicting].into_iter().flatten().map(String::as_str).collect();
        let warning = (!warnings.is_empty()).then(|| warnings.join("; "));
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
        let enrolled = self.enrolment.held.clone().filter(|_| is);
        let epoch = match &self.tracking {
            Tracking::On(epoch) if is => Some(epoch.clone()),
            Tracking::On(_) | Tracking::Unasked | Tracking::Refused => None,
        };
        let reason = self.reporter.reason().to_owned();
        self.link.0.snapshot.send_modify(|snapshot| {
            snapshot.connection = connection;
            snapshot.enrolled = enrolled;
            snapshot.epoch = epoch;
            snapshot.ever |= is;
            snapshot.lost = was.then(Instant::now);
            snapshot.since = is.then(Instant::now);
            snapshot.reason = reason;
        });
        self.wires.health_changed();
        if is {
            self.tell_loss();
        }
    }
}

impl Evictions {
    fn goes_on(&mut self, evicted: Option<u64>, now: Instant) -> bool {
        if evicted.is_some_and(|evicted| self.seen.is_some_and(|seen| evicted > seen)) {
            self.last = Some(now);
        }
        self.seen = evicted;
        self.last.is_some_and(|last| now.saturating_duration_since(last) < EVICTING)
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        let stopping = Snapshot { reason: "the sidecar is stopping".to_owned(), ..Snapshot::default() };
        self.link.0.snapshot.send_replace(stopping);
    }
}

struct Pong {
    redis_us: i64,
    record: Record,
}

/// What is at the record's key.
enum Record {
    Read(Option<Incarnation>),
    /// The key's slot is another node's.
    Moved,
    /// Not asked for, or not answered.
    Unread,
}

impl Record {
    fn of(answer: RedisResult<Value>) -> Record {
        match Incarnation::read(answer) {
            Ok(record) => Record::Read(record),
            Err(error) if error.redirect_node().is_some() => Record::Moved,
            Err(_) => Record::Unread,
        }
    }
}

/// Redis' clock, and what there is at `key`; or what is wrong.
async fn ping(connection: &mut Connection, key: Option<&str>) -> Result<Pong, (Event, String)> {
    let mut pipe = redis::pipe();
    pipe.cmd("PING").cmd("TIME");
    if let Some(key) = key {
        pipe.cmd("GET").arg(key);
    }
    pipe.ignore_errors();
    let answers: Vec<RedisResult<Value>> = match pipe.query_async(connection).await {
        Ok(answers) => answers,
        Err(error) if error.kind() == ErrorKind::Io => return Err((Event::Lost, words(&error))),
        Err(error) => return Err((Event::Garbage, words(&error))),
    };
    let mut answers = answers.into_iter();
    let (Some(pong), Some(time)) = (answers.next(), answers.next()) else {
        return Err((Event::Garbage, "not the answers to PING and TIME".to_owned()));
    };
    let record = answers.next().map_or(Record::Unread, Record::of);
    match (pong, time.map(micros)) {
        (Err(error), _) | (_, Err(error)) => Err((Event::Refused, words(&error))),
        (Ok(Value::SimpleString(pong)), Ok(Ok(redis_us))) if pong == "PONG" => Ok(Pong { redis_us, record }),
        (Ok(_), Ok(_)) => Err((Event::Garbage, "not the answers to PING and TIME".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evictions_are_told_while_they_go_on_and_a_while_longer() {
        let start = Instant::now();
        let mut evictions = Evictions::default();
        let mut goes_on = |seconds, evicted| evictions.goes_on(evicted, start + Duration::from_secs(seconds));
        assert!(!goes_on(0, Some(7)), "they may be old");
        assert!(!goes_on(2, Some(7)));
        assert!(goes_on(4, Some(8)) && goes_on(6, Some(8)) && goes_on(33, Some(8)));
        assert!(!goes_on(34, Some(8)) && !goes_on(36, None) && !goes_on(38, Some(9)));
        assert!(goes_on(40, Some(10)));
        assert!(goes_on(42, Some(0)), "counted anew");
    }
}
