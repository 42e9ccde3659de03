//! What `GET /v1/events` tells, a kind of event a row, in `golden_events.json`; its `comment` says what the members of
//! a row mean.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tests::events::{Event, Events, Next};
use tests::eventually::{check, eventually};
use tests::proxy::{Mode, Proxy};
use tests::redis::RedisServer;
use tests::sidecar::Sidecar;

use crate::bus::pod;
use crate::golden::matches;

/// What a fraction of it is enough for.
const SOON: Duration = Duration::from_secs(60);
const EVENTS: &str = "/v1/events";
const STREAM: &str = "{hyperpage:coord}:stream";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(rename = "comment")]
    _comment: String,
    events: Vec<Row>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    event: Option<String>,
    id: Option<String>,
    data: Option<String>,
    #[serde(skip)]
    seen: bool,
}

impl Row {
    fn tells(&self, next: &Next) -> bool {
        let fits = |pattern: &Option<String>, text: &Option<String>| match (pattern, text) {
            (Some(pattern), Some(text)) => matches(pattern, text),
            (pattern, text) => pattern.is_none() && text.is_none(),
        };
        let (name, id, data) = match next {
            Next::Event(Event { name, id, data }) => (Some(name.clone()), id.clone(), Some(data.clone())),
            Next::Place(id) => (None, Some(id.clone()), None),
            Next::Nothing | Next::End => return false,
        };
        fits(&self.event, &name) && fits(&self.id, &id) && fits(&self.data, &data)
    }
}

impl Table {
    fn read() -> Table {
        serde_json::from_str(include_str!("golden_events.json")).unwrap()
    }

    /// Listens until this is told, unless it was before. Whatever is told meanwhile is in some row.
    async fn reach(&mut self, events: &mut Events, name: &str) {
        if self.events.iter().any(|row| row.name == name && row.seen) {
            return;
        }
        let end = tokio::time::Instant::now() + SOON;
        loop {
            let next = events.next(end.saturating_duration_since(tokio::time::Instant::now())).await;
            let mut rows: Vec<&mut Row> = self.events.iter_mut().filter(|row| row.tells(&next)).collect();
            assert!(!rows.is_empty(), "no row is about {next:?}, before {name:?}");
            rows.iter_mut().for_each(|row| row.seen = true);
            if rows.iter().any(|row| row.name == name) {
                return;
            }
        }
    }
}

async fn open(sidecar: &Sidecar, path: &str, last: Option<&str>) -> Events {
    Events::open(sidecar.app_address, path, last).await
}

/// Until somebody leads, and by him.
async fn coordinate(pods: &[&Sidecar]) {
    eventually("the leader asks for something", SOON, async || {
        let mut answers = Vec::new();
        for pod in pods {
            let asked = json!({ "operation": "cleanup", "data": { "n": 1 } });
            answers.push(pod.app.post("/v1/leader/coordinate", asked).await);
        }
        check(answers.iter().any(|answer| answer.status == 202), answers)
    })
    .await;
}

async fn tell(pod: &Sidecar, path: &str, body: Value) -> Value {
    eventually("it is told", SOON, async || {
        let answer = pod.app.post(path, &body).await;
        if answer.status == 202 { Ok(answer.json()) } else { Err(answer) }
    })
    .await
}

