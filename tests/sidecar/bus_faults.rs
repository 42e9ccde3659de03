//! Messages while Redis, the way to it, or somebody who listens fails. Each fault is met by both clients.

use std::time::Duration;

use serde_json::json;
use tests::events::{Events, Next};
use tests::eventually::{check, eventually};
use tests::http::Answer;
use tests::lived::Lived;
use tests::proxy::{Mode, Proxy};
use tests::redis::RedisServer;
use tests::sidecar::Sidecar;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::bus::{hear, listen, next, pod, pods, say};
use crate::common::{PROMPT, RECOVERY};
use crate::metrics::{total, values};

/// Far less than the time that a client alone, left to its devices, may need.
const HEARS_AGAIN: Duration = Duration::from_secs(3);

async fn listening(redis: &RedisServer, proxy: &Proxy, subscriber: &str) -> [Sidecar; 2] {
    let by = pod(redis, "pod-a").env("HYPERPAGE_BUS_SUBSCRIBER", subscriber);
    [Sidecar::start(&by.env("REDIS_URL", proxy.url())).await, Sidecar::start(&pod(redis, "pod-b")).await]
}

/// Says it until somebody has taken it.
pub(crate) async fn insist(sidecar: &Sidecar, what: &str) -> Answer {
    eventually("it is said", RECOVERY, async || {
        let message = json!({ "type": "broadcast", "payload": what });
        let answer = sidecar.app.post("/v1/messages", message).await;
        if answer.status == 202 { Ok(answer) } else { Err(answer) }
    })
    .await
}

/// Until this is told.
pub(crate) async fn told(events: &mut Events, what: &str) {
    loop {
        let event = hear(events).await;
        assert_eq!(event.name, "message", "{event:?}");
        if event.json()["payload"] == what {
            return;
        }
    }
}

/// Says it until it is told. What was said before another life of Redis' data was noticed is not: the resync stands
/// for it.
pub(crate) async fn reach(sidecar: &Sidecar, events: &mut Events, what: &str) {
    loop {
        insist(sidecar, what).await;
        loop {
            let event = hear(events).await;
            match event.name.as_str() {
                "message" if event.json()["payload"] == what => return,
                "message" => {}
                "resync" => break,
                _ => panic!("{event:?}"),
            }
        }
    }
}

/// It has subscribed once more, and what is said from then on is heard at once, not fetched.
async fn hears_again(sidecars: &[Sidecar; 2], events: &mut Events, subscriptions: f64) {
    eventually("it is subscribed again", HEARS_AGAIN, async || {
        let count = total(&sidecars[0], "hyperpage_bus_subscriptions_total").await;
        check(count > subscriptions, count)
    })
    .await;
    reach(&sidecars[1], events, "again").await;
    let start = Lived::now();
    for n in 0..20 {
        insist(&sidecars[1], &n.to_string()).await;
        told(events, &n.to_string()).await;
    }
    // Whoever fetches has each a quarter of a second later.
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(total(&sidecars[0], "hyperpage_bus_gaps_total").await, 0.0);
}

async fn survives_a_restart(subscriber: &str) {
    let mut redis = RedisServer::durable().await;
    let proxy = Proxy::start(redis.port()).await;
    let sidecars = listening(&redis, &proxy, subscriber).await;
    let mut events = listen(&sidecars[0]).await;
    insist(&sidecars[1], "before").await;
    told(&mut events, "before").await;
    let subscriptions = total(&sidecars[0], "hyperpage_bus_subscriptions_total").await;
    redis.kill();
    // Longer than the longest pause of either client between two attempts.
    tokio::time::sleep(Duration::from_secs(4)).await;
    redis.run().await;
    hears_again(&sidecars, &mut events, subscriptions).await;
    for sidecar in sidecars {
        sidecar.stop().await;
    }
}

#[tokio::test]
async fn fred_hears_again_after_an_absence_of_redis() {
    survives_a_restart("fred").await;
}

#[tokio::test]
async fn redis_hears_again_after_an_absence_of_redis() {
    survives_a_restart("redis").await;
}

