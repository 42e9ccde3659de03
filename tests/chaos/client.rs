//! A client: reads and writes sessions through any sidecar and records what it did and saw.

use std::sync::Arc;
use std::time::Duration;

use tests::history::{Action, Consistency, Event, Outcome};
use tests::http::{Answer, Request};
use tests::random::Random;

use crate::call::{self, DIALECTS, Lost};
use crate::faults::Family;
use crate::world::{CLIENTS, Fate, NODES, SESSIONS, STRONG, World, fate};

/// Between two calls, so that documents stay small and others get a turn.
const THINK_MS: u64 = 30;
const BURST: usize = 4;
/// A request with a key is sent so often, each time to another pod.
const SENT: usize = NODES;
const REST: Duration = Duration::from_millis(40);
/// Whoever was refused so often in a row, for two seconds and more, does not ask as eagerly any longer: a fail-over that
/// a busy machine takes half a minute for would be all that a history tells of.
const REFUSALS: u32 = 40;
const LONG_REST: Duration = Duration::from_millis(400);
/// An app's own patience; a sidecar answers within two seconds.
const PATIENCE: Duration = Duration::from_millis(2500);
/// After an unknown outcome a quiet session is only read for so long, so that the write can show itself late.
const WAIT: Duration = Duration::from_secs(2);
/// As many of the newest sessions are still of interest.
const NEW: usize = 6;
/// Whatever was made and never named.
const NAMELESS: usize = usize::MAX;

pub(crate) struct Client {
    world: Arc<World>,
    number: usize,
    random: Random,
    /// The outcome of a write of the own session is not known: until when, and which pod was asked.
    doubt: (Duration, usize),
    /// Who was refused waits a little.
    rest: Duration,
    /// How often in a row.
    refused: u32,
}

impl Client {
    pub(crate) fn new(world: Arc<World>, number: usize, random: Random) -> Client {
        Client { world, number, random, doubt: (Duration::ZERO, 0), rest: Duration::ZERO, refused: 0 }
    }

    pub(crate) async fn run(mut self) {
        while !self.world.over() {
            let session = self.choose();
            let pod = self.random.below(NODES as u64) as usize;
            self.turn(session, pod).await;
            let think = Duration::from_millis(self.random.below(THINK_MS));
            tokio::time::sleep(think + std::mem::take(&mut self.rest)).await;
        }
    }

    async fn turn(&mut self, session: usize, pod: usize) {
        let world = self.world.clone();
        let _turn = world.turns.read().await;
        self.act(session, pod).await;
    }

    fn choose(&mut self) -> usize {
        let mut below = |bound: usize| self.random.below(bound as u64) as usize;
        // Where a rule is of one kind of session, they are met more often.
        let (own, busy) = match self.world.family {
            Family::Stall => (60, 75),
            Family::Expiry => (15, 30),
            _ => (25, 75),
        };
        match below(100) {
            dice if dice < own => self.number,
            dice if dice % 2 == 0 && dice < busy => CLIENTS + below(2),
            dice if dice < busy => CLIENTS + below(6),
            30..75 => self.world.mortal(),
            75..82 => {
                let all = self.world.sessions();
                all - 1 - below(NEW.min(all))
            }
            _ => below(SESSIONS),
        }
    }

    async fn act(&mut self, session: usize, pod: usize) {
        let dice = self.random.below(100);
        if self.world.family == Family::Watched && self.random.below(100) < 90 {
            return match dice {
                0..10 => self.touch(session, pod).await,
                _ => drop(self.read(session, pod, Consistency::Default).await),
            };
        }
        match fate(session) {
            Fate::Busy | Fate::Mortal => match dice {
                0..30 => self.look(session, pod).await,
                30..36 => self.touch(session, pod).await,
                36..38 => self.make(pod).await,
                38..44 => self.burst(session, pod).await,
                44..78 => self.append(session, pod).await,
                _ => self.conditional(session, pod).await,
            },
            Fate::Quiet => {
                let (until, asked) = self.doubt;
                if session == self.number && self.world.now() > until {
                    self.append(session, pod).await;
                } else if session == self.number {
                    // The others know whether it has come.
                    let other = (asked + 1 + pod % (NODES - 1)) % NODES;
                    self.look(session, other).await;
                } else if dice < 10 {
                    self.touch(session, pod).await;
                } else {
                    self.look(session, pod).await;
                }
            }
            Fate::Deleted => match dice {
                0..30 => self.look(session, pod).await,
                30..40 => self.touch(session, pod).await,
                40..70 => self.append(session, pod).await,
                70..84 => self.conditional(session, pod).await,
                84..97 => self.make_again(session, pod).await,
                _ => self.delete(session, pod).await,
            },
        }
    }

