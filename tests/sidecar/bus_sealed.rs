//! Who may speak on the bus: those that hold a key; and, where there is none, the original's pods.

use std::time::Duration;

use serde_json::{Value, json};
use tests::events::Next;
use tests::eventually::{check, eventually};
use tests::redis::RedisServer;
use tests::scratch::Scratch;
use tests::sidecar::{Settings, Sidecar};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bus::{hear, listen, next, pod, pods, say};
use crate::common::{PROMPT, RECOVERY};
use crate::metrics::values;

const ONE: &str = "k1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
const TWO: &str = "k2 //79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA=\n";
/// The name of the first with the key of the second.
const FALSE: &str = "k1 //79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA=\n";
/// As a pod of the original sent it.
const CAPTURED: &str = r#"{"id":"msg-mwpawwss-2nmee5wsk","type":"cache_invalidate","payload":{"keys":["user:123:settings"]},"timestamp":1795198630924,"sourcePod":"pod-x","priority":"high"}"#;

fn sealed(redis: &RedisServer, name: &str, dir: &Scratch) -> Settings {
    pod(redis, name).env("HYPERPAGE_BUS_KEYS_FILE", dir.path().join("keys").to_str().unwrap())
}

async fn rejected(sidecar: &Sidecar, reason: &str) -> f64 {
    let label = format!("reason=\"{reason}\"");
    values(sidecar, "hyperpage_bus_rejected_total", &[&label]).await.into_iter().sum()
}

/// The envelope of the last message, as it travelled.
async fn last_envelope(redis: &RedisServer) -> Vec<u8> {
    let entry = redis.command(&["XREVRANGE", "{hyperpage:coord}:stream", "+", "-", "COUNT", "1"]).await;
    let entry: Vec<(String, (String, Vec<u8>))> = entry.unwrap();
    entry[0].1.1.clone()
}

fn after(position: &Value, ahead: u64) -> String {
    let (n, seq) = position.as_str().unwrap().split_once('-').unwrap();
    format!("{n}-{}", seq.parse::<u64>().unwrap() + ahead)
}

#[tokio::test]
async fn strangers_copies_and_plain_words_are_rejected_and_their_places_reported() {
    let redis = RedisServer::start().await;
    let dirs = [ONE, TWO, FALSE].map(|keys| {
        let dir = Scratch::new("keys");
        dir.write("keys", keys);
        dir
    });
    let sidecar = Sidecar::start(&sealed(&redis, "pod-a", &dirs[0])).await;
    let mut events = listen(&sidecar).await;
    for (stranger, reason) in [
        (sealed(&redis, "pod-b", &dirs[1]), "unknown_key"),
        (sealed(&redis, "pod-c", &dirs[2]), "forged"),
        (pod(&redis, "pod-d"), "unsealed"),
    ] {
        let stranger = Sidecar::start(&stranger).await;
        let sent = say(&stranger, json!("secret")).await;
        let gap = hear(&mut events).await;
        assert_eq!((gap.name.as_str(), gap.id.as_deref()), ("gap", sent["position"].as_str()));
        assert_eq!(gap.json()["reason"], "unreadable");
        assert!(rejected(&sidecar, reason).await >= 1.0, "{reason}");
        stranger.stop().await;
    }
    let first = say(&sidecar, json!(1)).await;
    assert_eq!(hear(&mut events).await.json()["payload"], 1);
    // A copy of what was said, at the next place and at one far ahead.
    let copy = last_envelope(&redis).await;
    let mut connection = redis.connection().await.unwrap();
    for ahead in [1, 2, 1_000] {
        let said = [after(&first["position"], ahead).as_bytes(), b" ", &copy].concat();
        let mut publish = ::redis::cmd("PUBLISH");
        publish.arg("hyperpage:coord:bus").arg(said);
        assert_eq!(publish.query_async::<i64>(&mut connection).await.unwrap(), 1);
    }
    for n in 2..5 {
        let sent = say(&sidecar, json!(n)).await;
        let event = hear(&mut events).await;
        assert_eq!((&event.json()["payload"], event.id.as_deref()), (&json!(n), sent["position"].as_str()));
    }
    // With a key nobody listens to the original's channels.
    let heard: i64 = redis.command(&["PUBLISH", "hyperpage:coord:all", CAPTURED]).await.unwrap();
    assert_eq!(heard, 0);
    sidecar.stop().await;
}

