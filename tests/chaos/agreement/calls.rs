//! What apps ask of their sidecars, and what came of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tests::agreement::{Barrier, Position, Published};
use tests::http::{Answer, Request};
use tests::random::Random;
use tokio::time::timeout;

use super::cache::KEYS;
use super::world::{NODES, World, now, pod};
use crate::nemesis::pause;

/// An app's own; a sidecar answers within two seconds.
const PATIENCE: Duration = Duration::from_millis(2500);
const OPERATIONS: [&str; 3] = ["cache_warmup", "bg_job_balance", "cleanup"];
const PRIORITIES: [&str; 3] = ["low", "normal", "high"];

pub(super) struct Caller {
    world: Arc<World>,
    pod: usize,
    random: Random,
    refused: bool,
}

impl Caller {
    pub(super) fn new(world: Arc<World>, pod: usize, random: Random) -> Caller {
        Caller { world, pod, random, refused: false }
    }

    /// Tells others something, again and again.
    pub(super) async fn talk(mut self) {
        while !self.world.quiet.is_cancelled() {
            match self.random.below(100) {
                0..92 => self.send("/v1/messages", "send").await,
                _ => self.send("/v1/messages?wait=applied&timeoutMs=300", "send and wait").await,
            }
            self.rest().await;
        }
    }

    /// Has others do something, while its sidecar says that it leads.
    pub(super) async fn lead(mut self) {
        let mut term = None;
        while !self.world.quiet.is_cancelled() {
            if let Some(led) = term {
                let operation = *self.random.choose(&OPERATIONS);
                let body = json!({ "operation": operation, "data": { "number": unique() }, "term": led });
                let request = Request::new("POST", "/v1/leader/coordinate").json(body);
                if self.tell("coordinate", request, None).await.is_none_or(|answer| answer.status != 202) {
                    term = None;
                }
                pause(self.random.below(20)).await;
            } else {
                term = self.leads().await;
                pause(60 + self.random.below(60)).await;
            }
        }
    }

    /// Changes what is in the database, and has everybody drop what was there before.
    pub(super) async fn change(mut self) {
        while !self.world.quiet.is_cancelled() {
            self.pod = self.random.below(NODES as u64) as usize;
            let key = self.random.below(KEYS as u64) as usize;
            let within_ms = *self.random.choose(&["200", "1000"]);
            self.invalidate(key, within_ms).await;
            self.rest().await;
        }
    }

    /// True: it is known that all have.
    pub(super) async fn invalidate(&mut self, key: usize, within_ms: &str) -> Option<Position> {
        let version = self.world.versions[key].fetch_add(1, Ordering::SeqCst) + 1;
        let body = json!({ "keys": [key.to_string()] });
        let path = format!("/v1/cache/invalidate?wait=applied&timeoutMs={within_ms}");
        let answer = self.tell("invalidate", Request::new("POST", path).json(body), None).await;
        let ok = now();
        self.refused = answer.is_none();
        let answer = answer?;
        if answer.status != 200 {
            return None;
        }
        self.world.seen.lock().unwrap().barriers.push(Barrier { key, version, ok });
        place(&answer.json())
    }

    /// Whoever was refused waits a little longer.
    async fn rest(&mut self) {
        let rest = if std::mem::take(&mut self.refused) { 150 } else { 0 };
        pause(rest + self.random.below(50)).await;
    }

    async fn send(&mut self, path: &str, operation: &'static str) {
        let to = (self.random.below(10) == 0).then(|| pod(self.random.below(NODES as u64) as usize));
        let mut body = json!({ "type": "broadcast", "payload": { "number": unique() } });
        body["priority"] = (*self.random.choose(&PRIORITIES)).into();
        if let Some(to) = &to {
            body["target"] = to.as_str().into();
        }
        self.refused = self.tell(operation, Request::new("POST", path).json(body), to).await.is_none();
    }

    /// What has its place is to be heard by whom it is for.
    async fn tell(&self, operation: &'static str, request: Request, to: Option<String>) -> Option<Answer> {
        let (invoked, answer) = self.ask(operation, request).await;
        let ok = now();
        let answer = answer.filter(|answer| matches!(answer.status, 200..300))?;
        let body = answer.json();
        let id = body["id"].as_str().expect("a message has an id").to_owned();
        let position = place(&body).expect("and a place");
        self.world.seen.lock().unwrap().published.push(Published { id, position, to, invoked, ok });
        Some(answer)
    }

    /// Under which term its sidecar leads.
    async fn leads(&self) -> Option<u64> {
        let (_, answer) = self.ask("who leads", Request::new("GET", "/v1/leader")).await;
        let told = answer.filter(|answer| answer.status == 200)?.json();
        told["term"].as_u64().filter(|_| told["isLeader"] == true)
    }

    async fn ask(&self, operation: &'static str, request: Request) -> (Duration, Option<Answer>) {
        let process = self.world.nodes[self.pod].present();
        let invoked = now();
        let answer = timeout(PATIENCE, process.http.try_send(request)).await;
        let outcome = match &answer {
            Ok(Ok(answer)) => self.outcome(operation, answer),
            Ok(Err(error)) if error.is_connect() => "fail",
            Ok(Err(_)) | Err(_) => "unknown",
        };
        self.world.called(operation, outcome);
        (invoked, answer.ok().and_then(Result::ok))
    }

    fn outcome(&self, operation: &'static str, answer: &Answer) -> &'static str {
        match (answer.status, answer.code().as_str()) {
            (207, _) => "not by all",
            (200..300, _) => "ok",
            (409, "NOT_LEADER") | (412, "STALE_TERM") => "refused",
            (503, "OUTCOME_UNKNOWN") => "unknown",
            (503, "COORDINATION_UNAVAILABLE") => "fail",
            _ => {
                self.world.seen.lock().unwrap().strange.push(format!("{operation}: {answer:?}"));
                "strange"
            }
        }
    }
}

fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn place(answer: &Value) -> Option<Position> {
    answer["position"].as_str()?.parse().ok()
}