    /// Sends, and records under `action` what the answer says.
    async fn call(&mut self, session: usize, pod: usize, action: Action, request: Request) -> Outcome {
        let (invoked, answer) = self.ask(pod, request).await;
        let outcome = call::outcome(answer);
        if matches!(outcome, Outcome::Unknown | Outcome::Fail | Outcome::Behind) {
            self.refused += 1;
            self.rest = if self.refused > REFUSALS { LONG_REST } else { REST };
        } else {
            self.refused = 0;
        }
        if outcome == Outcome::Unknown && session == self.number {
            self.doubt = (self.world.now() + WAIT, pod);
        }
        self.record(session, pod, invoked, action, outcome.clone());
        outcome
    }

    async fn ask(&self, pod: usize, request: Request) -> (Duration, Result<Answer, Lost>) {
        let strong = self.world.family == Family::FailedOver && pod == STRONG && request.method != "GET";
        let request = if strong { request.header("x-consistency", "strong") } else { request };
        let (http, invoked) = (self.world.nodes[pod].http(), self.world.now());
        let answer = match tokio::time::timeout(PATIENCE, http.try_send(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if error.is_connect() => Err(Lost::Unsent),
            Ok(Err(_)) | Err(_) => Err(Lost::Unanswered),
        };
        (invoked, answer)
    }

    fn record(&self, session: usize, pod: usize, invoked: Duration, action: Action, outcome: Outcome) {
        let ended = self.world.now();
        self.world.record(Event { session, pod, before: Vec::new(), invoked, ended, action, outcome });
    }

    async fn look(&mut self, session: usize, pod: usize) {
        let consistency = match self.random.below(100) {
            0..60 => Consistency::Default,
            60..80 => Consistency::NoCache,
            80..88 => Consistency::Strong,
            _ => return self.look_for(session, pod).await,
        };
        self.read(session, pod, consistency).await;
    }

    /// What one pod has shown, or the next that comes, through another.
    async fn look_for(&mut self, session: usize, pod: usize) {
        let there = self.random.below(NODES as u64) as usize;
        let Outcome::Ok(seen) = self.read(session, there, Consistency::Default).await else { return };
        let Some(version) = seen.version else { return };
        let next = i64::from(self.random.below(4) == 0);
        self.read(session, pod, Consistency::AtLeast(version + next)).await;
    }

    pub(crate) async fn read(&mut self, session: usize, pod: usize, consistency: Consistency) -> Outcome {
        let request = call::read(&self.world.id(session), consistency);
        self.call(session, pod, Action::Read(consistency), request).await
    }

    /// "Still here": the answer names the version, and none of its bytes is another.
    async fn touch(&mut self, session: usize, pod: usize) {
        let id = self.world.id(session);
        let request = match self.random.below(2) {
            0 => Request::new("PATCH", format!("/v1/sessions/{id}")).json(r#"{"lastActivity":0}"#),
            _ => Request::new("POST", format!("/v1/sessions/{id}/touch")),
        };
        self.call(session, pod, Action::Touch, request).await;
    }

    /// An unconditional write: whatever is there, one mark more.
    async fn append(&mut self, session: usize, pod: usize) {
        let dialect = *self.random.choose(&DIALECTS);
        let op = self.world.next_op();
        let mut request = call::mark(&self.world.id(session), op, dialect);
        let action = Action::Write { op, dialect, after: None };
        match self.random.below(100) {
            // The original's routes know no keys.
            0..15 if !dialect.starts_with("api-") => {
                return self.keyed(session, pod, action, request).await;
            }
            15..25 => request = request.header("x-consistency", "strong"),
            _ => {}
        }
        self.call(session, pod, action, request).await;
    }

    /// Nothing but one mark more.
    pub(crate) async fn write(&mut self, session: usize, pod: usize) {
        let op = self.world.next_op();
        let request = call::mark(&self.world.id(session), op, "deep");
        self.call(session, pod, Action::Write { op, dialect: "deep", after: None }, request).await;
    }

    /// One call, however often it is sent: under its key it happens once, whichever pod is asked again.
    async fn keyed(&mut self, session: usize, first: usize, action: Action, request: Request) {
        let request = request.header("idempotency-key", format!("key-{}", self.world.next_op()));
        let (mut invoked, mut before) = (None, Vec::new());
        for pod in (first..).map(|pod| pod % NODES).take(SENT) {
            let (sent, answer) = self.ask(pod, request.clone()).await;
            let doubtful = invoked.is_some();
            let invoked = *invoked.get_or_insert(sent);
            let outcome = match call::outcome(answer) {
                // What refuses this one says nothing of the one before.
                Outcome::Fail | Outcome::Absent(_) if doubtful => Outcome::Unknown,
                outcome => outcome,
            };
            if outcome != Outcome::Unknown || pod == (first + SENT - 1) % NODES {
                let ended = self.world.now();
                return self.world.record(Event { session, pod, before, invoked, ended, action, outcome });
            }
            before.push(pod);
        }
    }

    /// Several writes at once through one pod: one step may hold them all.
    async fn burst(&mut self, session: usize, pod: usize) {
        let id = self.world.id(session);
        let writes: Vec<_> =
            (0..BURST).map(|_| (self.world.next_op(), *self.random.choose(&DIALECTS))).collect();
        let calls = writes.iter().map(|(op, dialect)| self.ask(pod, call::mark(&id, *op, dialect)));
        let calls = calls.zip(&writes).map(async |(call, (op, dialect))| {
            let (invoked, answer) = call.await;
            let action = Action::Write { op: *op, dialect, after: None };
            self.record(session, pod, invoked, action, call::outcome(answer));
        });
        futures::future::join_all(calls).await;
    }

    /// A conditional one: the session as it was read, and one mark more.
    async fn conditional(&mut self, session: usize, pod: usize) {
        let consistency = if self.random.below(2) == 0 { Consistency::Default } else { Consistency::NoCache };
        // Whoever read it here may write it there.
        let there = self.random.below(NODES as u64) as usize;
        let Outcome::Ok(seen) = self.read(session, there, consistency).await else { return };
        let (Some(etag), Some(document)) = (seen.etag, seen.document) else { return };
        let (id, op) = (self.world.id(session), self.world.next_op());
        let after = document.last;
        let (dialect, request) = match (self.random.below(3), after) {
            (0, Some(last)) => ("json-patch test", call::tested(&id, op, last)),
            (1, _) => ("put if-match", call::put(&id, op, document.marks, &etag)),
            _ => ("deep if-match", call::mark(&id, op, "deep").header("if-match", &etag)),
        };
        self.call(session, pod, Action::Write { op, dialect, after }, request).await;
    }

    /// A session under an id that the sidecar chooses; nobody knows it when the answer is lost.
    async fn make(&mut self, pod: usize) {
        let op = self.world.next_op();
        let (invoked, answer) = self.ask(pod, call::create(op)).await;
        let location = answer.as_ref().ok().and_then(|answer| answer.header("location"));
        let id = location.and_then(|path| path.strip_prefix("/v1/sessions/"));
        let session = id.map_or(NAMELESS, |id| self.world.add(id.to_owned()));
        self.record(session, pod, invoked, Action::Create { op }, call::outcome(answer));
    }

    /// Makes the session for the first time. Nothing is broken yet, but a machine may be slow.
    pub(crate) async fn begin(&mut self, session: usize) {
        let end = self.world.now() + PATIENCE * 8;
        while self.world.now() < end {
            let exists = match self.make_as(session, 0).await {
                Outcome::Ok(_) => true,
                Outcome::Absent(_) | Outcome::Fail | Outcome::Behind | Outcome::Strange(_) => false,
                Outcome::Unknown => {
                    matches!(self.read(session, 0, Consistency::NoCache).await, Outcome::Ok(_))
                }
            };
            if exists {
                return;
            }
            tokio::time::sleep(REST).await;
        }
        panic!("a healthy Redis makes no session");
    }

    /// On a session that exists this replaces its marks, so only sessions that were deleted are made again; and not
    /// where tombstones may be gone.
    async fn make_again(&mut self, session: usize, pod: usize) {
        if self.world.family.loses_data() || self.world.family.forgets_deletes() {
            return;
        }
        if let Outcome::Absent(_) = self.read(session, pod, Consistency::NoCache).await {
            self.make_as(session, pod).await;
        }
    }

    async fn make_as(&mut self, session: usize, pod: usize) -> Outcome {
        let op = self.world.next_op();
        let request = call::create_as(&self.world.id(session), op);
        self.call(session, pod, Action::Create { op }, request).await
    }

    async fn delete(&mut self, session: usize, pod: usize) {
        let request = Request::new("DELETE", format!("/v1/sessions/{}", self.world.id(session)));
        self.call(session, pod, Action::Delete, request).await;
    }
}
