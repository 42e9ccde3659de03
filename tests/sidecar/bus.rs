//! Messages between pods: in one order for all, and none lost without a word.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::events::{Event, Events, Next};
use tests::eventually::{check, eventually};
use tests::lived::Lived;
use tests::proxy::{Mode, Proxy};
use tests::redis::RedisServer;
use tests::sidecar::{Settings, Sidecar};

use crate::common::{PROMPT, RECOVERY};
use crate::metrics::{total, values};

/// Twice what is promised, on a machine that does much else.
const DEAF: Duration = Duration::from_secs(2);

/// A pod of this name, that may say as much as it likes.
pub(crate) fn pod(redis: &RedisServer, name: &str) -> Settings {
    Settings::redis(redis.url())
        .env("POD_NAME", name)
        .env("COORD_HIGH_PRIORITY_THRESHOLD", "0")
        .env("COORD_NORMAL_PRIORITY_THRESHOLD", "0")
}

pub(crate) async fn pods<const N: usize>(redis: &RedisServer, names: [&str; N]) -> Vec<Sidecar> {
    let mut sidecars = Vec::new();
    for name in names {
        sidecars.push(Sidecar::start(&pod(redis, name)).await);
    }
    sidecars
}

/// Listens from now on: what is said next is heard.
pub(crate) async fn listen(sidecar: &Sidecar) -> Events {
    eventually("it is subscribed", RECOVERY, async || {
        let count = total(sidecar, "hyperpage_bus_subscriptions_total").await;
        check(count >= 1.0, count)
    })
    .await;
    eventually("it has looked at the top", RECOVERY, async || {
        let mut events = Events::open(sidecar.app_address, "/v1/events", None).await;
        let hello = events.expect(&["hello"], PROMPT).await;
        if hello.id.is_some() { Ok(events) } else { Err(hello) }
    })
    .await
}

/// Once: what was refused had no effect, and a busy machine may refuse for a moment.
pub(crate) async fn say(sidecar: &Sidecar, what: Value) -> Value {
    let message = json!({ "type": "broadcast", "payload": what });
    eventually("it is said", 3 * RECOVERY, async || {
        let answer = sidecar.app.post("/v1/messages", &message).await;
        let refused = answer.status == 503 && answer.code() == "COORDINATION_UNAVAILABLE";
        if refused { Err(answer) } else { Ok(answer.expect(202).json()) }
    })
    .await
}

/// Until it is certain that it was said; it may be said more than once.
async fn say_again(sidecar: &Sidecar, what: Value) {
    let message = json!({ "type": "broadcast", "payload": what });
    eventually("it is said", 3 * RECOVERY, async || {
        let answer = sidecar.app.post("/v1/messages", &message).await;
        check([202, 503].contains(&answer.status), &answer).unwrap();
        check(answer.status == 202, answer)
    })
    .await;
}

const OF_MESSAGES: [&str; 3] = ["message", "gap", "resync"];

pub(crate) async fn hear(events: &mut Events) -> Event {
    events.expect(&OF_MESSAGES, RECOVERY).await
}

/// What is next in the order of messages, be it an event or not.
pub(crate) async fn next(events: &mut Events, within: Duration) -> Next {
    events.next_of(&OF_MESSAGES, within).await
}

