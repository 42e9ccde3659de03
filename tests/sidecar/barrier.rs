//! A cache is invalidated everywhere, and it is known when that has happened.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::events::{Event, Events};
use tests::eventually::{check, eventually};
use tests::http::Answer;
use tests::proxy::{Mode, Proxy};
use tests::redis::RedisServer;
use tests::sidecar::{Settings, Sidecar};

use crate::common::{PROMPT, RECOVERY};

const INVALIDATE: &str = "/v1/cache/invalidate";
const APPLIED: &str = "/v1/cache/invalidate?wait=applied";
/// Others count a pod out after three seconds; it ends a second before.
const GONE: Duration = Duration::from_secs(3);

/// The app beside a sidecar, which says what it has applied.
struct App {
    events: Events,
    stream: u64,
}

impl App {
    async fn open(sidecar: &Sidecar) -> App {
        App::again(sidecar, None).await
    }

    async fn again(sidecar: &Sidecar, last: Option<&str>) -> App {
        let mut events = Events::open(sidecar.app_address, "/v1/events?acks=true", last).await;
        let hello = events.expect(&["hello"], PROMPT).await.json();
        App { events, stream: hello["stream"].as_u64().unwrap() }
    }

    async fn heard(&mut self) -> Event {
        self.events.expect(&["message", "gap", "resync"], RECOVERY).await
    }

    async fn apply(&self, sidecar: &Sidecar, event: &Event) -> Answer {
        let ack = json!({ "stream": self.stream, "id": event.id });
        sidecar.app.post("/v1/events/acks", &ack.to_string()).await
    }

    /// Applies what comes until it may serve.
    async fn serves(&mut self, sidecar: &Sidecar) {
        eventually("it may serve", RECOVERY, async || {
            let event = self.events.expect(&["lease", "message", "gap", "resync"], RECOVERY).await;
            if event.name != "lease" {
                self.apply(sidecar, &event).await.expect(204);
            }
            check(event.name == "lease" && event.json()["validMs"] != 0, event)
        })
        .await;
    }

    /// Until when it may serve, by CLOCK_MONOTONIC in ms.
    async fn lease(&mut self) -> Value {
        self.events.expect(&["lease"], RECOVERY).await.json()
    }
}