#[tokio::test]
async fn without_a_key_that_can_be_read_nothing_is_sent() {
    let redis = RedisServer::start().await;
    let dir = Scratch::new("keys");
    let sidecar = Sidecar::start(&sealed(&redis, "pod-a", &dir)).await;
    let message = json!({ "type": "broadcast", "payload": 1 });
    let refused = sidecar.app.post("/v1/messages", &message).await.expect(503);
    assert_eq!(refused.code(), "COORDINATION_UNAVAILABLE");
    assert_eq!(sidecar.logs().matches("keys of the bus cannot be read").count(), 1, "{}", sidecar.logs());
    dir.write("keys", ONE);
    eventually("the key is read", RECOVERY, async || {
        let answer = sidecar.app.post("/v1/messages", &message).await;
        check(answer.status == 202, answer)
    })
    .await;
    sidecar.stop().await;
}

/// What a pod of the original hears on these channels.
struct Original {
    socket: TcpStream,
    heard: String,
}

impl Original {
    async fn listen(redis: &RedisServer, channels: &str) -> Original {
        let mut socket = TcpStream::connect(("127.0.0.1", redis.port())).await.unwrap();
        socket.write_all(format!("SUBSCRIBE {channels}\r\n").as_bytes()).await.unwrap();
        let mut original = Original { socket, heard: String::new() };
        original.hears(&format!(":{}\r\n", channels.split(' ').count())).await;
        original
    }

    async fn hears(&mut self, what: &str) {
        let more = async {
            while !self.heard.contains(what) {
                let mut buffer = [0; 4_096];
                let length = self.socket.read(&mut buffer).await.unwrap();
                assert!(length > 0, "{}", self.heard);
                self.heard.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
            }
        };
        tests::lived::timeout(PROMPT, more).await.unwrap_or_else(|_| panic!("no {what} in {}", self.heard));
    }
}

#[tokio::test]
async fn a_pod_of_the_original_is_heard_and_hears_to_the_byte() {
    let redis = RedisServer::start().await;
    let sidecars = pods(&redis, ["pod-a", "pod-b"]).await;
    let mut events = [listen(&sidecars[0]).await, listen(&sidecars[1]).await];
    let mut original = Original::listen(&redis, "hyperpage:coord:all hyperpage:coord:pod-x").await;

    // To all, twice: it is one message.
    let marked = CAPTURED.replace("\"high\"}", "\"high\",\"unauthenticated\":true}");
    for _ in 0..2 {
        redis.command::<i64>(&["PUBLISH", "hyperpage:coord:all", CAPTURED]).await.unwrap();
    }
    for events in &mut events {
        let event = hear(events).await;
        assert_eq!((event.data, event.id), (marked.clone(), None));
    }
    // To one, and to those that stand for election.
    for (channel, id) in [("pod-b", "msg-1-a"), ("election", "msg-1-b")] {
        let said = CAPTURED.replace("msg-mwpawwss-2nmee5wsk", id);
        redis.command::<i64>(&["PUBLISH", &format!("hyperpage:coord:{channel}"), &said]).await.unwrap();
        assert_eq!(hear(&mut events[1]).await.json()["id"], id);
    }
    assert_eq!(hear(&mut events[0]).await.json()["id"], "msg-1-b");

    // Ours, and each of ours hears it once: by the bus.
    let keys = json!({ "keys": ["a", "é"], "source": "x" });
    let asked = json!({ "type": "cache_invalidate", "payload": keys, "priority": "high" });
    let sent = sidecars[0].app.post("/v1/messages", asked).await.expect(202).json();
    for events in &mut events {
        let event = hear(events).await;
        assert_eq!(event.id.as_deref(), sent["position"].as_str());
        let members = event.json();
        let (id, timestamp) = (members["id"].as_str().unwrap(), members["timestamp"].as_i64().unwrap());
        let text = format!(
            r#"{{"id":"{id}","type":"cache_invalidate","payload":{{"keys":["a","é"],"source":"x"}},"timestamp":{timestamp},"sourcePod":"pod-a","priority":"high"}}"#
        );
        assert_eq!(event.data, text);
        original.hears(&format!("\r\nhyperpage:coord:all\r\n${}\r\n{text}\r\n", text.len())).await;
    }
    let targeted =
        json!({ "type": "rate_limit_sync", "payload": { "platform": "github" }, "target": "pod-x" });
    sidecars[0].app.post("/v1/messages", targeted).await.expect(202);
    original.hears("\r\nhyperpage:coord:pod-x\r\n").await;
    let last = say(&sidecars[1], json!("last")).await;
    for events in &mut events {
        assert_eq!(hear(events).await.json()["id"], last["id"]);
    }
    for sidecar in sidecars {
        sidecar.stop().await;
    }
}