#[tokio::test]
async fn whoever_listens_before_his_sidecar_does_is_told_that_he_may_have_missed_something() {
    let redis = RedisServer::start().await;
    let proxy = Proxy::start(redis.port()).await;
    proxy.set(Mode::Cut);
    let late = Sidecar::spawn(&pod(&redis, "late").env("REDIS_URL", proxy.url())).await;
    let mut events = Events::open(late.app_address, "/v1/events", None).await;
    assert_eq!(events.expect(&["hello"], PROMPT).await.id, None);
    let other = Sidecar::start(&pod(&redis, "other")).await;
    let missed = say(&other, json!("missed")).await;
    proxy.set(Mode::Pass);
    let resync = hear(&mut events).await;
    assert_eq!((resync.name.as_str(), resync.id.as_deref()), ("resync", missed["position"].as_str()));
    let heard = say(&other, json!("heard")).await;
    assert_eq!(hear(&mut events).await.id.as_deref(), heard["position"].as_str());
    late.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn a_message_is_heard_by_all_pods_in_one_order_and_a_targeted_one_by_its_pod() {
    let redis = RedisServer::start().await;
    let sidecars = pods(&redis, ["pod-a", "pod-b", "pod-c"]).await;
    let mut events = Vec::new();
    for sidecar in &sidecars {
        events.push(listen(sidecar).await);
    }
    let mut sent = Vec::new();
    for n in 0..30 {
        sent.push(say(&sidecars[n % 3], json!({ "n": n })).await);
    }
    for events in &mut events {
        for (n, sent) in sent.iter().enumerate() {
            let event = hear(events).await;
            let (data, position) = (event.json(), sent["position"].as_str());
            assert_eq!((event.name.as_str(), event.id.as_deref()), ("message", position), "{n}: {event:?}");
            assert_eq!((&data["id"], &data["payload"]["n"]), (&sent["id"], &json!(n)));
            let (kind, priority) = (&data["type"], &data["priority"]);
            assert_eq!((kind, priority), (&json!("broadcast"), &json!("normal")));
            assert_eq!(data["sourcePod"], ["pod-a", "pod-b", "pod-c"][n % 3]);
        }
    }
    let only = json!({ "type": "rate_limit_sync", "payload": [1], "priority": "high", "target": "pod-b" });
    let sent = sidecars[0].app.post("/v1/messages", only).await.expect(202).json();
    let last = say(&sidecars[0], json!("all")).await;
    let heard = hear(&mut events[1]).await.json();
    assert_eq!((&heard["id"], &heard["target"]), (&sent["id"], &json!("pod-b")));
    for events in &mut events {
        assert_eq!(hear(events).await.json()["id"], last["id"]);
    }
    let sent =
        values(&sidecars[0], "hyperpage_bus_messages_total", &["direction=\"out\"", "priority=\"normal\""]);
    assert_eq!(sent.await, [11.0]);
    let high =
        values(&sidecars[0], "hyperpage_bus_messages_total", &["direction=\"in\"", "priority=\"high\""]);
    assert_eq!(high.await, [1.0]);
    assert_eq!(total(&sidecars[0], "hyperpage_bus_delivery_seconds_count").await, 32.0);
    assert_eq!(total(&sidecars[0], "hyperpage_bus_subscriptions_total").await, 1.0);
    for sidecar in sidecars {
        sidecar.stop().await;
    }
}

#[tokio::test]
async fn ten_thousand_messages_through_three_sidecars_and_none_is_lost() {
    const EACH: usize = 3_334;
    const END: &str = r#""end""#;
    let redis = RedisServer::start().await;
    let sidecars = pods(&redis, ["pod-a", "pod-b", "pod-c"]).await;
    let mut listeners = Vec::new();
    for sidecar in &sidecars {
        let mut events = listen(sidecar).await;
        listeners.push(tokio::spawn(async move {
            let (mut heard, mut messages) = (Vec::new(), BTreeSet::new());
            loop {
                match next(&mut events, RECOVERY).await {
                    Next::Event(event) if event.name == "message" => {
                        let payload = event.json()["payload"].to_string();
                        heard.push(event.id.unwrap());
                        if payload == END {
                            break;
                        }
                        messages.insert(payload);
                    }
                    // One whose answer was lost was sent twice by its sidecar, and is delivered once.
                    Next::Place(id) => heard.push(id),
                    Next::Event(Event { name, .. }) if name == "leader" => {}
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(messages.len(), 3 * EACH);
            heard
        }));
    }
    let senders = sidecars.iter().enumerate().map(|(pod, sidecar)| async move {
        for n in 0..EACH {
            say_again(sidecar, json!([pod, n])).await;
        }
    });
    futures::future::join_all(senders).await;
    say_again(&sidecars[0], json!("end")).await;
    let mut all = Vec::new();
    for listener in listeners {
        all.push(listener.await.unwrap());
    }
    let numbers: Vec<u64> = all[0].iter().map(|id| id.split_once('-').unwrap().1.parse().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]));
    assert!(all.iter().all(|heard| *heard == all[0]), "each heard the same in the same order");
    let kept: u64 = redis.command(&["XLEN", "{hyperpage:coord}:stream"]).await.unwrap();
    assert_eq!(kept, 10_000);
    for sidecar in sidecars {
        sidecar.stop().await;
    }
}

#[tokio::test]
async fn who_comes_back_with_the_last_event_hears_what_he_has_missed() {
    let redis = RedisServer::start().await;
    let sidecars = pods(&redis, ["pod-a"]).await;
    let mut events = listen(&sidecars[0]).await;
    for n in 0..10 {
        say(&sidecars[0], json!(n)).await;
    }
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(hear(&mut events).await.id.unwrap());
    }
    let resumed = async |sidecar: &Sidecar, last: &str| {
        let mut events = Events::open(sidecar.app_address, "/v1/events", Some(last)).await;
        events.expect(&["hello"], PROMPT).await;
        events
    };
    for (place, id) in ids.iter().enumerate() {
        let mut events = resumed(&sidecars[0], id).await;
        for later in &ids[place + 1..] {
            assert_eq!(hear(&mut events).await.id.as_ref(), Some(later));
        }
        assert_eq!(next(&mut events, Duration::from_millis(50)).await, Next::Nothing);
    }
    for unknown in ["x", "99999-1", "0-0"] {
        let mut events = resumed(&sidecars[0], unknown).await;
        let event = hear(&mut events).await;
        assert_eq!((event.name.as_str(), event.id.as_ref()), ("resync", ids.last()), "{unknown}");
    }
    // Older than all that is kept: what there is comes after it.
    let mut events = resumed(&sidecars[0], "1-2").await;
    assert_eq!(hear(&mut events).await.name, "resync");
    for id in &ids {
        assert_eq!(hear(&mut events).await.id.as_ref(), Some(id));
    }
    // A sidecar that was restarted finds it in the stream.
    let settings = pod(&redis, "pod-a");
    let again = Sidecar::start(&settings).await;
    eventually("it has joined", RECOVERY, async || {
        let mut events = Events::open(again.app_address, "/v1/events", None).await;
        let hello = events.expect(&["hello"], PROMPT).await;
        check(hello.id.as_ref() == ids.last(), hello)
    })
    .await;
    say(&sidecars[0], json!("last")).await;
    let mut events = resumed(&again, &ids[3]).await;
    for later in &ids[4..] {
        assert_eq!(hear(&mut events).await.id.as_ref(), Some(later));
    }
    assert_eq!(hear(&mut events).await.json()["payload"], "last");
    again.stop().await;
}