async fn survives_half_open_connections(subscriber: &str) {
    let redis = RedisServer::start().await;
    let proxy = Proxy::start(redis.port()).await;
    let sidecars = listening(&redis, &proxy, subscriber).await;
    let mut events = listen(&sidecars[0]).await;
    let subscriptions = total(&sidecars[0], "hyperpage_bus_subscriptions_total").await;
    proxy.half_open();
    for n in 0..5 {
        say(&sidecars[1], json!(n.to_string())).await;
    }
    for n in 0..5 {
        told(&mut events, &n.to_string()).await;
    }
    hears_again(&sidecars, &mut events, subscriptions).await;
    for sidecar in sidecars {
        sidecar.stop().await;
    }
}

#[tokio::test]
async fn fred_hears_again_after_its_connection_died_without_a_word() {
    survives_half_open_connections("fred").await;
}

#[tokio::test]
async fn redis_hears_again_after_its_connection_died_without_a_word() {
    survives_half_open_connections("redis").await;
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_while_redis_sleeps_and_while_the_way_is_cut() {
    let redis = RedisServer::start().await;
    let proxy = Proxy::start(redis.port()).await;
    let sidecars = listening(&redis, &proxy, "fred").await;
    let mut events = [listen(&sidecars[0]).await, listen(&sidecars[1]).await];
    let mut said = 0;
    for round in 0..3 {
        for fault in 0..2 {
            match fault {
                0 => redis.hang(),
                _ => proxy.set(Mode::Cut),
            }
            let start = std::time::Instant::now();
            while start.elapsed() < Duration::from_millis(1_500) {
                let message = json!({ "type": "broadcast", "payload": said });
                if sidecars[1].app.post("/v1/messages", message).await.status == 202 {
                    said += 1;
                }
            }
            redis.resume();
            proxy.set(Mode::Pass);
            insist(&sidecars[0], &format!("{round} {fault}")).await;
            for events in &mut events {
                loop {
                    let event = hear(events).await;
                    assert_eq!(event.name, "message", "{event:?}");
                    if event.json()["payload"] == format!("{round} {fault}") {
                        break;
                    }
                }
            }
        }
    }
    assert!(said > 0, "somebody spoke while the way of the other was cut");
    let heard = async |sidecar: &Sidecar| {
        let heard = values(sidecar, "hyperpage_bus_messages_total", &["direction=\"in\""]).await;
        heard.into_iter().sum::<f64>()
    };
    let heard = [heard(&sidecars[0]).await, heard(&sidecars[1]).await];
    // What was not acknowledged may have been told, too; both were told the same.
    assert!(heard[0] == heard[1] && heard[0] >= f64::from(said + 6), "{heard:?} of {said}");
    for sidecar in sidecars {
        sidecar.stop().await;
    }
}

#[tokio::test]
async fn a_client_that_never_reads_costs_little_and_nobody_else_anything() {
    const LARGE: usize = 60_000;
    const COUNT: usize = 400;
    let redis = RedisServer::start().await;
    let sidecars = pods(&redis, ["pod-a"]).await;
    let mut events = listen(&sidecars[0]).await;
    let mut deaf = Vec::new();
    for _ in 0..4 {
        let mut socket = TcpStream::connect(sidecars[0].app_address).await.unwrap();
        socket.write_all(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        deaf.push(socket);
    }
    eventually("they listen", PROMPT, async || {
        let open = total(&sidecars[0], "hyperpage_http_streams").await;
        check(open == 5.0, open)
    })
    .await;
    let before = sidecars[0].rss_bytes();
    for n in 0..COUNT {
        let (fill, number) = ("x".repeat(LARGE), n);
        say(&sidecars[0], json!({ "n": number, "fill": fill })).await;
        assert_eq!(hear(&mut events).await.json()["payload"]["n"], n);
    }
    let grown = sidecars[0].rss_bytes().saturating_sub(before) / 1_024;
    println!("{COUNT} messages of {LARGE} bytes and four who do not read: {grown} KiB more");
    assert!(grown < 32 * 1_024, "{grown} KiB");
    // Redis keeps as much, and knows it.
    let entries = redis.command(&["XRANGE", "{hyperpage:coord}:stream", "-", "+"]).await;
    let entries: Vec<(String, [(String, String); 1])> = entries.unwrap();
    let bytes: usize = entries.iter().map(|(_, [(_, envelope)])| envelope.len()).sum();
    let known: usize = redis.command(&["HGET", "{hyperpage:coord}:top", "bytes"]).await.unwrap();
    assert_eq!(bytes, known);
    assert!((15 << 20..=16 << 20).contains(&bytes), "{bytes} of {} messages", entries.len());
    eventually("they are shown out", Duration::from_secs(20), async || {
        let open = total(&sidecars[0], "hyperpage_http_streams").await;
        check(open == 1.0, open)
    })
    .await;
    for sidecar in sidecars {
        sidecar.stop().await;
    }
}

/// How often a message is told that is sent until somebody knows what became of it, and how many of its places are
/// passed over.
async fn told_and_passed(mutant: Option<&str>) -> (usize, usize) {
    let redis = RedisServer::start().await;
    let proxy = Proxy::start(redis.port()).await;
    let by = |name: &str| match mutant {
        Some(mutant) => pod(&redis, name).program(env!("CARGO_BIN_EXE_chaos-node")).env("MUTANT", mutant),
        None => pod(&redis, name),
    };
    let sidecars = [
        Sidecar::start(&by("pod-a").env("REDIS_URL", proxy.url())).await,
        Sidecar::start(&by("pod-b")).await,
    ];
    // Redis knows the script from then on.
    insist(&sidecars[0], "first").await;
    let mut events = listen(&sidecars[1]).await;
    proxy.set(Mode::Mute("told-once"));
    let message = json!({ "type": "broadcast", "payload": "told-once" });
    let unknown = sidecars[0].app.post("/v1/messages", message).await.expect(503);
    assert_eq!(unknown.code(), "OUTCOME_UNKNOWN");
    assert!(unknown.elapsed < PROMPT, "{unknown:?}");
    proxy.set(Mode::Pass);
    let last = insist(&sidecars[1], "last").await.json();
    let (mut told, mut passed) = (0, 0);
    loop {
        match next(&mut events, RECOVERY).await {
            Next::Event(event) if event.id.as_deref() == last["position"].as_str() => return (told, passed),
            Next::Event(event) if event.json()["payload"] == "first" => {}
            Next::Event(event) if event.json()["payload"] == "told-once" => told += 1,
            Next::Place(_) => passed += 1,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_message_whose_answers_are_lost_is_sent_again_and_told_once() {
    let (told, passed) = told_and_passed(None).await;
    assert_eq!(told, 1);
    assert!(passed >= 1, "it was sent more than once");
}

#[tokio::test]
async fn mutant_that_takes_no_message_for_known_is_caught() {
    let (told, _) = told_and_passed(Some("twice")).await;
    assert!(told > 1, "{told}");
}

#[tokio::test]
async fn no_number_is_given_while_it_is_not_known_what_redis_has_lost() {
    let mut redis = RedisServer::start().await;
    let proxy = Proxy::start(redis.port()).await;
    let sidecar = Sidecar::start(&pod(&redis, "pod-a").env("REDIS_URL", proxy.url())).await;
    insist(&sidecar, "kept").await;
    redis.command::<()>(&["SAVE"]).await.unwrap();
    let lost = insist(&sidecar, "lost").await.json();
    proxy.set(Mode::Cut);
    redis.restart().await;
    // It serves, and takes no word of who it is: as one that was promoted and has no replica yet.
    let least = async |replicas: &str| {
        redis.command::<()>(&["CONFIG", "SET", "min-replicas-to-write", replicas]).await.unwrap();
    };
    least("1").await;
    proxy.set(Mode::Pass);
    eventually("it has met that Redis", RECOVERY, async || {
        let logs = sidecar.logs();
        check(logs.contains("no record: "), logs)
    })
    .await;
    least("0").await;
    let next = insist(&sidecar, "next").await.json();
    assert_ne!(next["position"], lost["position"]);
    sidecar.stop().await;
}