#[tokio::test]
async fn what_a_leader_says_under_its_term_is_said_by_no_other() {
    let redis = RedisServer::start().await;
    let sidecars = pods(&redis, ["pod-a", "pod-b"]).await;
    let led = eventually("there is a leader", RECOVERY, async || {
        let views = [&sidecars[0], &sidecars[1]].map(|sidecar| sidecar.app.get("/v1/leader"));
        let views = futures::future::join_all(views).await;
        let leads = views.iter().position(|view| view.status == 200 && view.json()["isLeader"] == true);
        leads.map(|leads| (leads, views[leads].json()["term"].as_u64().unwrap())).ok_or(views)
    })
    .await;
    let (leads, term) = led;
    let mut events = listen(&sidecars[1 - leads]).await;
    let fenced = |term: u64| json!({ "type": "job_coordination", "payload": { "operation": "cleanup" }, "term": term });
    sidecars[leads].app.post("/v1/messages", fenced(term)).await.expect(202);
    let heard = hear(&mut events).await.json();
    assert_eq!((&heard["term"], &heard["type"]), (&json!(term), &json!("job_coordination")));
    for (pod, term) in [(1 - leads, term), (leads, term - 1), (leads, term + 1)] {
        let refused = sidecars[pod].app.post("/v1/messages", fenced(term)).await.expect(412);
        assert_eq!(refused.code(), "STALE_TERM");
    }
    let fence: u64 = redis.command(&["GET", "{hyperpage:coord}:fence"]).await.unwrap();
    assert_eq!(fence, term);
    // The leader sleeps, another leads, and the first wakes up with its word half said.
    sidecars[leads].pause();
    let later = eventually("another leads", RECOVERY, async || {
        let view = sidecars[1 - leads].app.get("/v1/leader").await;
        if view.status == 200 && view.json()["isLeader"] == true { Ok(view.json()) } else { Err(view) }
    })
    .await;
    let later = later["term"].as_u64().unwrap();
    sidecars[1 - leads].app.post("/v1/messages", fenced(later)).await.expect(202);
    sidecars[leads].resume();
    let refused = sidecars[leads].app.post("/v1/messages", fenced(term)).await;
    assert!([412, 503].contains(&refused.status), "{refused:?}");
    assert_eq!(hear(&mut events).await.json()["term"], later);
    assert_eq!(
        next(&mut events, Duration::from_millis(200)).await,
        Next::Nothing,
        "nothing is said under a term that is over"
    );
}

#[tokio::test]
async fn a_word_under_a_lease_that_is_lost_is_not_said_and_one_under_a_term_that_is_over_not_told() {
    let redis = RedisServer::start().await;
    let sidecar = Sidecar::start(&pod(&redis, "pod-a")).await;
    let mut events = listen(&sidecar).await;
    let leads = async || {
        eventually("it leads", RECOVERY, async || {
            let view = sidecar.app.get("/v1/leader").await;
            if view.status == 200 && view.json()["isLeader"] == true { Ok(view.json()) } else { Err(view) }
        })
        .await
    };
    let term = leads().await["term"].as_u64().unwrap();
    let fenced = json!({ "type": "broadcast", "payload": "fenced", "term": term });
    let sent = sidecar.app.post("/v1/messages", &fenced).await.expect(202).json();
    assert_eq!(hear(&mut events).await.json()["term"], term);
    // It takes itself for the leader still; the script knows better.
    let other = json!({ "nonce": "0".repeat(32), "id": "pod-x", "term": term, "beat": 1 }).to_string();
    redis.command::<()>(&["SET", "{hyperpage:coord}:lease", &other]).await.unwrap();
    let refused = sidecar.app.post("/v1/messages", &fenced).await.expect(412);
    assert_eq!(refused.code(), "STALE_TERM");
    // In its turn, by whoever can write to Redis, under an earlier term.
    let message = CAPTURED.replace("msg-mwpawwss-2nmee5wsk", "msg-1-stale");
    let at = sent["position"].as_str().unwrap();
    let now_us = at.split_once('-').unwrap().1;
    let letter = format!(r#"{{"process":"x","at":{now_us},"fence":{},"message":{message}}}"#, term - 1);
    let place = after(&sent["position"], 1);
    redis.command::<()>(&["HINCRBY", "{hyperpage:coord}:top", "seq", "1"]).await.unwrap();
    redis.command::<()>(&["XADD", "{hyperpage:coord}:stream", &place, "m", &letter]).await.unwrap();
    redis.command::<()>(&["PUBLISH", "hyperpage:coord:bus", &format!("{place} {letter}")]).await.unwrap();
    assert_eq!(next(&mut events, RECOVERY).await, Next::Place(place));
    assert_eq!(rejected(&sidecar, "stale").await, 1.0);
    say(&sidecar, json!("last")).await;
    assert_eq!(hear(&mut events).await.json()["payload"], "last");
}