#[tokio::test]
async fn an_app_sends_so_many_messages_a_minute_and_the_next_is_refused_with_a_time() {
    let redis = RedisServer::start().await;
    let settings = pod(&redis, "pod-a").env("COORD_HIGH_PRIORITY_THRESHOLD", "3");
    let sidecar = Sidecar::start(&settings).await;
    let high = json!({ "type": "broadcast", "payload": 1, "priority": "high" });
    for _ in 0..3 {
        sidecar.app.post("/v1/messages", &high).await.expect(202);
    }
    let refused = sidecar.app.post("/v1/messages", &high).await.expect(429);
    assert_eq!(refused.code(), "TOO_MANY_MESSAGES");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=21).contains(&wait), "one in 20 s: {refused:?}");
    let refused = values(&sidecar, "hyperpage_bus_refused_total", &["reason=\"budget\""]).await;
    assert_eq!(refused, [1.0]);
    // The others have minutes of their own.
    say(&sidecar, json!(1)).await;
    let low = json!({ "type": "broadcast", "payload": 1, "priority": "low" });
    sidecar.app.post("/v1/messages", low).await.expect(202);
    sidecar.stop().await;
}

#[tokio::test]
async fn what_is_no_message_is_refused_and_says_why() {
    let redis = RedisServer::start().await;
    let sidecar = Sidecar::start(&pod(&redis, "pod-a")).await;
    let refuse = async |body: String, status, code: &str| {
        let answer = sidecar.app.post("/v1/messages", &body).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{body:.200}: {answer:?}");
    };
    for wrong in [
        r#"{"payload":1}"#,
        r#"{"type":"broadcast"}"#,
        r#"{"type":"cache_warm","payload":1}"#,
        r#"{"type":"broadcast","payload":1,"priority":"urgent"}"#,
        r#"{"type":"broadcast","payload":1,"target":""}"#,
        r#"{"type":"broadcast","payload":1,"target":"a b"}"#,
        r#"{"type":"broadcast","payload":1,"more":1}"#,
        "[]",
        "{",
        "",
    ] {
        refuse(wrong.to_owned(), 400, "INVALID_REQUEST").await;
    }
    let long = |length: usize| json!({ "type": "broadcast", "payload": "x".repeat(length) }).to_string();
    refuse(long(65_536), 413, "PAYLOAD_TOO_LARGE").await;
    refuse(long(1 << 20), 413, "PAYLOAD_TOO_LARGE").await;
    sidecar.app.post("/v1/messages", long(65_000)).await.expect(202);
    let stale = json!({ "type": "broadcast", "payload": 1, "term": 1 });
    refuse(stale.to_string(), 412, "STALE_TERM").await;
    sidecar.stop().await;
}