#[tokio::test]
async fn golden_table_of_events() {
    let redis = RedisServer::start().await;
    let proxy = Proxy::start(redis.port()).await;
    let mut table = Table::read();
    // Before anything is known.
    proxy.set(Mode::Cut);
    let a = Sidecar::spawn(&pod(&redis, "pod-a").env("REDIS_URL", proxy.url())).await;
    let b = Sidecar::start(&pod(&redis, "pod-b")).await;
    let mut events = open(&a, EVENTS, None).await;
    table.reach(&mut events, "hello before anything is known, or to whoever comes back").await;
    proxy.set(Mode::Pass);
    table.reach(&mut events, "what was said before somebody knew").await;
    table.reach(&mut events, "somebody leads").await;
    let mut fresh = open(&a, EVENTS, None).await;
    table.reach(&mut fresh, "hello").await;
    let mut acked = open(&a, "/v1/events?acks=true", None).await;
    table.reach(&mut acked, "hello of a stream that says what it has applied").await;
    table.reach(&mut acked, "how long the app may serve").await;

    // Messages.
    let said = |more: Value| {
        let mut message = json!({ "type": "broadcast", "payload": { "n": 9_007_199_254_740_993_u64 } });
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        message
    };
    let first = tell(&b, "/v1/messages", said(json!({}))).await["position"].as_str().unwrap().to_owned();
    table.reach(&mut events, "a message").await;
    let one = json!({ "type": "rate_limit_sync", "payload": [1], "priority": "low", "target": "pod-a" });
    tell(&b, "/v1/messages", said(one)).await;
    table.reach(&mut events, "a message for this pod").await;
    tell(&b, "/v1/messages", said(json!({ "target": "pod-b" }))).await;
    table.reach(&mut events, "a message for another pod").await;
    tell(&b, "/v1/cache/invalidate", json!({ "keys": ["user:1"] })).await;
    table.reach(&mut events, "an invalidation").await;
    coordinate(&[&a, &b]).await;
    table.reach(&mut events, "what a leader asks for").await;
    let theirs = r#"{"id":"theirs","type":"broadcast","payload":1,"timestamp":5,"sourcePod":"old"}"#;
    redis.command::<i64>(&["PUBLISH", "hyperpage:coord:all", theirs]).await.unwrap();
    table.reach(&mut events, "a message of the original's").await;

    // Who is there.
    let c = Sidecar::start(&pod(&redis, "pod-c")).await;
    table.reach(&mut events, "a pod joins").await;
    // That may have been another.
    eventually("this one is known, too", SOON, async || {
        let pods = a.app.get("/v1/pods").await;
        check(pods.body.contains("pod-c"), pods)
    })
    .await;
    c.stop().await;
    table.reach(&mut events, "a pod leaves").await;

    // What is missed.
    let mut again = open(&a, EVENTS, Some("x")).await;
    table.reach(&mut again, "a place that nobody knows").await;
    let (n, seq) = first.split_once('-').unwrap();
    let before = format!("{n}-{}", seq.parse::<u64>().unwrap() - 9);
    let mut again = open(&a, EVENTS, Some(&before)).await;
    table.reach(&mut again, "a place that is not in the stream any more").await;
    proxy.set(Mode::Hush);
    tell(&b, "/v1/messages", said(json!({}))).await;
    redis.command::<()>(&["DEL", STREAM]).await.unwrap();
    table.reach(&mut events, "what is lost").await;
    let top: (String, u64) = redis.command(&["HMGET", "{hyperpage:coord}:top", "n", "seq"]).await.unwrap();
    let place = format!("{}-{}", top.0, top.1 + 1);
    redis.command::<String>(&["XADD", STREAM, &place, "m", "garbage"]).await.unwrap();
    redis.command::<i64>(&["HINCRBY", "{hyperpage:coord}:top", "seq", "1"]).await.unwrap();
    table.reach(&mut events, "what nobody can read").await;
    proxy.set(Mode::Pass);
    redis.command::<()>(&["FLUSHALL"]).await.unwrap();
    table.reach(&mut events, "another Redis, or an empty one").await;
    proxy.set(Mode::Cut);
    table.reach(&mut events, "nobody leads").await;
    let unseen: Vec<_> = table.events.iter().filter(|row| !row.seen).collect();
    assert!(unseen.is_empty(), "{unseen:?}");
    println!("{} kinds of events", table.events.len());
    b.stop().await;
}

#[tokio::test]
async fn golden_head_of_events() {
    let redis = RedisServer::start().await;
    let sidecar = Sidecar::start(&pod(&redis, "pod-a")).await;
    for path in [EVENTS, "/v1/events?acks=true"] {
        let head = Events::head(sidecar.app_address, path).await;
        for (name, expected) in [("content-type", "text/event-stream"), ("cache-control", "no-store")] {
            assert_eq!(head.get(name).unwrap(), expected, "{path}");
        }
        assert!(head.get("content-length").is_none(), "it lasts");
    }
    sidecar.stop().await;
}