/// Pods a, b, c of one app; each knows of all.
async fn pods() -> (RedisServer, Vec<Sidecar>) {
    let redis = RedisServer::start().await;
    let start = async |name: &str| {
        let settings = Settings::redis(redis.url()).env("COORD_HIGH_PRIORITY_THRESHOLD", "0");
        Sidecar::start(&settings.env("POD_NAME", name)).await
    };
    let (a, b, c) = tokio::join!(start("a"), start("b"), start("c"));
    let pods = vec![a, b, c];
    for pod in &pods {
        eventually("all pods have said where they are", RECOVERY + GONE, async || {
            let answer = pod.app.post(APPLIED, r#"{"keys":["begin"]}"#).await;
            check(answer.status == 200 && answer.json()["processes"] == 3, answer)
        })
        .await;
    }
    (redis, pods)
}

/// The pods that had not applied it when the time was over.
fn laggards(answer: &Answer) -> Vec<String> {
    let laggards = answer.json()["laggards"].as_array().cloned().unwrap_or_default();
    laggards.iter().map(|laggard| laggard["pod"].as_str().unwrap().to_owned()).collect()
}

async fn stop(pods: Vec<Sidecar>) {
    for pod in pods {
        pod.stop().await;
    }
}

#[tokio::test]
async fn an_invalidation_is_answered_when_every_pods_app_has_applied_it() {
    let (_redis, pods) = pods().await;
    let mut apps = Vec::new();
    for pod in &pods {
        apps.push(App::open(pod).await);
    }
    for (number, body) in
        [r#"{"keys":["user:1"]}"#, r#"{"prefix":"user:"}"#, r#"{"tags":["t"]}"#].into_iter().enumerate()
    {
        // On a slow machine the time may be over first, and it is said again.
        eventually("it is applied in time", 6 * RECOVERY, async || {
            let invalidated = pods[number].app.post(APPLIED, body);
            let applied = async {
                let mut last = Instant::now();
                for (app, pod) in apps.iter_mut().zip(&pods) {
                    let event = app.heard().await;
                    let message = event.json();
                    assert_eq!(
                        (&message["type"], &message["priority"]),
                        (&json!("cache_invalidate"), &json!("high"))
                    );
                    assert_eq!(message["payload"].to_string(), body);
                    last = Instant::now();
                    app.apply(pod, &event).await.expect(204);
                }
                last
            };
            let (answered, last) = tokio::join!(async { (invalidated.await, Instant::now()) }, applied);
            let (answer, answered) = answered;
            check(answer.status == 200, &answer)?;
            assert_eq!((&answer.json()["applied"], &answer.json()["processes"]), (&json!(true), &json!(3)));
            assert!(answered > last, "it was answered before the last app had applied it");
            println!("applied by three pods after {} ms", answer.elapsed.as_millis());
            Ok::<(), String>(())
        })
        .await;
    }
    stop(pods).await;
}

#[tokio::test]
async fn an_app_that_lags_is_named_and_not_waited_for_for_ever() {
    let (_redis, pods) = pods().await;
    let mut slow = App::open(&pods[1]).await;
    // Others may be slow for once.
    let answer = eventually("nobody else is named", 6 * RECOVERY, async || {
        let answer = pods[0].app.post(&format!("{APPLIED}&timeoutMs=1500"), r#"{"keys":["a"]}"#).await;
        let only = laggards(&answer.clone().expect(207)) == ["b"];
        if only { Ok(answer) } else { Err(answer) }
    })
    .await;
    println!("an app that lags was waited for {} ms (asked for: 1500)", answer.elapsed.as_millis());
    assert!(answer.elapsed < RECOVERY, "{answer:?}");
    let position = answer.json()["position"].clone();
    let mut event = slow.heard().await;
    while event.id.as_deref() != position.as_str() {
        event = slow.heard().await;
    }
    assert_eq!(slow.apply(&pods[0], &event).await.expect(404).code(), "STREAM_NOT_FOUND");
    slow.apply(&pods[1], &event).await.expect(204);
    // What is told to another pod's app is nothing that this one could apply.
    let other = r#"{"type":"broadcast","payload":1,"target":"c"}"#;
    eventually("all have applied what is nothing to them", RECOVERY, async || {
        let answer = pods[0].app.post("/v1/messages?wait=applied", other).await;
        check(answer.status == 200, answer)
    })
    .await;
    // Gone without a word, it may serve what it had until its lease is over.
    slow.lease().await;
    drop(slow);
    eventually("what it was told is over", GONE + RECOVERY, async || {
        let answer = pods[0].app.post(APPLIED, r#"{"keys":["b"]}"#).await;
        check(answer.status == 200, answer)
    })
    .await;
    stop(pods).await;
}

#[tokio::test]
async fn a_pod_that_sleeps_is_waited_for_until_its_app_serves_nothing_any_more() {
    let (_redis, pods) = pods().await;
    let mut app = App::open(&pods[2]).await;
    let mut lease = app.lease().await;
    while lease["validMs"] == 0 {
        lease = app.lease().await;
    }
    pods[2].pause();
    let first = pods[0].app.post(APPLIED, r#"{"keys":["a"]}"#).await.expect(207);
    assert!(laggards(&first).contains(&"c".to_owned()), "{first:?}");
    eventually("it is counted out", GONE + RECOVERY, async || {
        let answer = pods[0].app.post(APPLIED, r#"{"keys":["b"]}"#).await;
        check(answer.status == 200, answer)
    })
    .await;
    let now = sidecar::clock::monotonic_ms();
    // All that it was told before it fell asleep.
    while let tests::events::Next::Event(event) = app.events.next(Duration::from_millis(50)).await {
        if event.name == "lease" {
            lease = event.json();
        }
    }
    let until = lease["untilMonotonicMs"].as_u64().unwrap();
    assert!(until < now, "it could serve until {until}, and was counted out at {now}");
    pods[2].resume();
    let event = app.heard().await;
    assert_eq!(event.json()["payload"], json!({ "keys": ["a"] }));
    app.apply(&pods[2], &event).await.expect(204);
    stop(pods).await;
}

#[tokio::test]
async fn right_after_redis_lost_who_was_there_nothing_is_said_to_be_applied() {
    let (redis, pods) = pods().await;
    redis.command::<()>(&["FLUSHALL"]).await.unwrap();
    let answer = eventually("it is sent", RECOVERY, async || {
        let answer = pods[0].app.post(APPLIED, r#"{"keys":["a"]}"#).await;
        check(answer.status != 503, answer.status).map(|()| answer)
    })
    .await;
    assert_eq!(answer.status, 207, "{answer:?}");
    eventually("all have said that they are there", GONE + RECOVERY, async || {
        let answer = pods[0].app.post(APPLIED, r#"{"keys":["a"]}"#).await;
        check(answer.status == 200 && answer.json()["processes"] == 3, answer)
    })
    .await;
    stop(pods).await;
}

/// How long Redis' present data are there.
async fn age(redis: &RedisServer) -> Option<Duration> {
    let record: Option<String> = redis.command(&["GET", "hyperpage:inc"]).await.unwrap();
    let (seconds, micros): (u64, u64) = redis.command(&["TIME"]).await.unwrap();
    let since = record?.rsplit(' ').next().and_then(|since| since.parse().ok()).unwrap();
    Some(Duration::from_micros(seconds * 1_000_000 + micros).saturating_sub(Duration::from_micros(since)))
}

#[tokio::test]
async fn who_was_not_known_then_is_not_made_known_by_waiting() {
    let (redis, pods) = pods().await;
    let mut app = App::open(&pods[1]).await;
    let older = async |than: Duration| {
        eventually("Redis' data are older", GONE + RECOVERY, async || {
            let age = age(&redis).await;
            check(age > Some(than), age)
        })
        .await;
    };
    // On a slow machine it may be published too late to be of interest.
    for _ in 0..10 {
        redis.command::<()>(&["FLUSHALL"]).await.unwrap();
        older(Duration::from_secs(2)).await;
        let path = format!("{APPLIED}&timeoutMs=1500");
        let asked = pods[0].app.post(&path, r#"{"keys":["a"]}"#);
        let applied = async {
            let mut event = app.heard().await;
            while event.name != "message" {
                app.apply(&pods[1], &event).await.expect(204);
                event = app.heard().await;
            }
            let heard_at = age(&redis).await;
            older(GONE + Duration::from_millis(50)).await;
            app.apply(&pods[1], &event).await.expect(204);
            heard_at
        };
        let (answer, heard_at) = tokio::join!(asked, applied);
        if heard_at < Some(GONE) {
            let told = answer.expect(207).json();
            assert!(told["reason"].is_string(), "{told}");
            return stop(pods).await;
        }
    }
    panic!("this machine is too slow for this test");
}

#[tokio::test]
async fn an_app_that_comes_back_is_told_what_it_missed_before_it_may_serve() {
    let (redis, mut pods) = pods().await;
    let mut app = App::open(&pods[1]).await;
    pods[0].app.post(INVALIDATE, r#"{"keys":["a"]}"#).await.expect(202);
    let last = app.heard().await.id;
    pods.remove(1).kill();
    pods[0].app.post(INVALIDATE, r#"{"keys":["b"]}"#).await.expect(202);
    let proxy = Proxy::start(redis.port()).await;
    let again = Sidecar::start(&Settings::redis(proxy.url()).env("POD_NAME", "b")).await;
    let mut other = App::open(&again).await;
    other.serves(&again).await;
    // It may let its app serve, and cannot tell it what that missed.
    proxy.set(Mode::Stall);
    let mut back = App::again(&again, last.as_deref()).await;
    let first = back.events.expect(&["lease", "message", "gap", "resync"], RECOVERY).await;
    assert_ne!(first.name, "lease", "{first:?}");
    proxy.set(Mode::Pass);
    back.apply(&again, &first).await.expect(204);
    back.serves(&again).await;
    again.stop().await;
    stop(pods).await;
}

#[tokio::test]
async fn what_is_no_invalidation_and_no_way_to_wait_is_400() {
    let redis = RedisServer::start().await;
    let sidecar = Sidecar::start(&Settings::redis(redis.url())).await;
    let keys = r#"{"keys":["a"]}"#;
    for (path, body) in [
        (INVALIDATE, "{}"),
        (INVALIDATE, "null"),
        (INVALIDATE, "{oops"),
        (INVALIDATE, r#"{"keys":[]}"#),
        (INVALIDATE, r#"{"keys":["a"],"tags":["b"]}"#),
        ("/v1/cache/invalidate?wait=for-ever", keys),
        ("/v1/cache/invalidate?wait=applied&timeoutMs=9999", keys),
        ("/v1/cache/invalidate?timeoutMs=9", keys),
        ("/v1/cache/invalidate?wait=applied&timeoutMs=soon", keys),
        ("/v1/events/acks", r#"{"stream":1}"#),
        ("/v1/events/acks", r#"{"stream":1,"id":"x"}"#),
    ] {
        assert_eq!(sidecar.app.post(path, body).await.expect(400).code(), "INVALID_REQUEST", "{path} {body}");
    }
    sidecar.app.get("/v1/events?acks=perhaps").await.expect(400);
    let unknown = r#"{"stream":7,"id":"1-1"}"#;
    assert_eq!(sidecar.app.post("/v1/events/acks", unknown).await.expect(404).code(), "STREAM_NOT_FOUND");
    sidecar.app.post(INVALIDATE, keys).await.expect(202);
    sidecar.stop().await;
}