#[tokio::test]
async fn a_wiped_redis_is_another_life_and_everybody_is_told() {
    let redis = RedisServer::start().await;
    let sidecars = pods(&redis, ["pod-a", "pod-b"]).await;
    let mut events = Vec::new();
    for sidecar in &sidecars {
        events.push(listen(sidecar).await);
    }
    say(&sidecars[0], json!("before")).await;
    for events in &mut events {
        assert_eq!(hear(events).await.json()["payload"], "before");
    }
    redis.command::<()>(&["FLUSHALL"]).await.unwrap();
    for events in &mut events {
        assert_eq!(hear(events).await.name, "resync");
    }
    let sent = eventually("it is said", RECOVERY, async || {
        let message = json!({ "type": "broadcast", "payload": "after" });
        let answer = sidecars[1].app.post("/v1/messages", message).await;
        if answer.status == 202 { Ok(answer.json()) } else { Err(answer) }
    })
    .await;
    for events in &mut events {
        let mut event = hear(events).await;
        while event.name == "resync" {
            event = hear(events).await;
        }
        assert_eq!(event.json()["id"], sent["id"]);
    }
    for sidecar in &sidecars {
        assert!(total(sidecar, "hyperpage_bus_resyncs_total").await >= 1.0);
        assert_eq!(total(sidecar, "hyperpage_bus_gaps_total").await, 0.0);
    }
}

/// A pod that hears through a proxy, and one that does not.
async fn behind_proxy(subscriber: &str) -> (RedisServer, Proxy, Vec<Sidecar>) {
    let redis = RedisServer::start().await;
    let proxy = Proxy::start(redis.port()).await;
    let settings =
        pod(&redis, "pod-a").env("REDIS_URL", proxy.url()).env("HYPERPAGE_BUS_SUBSCRIBER", subscriber);
    let sidecars = vec![Sidecar::start(&settings).await, Sidecar::start(&pod(&redis, "pod-b")).await];
    (redis, proxy, sidecars)
}

async fn ready(sidecar: &Sidecar, status: u16) -> Result<(), String> {
    let answer = sidecar.admin.get("/readyz").await;
    check(answer.status == status, answer)
}

async fn hears_nothing(subscriber: &str) {
    let (_redis, proxy, sidecars) = behind_proxy(subscriber).await;
    let mut events = listen(&sidecars[0]).await;
    ready(&sidecars[0], 200).await.unwrap();
    proxy.set(Mode::Hush);
    for n in 0..3 {
        // It speaks, and is heard by others.
        say(&sidecars[n % 2], json!(n)).await;
    }
    let start = Instant::now();
    eventually("it knows that it is deaf", DEAF, async || ready(&sidecars[0], 503).await).await;
    println!("{subscriber}: deaf after {} ms (promised: 1000)", start.elapsed().as_millis());
    for n in 0..3 {
        assert_eq!(hear(&mut events).await.json()["payload"], n);
    }
    let mut late = 0;
    for n in 3..10 {
        say(&sidecars[1], json!(n)).await;
        let said = Lived::now();
        assert_eq!(hear(&mut events).await.json()["payload"], n);
        late += u32::from(said.elapsed() > Duration::from_secs(1));
    }
    assert!(late < 3, "{late} of 7 were fetched later than once a second");
    proxy.set(Mode::Pass);
    eventually("it hears again", RECOVERY, async || ready(&sidecars[0], 200).await).await;
    say(&sidecars[1], json!("heard")).await;
    assert_eq!(hear(&mut events).await.json()["payload"], "heard");
    assert!(total(&sidecars[0], "hyperpage_bus_deaf_total").await > 0.0);
    assert_eq!(total(&sidecars[0], "hyperpage_bus_gaps_total").await, 0.0);
    ready(&sidecars[1], 200).await.unwrap();
    for sidecar in sidecars {
        sidecar.stop().await;
    }
}

