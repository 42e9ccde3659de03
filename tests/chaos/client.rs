//! A client: reads and writes sessions through any sidecar and records what it did and saw.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tests::history::{Action, Outcome};
use tests::http::{Answer, Request};
use tests::random::Random;

use crate::run::{Fate, SESSIONS, World, fate};

/// Between two calls, so that documents stay small and others get a turn.
const THINK_MS: u64 = 12;
/// After an unknown outcome a quiet session is only read for so long, so that the write can show itself late.
const WAIT: Duration = Duration::from_secs(3);

pub(crate) struct Client {
    world: Arc<World>,
    number: usize,
    random: Random,
    quiet_until: Vec<Duration>,
}

impl Client {
    pub(crate) fn new(world: Arc<World>, number: usize, random: Random) -> Client {
        Client { world, number, random, quiet_until: vec![Duration::ZERO; SESSIONS] }
    }

    pub(crate) async fn run(mut self) {
        while !self.world.over() {
            let own = self.random.below(100) < 30;
            let session = if own { self.number } else { self.random.below(SESSIONS as u64) as usize };
            let node = self.random.below(self.world.apps.len() as u64) as usize;
            self.act(session, node).await;
            let think = Duration::from_millis(self.random.below(THINK_MS));
            tokio::time::sleep(think).await;
        }
    }

    async fn act(&mut self, session: usize, node: usize) {
        let dice = self.random.below(100);
        match fate(session) {
            Fate::Busy | Fate::Expired => match dice {
                0..27 => self.read(session, node).await,
                27..35 => self.touch(session, node).await,
                35..70 => self.append(session, node).await,
                _ => self.compare_and_set(session, node).await,
            },
            Fate::Quiet => {
                if session == self.number && self.world.now() > self.quiet_until[session] {
                    self.append(session, node).await;
                } else if dice < 10 {
                    self.touch(session, node).await;
                } else {
                    self.read(session, node).await;
                }
            }
            Fate::Deleted => match dice {
                0..20 => self.read(session, node).await,
                20..30 => self.touch(session, node).await,
                30..60 => self.append(session, node).await,
                60..85 => self.compare_and_set(session, node).await,
                85..98 => self.create_again(session, node).await,
                _ => self.delete(session, node).await,
            },
        }
    }

    fn path(&self, session: usize) -> String {
        format!("/v1/sessions/{}", self.world.id(session))
    }

    /// Sends, and records under `action` what the answer says.
    async fn call(&mut self, session: usize, node: usize, action: Action, request: Request) -> Outcome {
        let invoked = self.world.now();
        let outcome = match self.world.apps[node].try_send(request).await {
            Ok(answer) => outcome(&answer),
            Err(_) => Outcome::Unknown,
        };
        if outcome == Outcome::Unknown {
            self.quiet_until[session] = self.world.now() + WAIT;
        }
        self.world.record(session, invoked, action, outcome.clone());
        outcome
    }

    pub(crate) async fn read(&mut self, session: usize, node: usize) {
        let request = Request::new("GET", self.path(session));
        self.call(session, node, Action::Read, request).await;
    }

    /// "Still here": the answer shows the session, and none of its bytes is another.
    async fn touch(&mut self, session: usize, node: usize) {
        let request = Request::new("PATCH", self.path(session)).json(r#"{"lastActivity":0}"#);
        self.call(session, node, Action::Read, request).await;
    }

    /// An unconditional write: whatever the log is, one more.
    async fn append(&mut self, session: usize, node: usize) {
        let op = self.world.next_op();
        let patch = format!(r#"[{{"op":"add","path":"/log/-","value":{op}}}]"#);
        let request = Request::new("PATCH", self.path(session));
        let request = request.header("content-type", "application/json-patch+json").body(patch);
        self.call(session, node, Action::Write { op, base: None }, request).await;
    }

    /// A conditional one: the log as it was read, and one more.
    async fn compare_and_set(&mut self, session: usize, node: usize) {
        let read = Request::new("GET", self.path(session));
        let seen = self.call(session, node, Action::Read, read).await;
        let Outcome::Ok { etag: Some(etag), log: Some(mut log) } = seen else { return };
        let op = self.world.next_op();
        log.push(op);
        let body = serde_json::json!({ "log": log });
        let request = Request::new("PATCH", self.path(session)).json(body).header("if-match", &etag);
        self.call(session, node, Action::Write { op, base: Some(etag) }, request).await;
    }

    /// Makes the session for the first time. Nothing is broken yet, but a machine may be slow.
    pub(crate) async fn create(&mut self, session: usize) {
        for _ in 0..20 {
            let read = Request::new("GET", self.path(session));
            let exists = match self.create_with(session, 0).await {
                Outcome::Ok { .. } => true,
                Outcome::Absent | Outcome::Fail => false,
                Outcome::Unknown => {
                    matches!(self.call(session, 0, Action::Read, read).await, Outcome::Ok { .. })
                }
            };
            if exists {
                return;
            }
        }
        panic!("a healthy Redis makes no session");
    }

    /// On a session that exists this replaces its log, so only sessions that were deleted are made again.
    async fn create_again(&mut self, session: usize, node: usize) {
        let read = Request::new("GET", self.path(session));
        let seen = self.call(session, node, Action::Read, read).await;
        if seen == Outcome::Absent {
            self.create_with(session, node).await;
        }
    }

    async fn create_with(&mut self, session: usize, node: usize) -> Outcome {
        let op = self.world.next_op();
        let id = self.world.id(session);
        let body = format!(r#"{{"sessionId":"{id}","sessionData":{{"log":[{op}]}}}}"#);
        let request = Request::new("POST", "/api/sessions").json(body);
        self.call(session, node, Action::Create { op }, request).await
    }

    async fn delete(&mut self, session: usize, node: usize) {
        let request = Request::new("DELETE", self.path(session));
        self.call(session, node, Action::Delete, request).await;
    }
}

fn outcome(answer: &Answer) -> Outcome {
    match (answer.status, answer.code().as_str()) {
        (200..300, _) => {
            Outcome::Ok { etag: answer.header("etag").map(str::to_owned), log: log(&answer.body) }
        }
        (401 | 404, _) => Outcome::Absent,
        (403 | 409 | 412, _) | (503, "SESSION_STORE_UNAVAILABLE") => Outcome::Fail,
        (503, "OUTCOME_UNKNOWN") => Outcome::Unknown,
        _ => panic!("no fault explains {answer:?}"),
    }
}

fn log(body: &str) -> Option<Vec<u64>> {
    let document: Value = serde_json::from_str(body).ok()?;
    document["log"].as_array()?.iter().map(Value::as_u64).collect()
}