#[tokio::test]
async fn who_hears_nothing_is_soon_unready_and_learns_of_everything_all_the_same() {
    // hyperpage_bus_deaf is looked at for each of the two clients.
    hears_nothing("fred").await;
    hears_nothing("redis").await;
}

#[tokio::test]
async fn what_nobody_can_find_any_more_is_reported_as_a_gap() {
    let (redis, proxy, sidecars) = behind_proxy("fred").await;
    let mut events = listen(&sidecars[0]).await;
    proxy.set(Mode::Hush);
    let lost = say(&sidecars[1], json!("lost")).await;
    redis.command::<()>(&["DEL", "{hyperpage:coord}:stream"]).await.unwrap();
    let gap = hear(&mut events).await;
    assert_eq!((gap.name.as_str(), gap.id.as_deref()), ("gap", lost["position"].as_str()));
    assert_eq!((&gap.json()["from"], &gap.json()["to"]), (&lost["position"], &lost["position"]));
    assert_eq!(total(&sidecars[0], "hyperpage_bus_gaps_total").await, 1.0);
    proxy.set(Mode::Pass);
    say(&sidecars[1], json!("heard")).await;
    assert_eq!(hear(&mut events).await.json()["payload"], "heard");
}

#[tokio::test]
async fn garbage_on_every_channel_and_in_the_stream_is_counted_and_harms_nobody() {
    let redis = RedisServer::start().await;
    let sidecars = pods(&redis, ["pod-a", "pod-b"]).await;
    let mut events = listen(&sidecars[0]).await;
    let further = |position: &str, ahead: u64| {
        let (n, seq) = position.split_once('-').unwrap();
        format!("{n}-{}", seq.parse::<u64>().unwrap() + ahead)
    };
    let large = "x".repeat(1 << 20);
    let mut last = say(&sidecars[1], json!(0)).await;
    assert_eq!(hear(&mut events).await.json()["payload"], 0);
    for n in 1..6 {
        let position = last["position"].as_str().unwrap().to_owned();
        for channel in ["bus", "all", "pod-a", "election"] {
            let channel = format!("hyperpage:coord:{channel}");
            for said in [
                String::new(),
                "\0\0\0".to_owned(),
                "{".to_owned(),
                r#"{"id":"a","type":"x","payload":1,"timestamp":1,"sourcePod":"p"}"#.to_owned(),
                large.clone(),
                format!("{} {{", further(&position, 1)),
                format!("{} {large}", further(&position, 1)),
                format!("{} {{}}", further(&position, 1_000_000)),
                format!("{}-1 {{}}", u64::MAX),
            ] {
                redis.command::<i64>(&["PUBLISH", &channel, &said]).await.unwrap();
            }
        }
        // In the stream, far ahead of all that is to come.
        let far = if n % 2 == 0 { "*".to_owned() } else { further(&position, 1_000) };
        redis.command::<String>(&["XADD", "{hyperpage:coord}:stream", &far, "x", "y"]).await.unwrap();
        last = say(&sidecars[1], json!(n)).await;
        let heard = hear(&mut events).await;
        assert_eq!((heard.name.as_str(), heard.id.as_deref()), ("message", last["position"].as_str()));
        assert_eq!(heard.json()["payload"], n);
    }
    for reason in ["garbage", "too_large", "unknown_type"] {
        let label = format!("reason=\"{reason}\"");
        let rejected = values(&sidecars[0], "hyperpage_bus_rejected_total", &[&label]).await;
        assert!(rejected[0] >= 5.0, "{reason}: {rejected:?}");
        let said = sidecars[0].logs().matches(&format!("\"reason\":\"{reason}\"")).count();
        assert_eq!(said, 1, "{reason}: {}", sidecars[0].logs());
    }
    for sidecar in sidecars {
        sidecar.stop().await;
    }
}
