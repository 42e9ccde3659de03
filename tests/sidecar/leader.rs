//! One leader among all sidecars of a Redis, whatever happens to them and to it.

use std::time::{Duration, Instant};

use serde_json::Value;
use tests::events::Events;
use tests::eventually::{check, eventually};
use tests::http::Request;
use tests::redis::RedisServer;
use tests::sidecar::{Settings, Sidecar};

use crate::common::{PROMPT, RECOVERY};
use crate::metrics::total;

/// On a machine that does much else. What is promised, and less, is printed.
pub(crate) const ELECTED: Duration = Duration::from_secs(10);

/// Pods a, b, c of one app.
pub(crate) async fn pods(settings: &Settings) -> Vec<Sidecar> {
    let start = async |name: &str| Sidecar::start(&settings.clone().env("POD_NAME", name)).await;
    let (a, b, c) = tokio::join!(start("pod-a"), start("pod-b"), start("pod-c"));
    vec![a, b, c]
}

pub(crate) async fn stop(pods: Vec<Sidecar>) {
    for pod in pods {
        pod.stop().await;
    }
}

/// What each pod says who leads.
async fn told(pods: &[Sidecar]) -> Vec<Value> {
    let mut told = Vec::new();
    for pod in pods {
        told.push(pod.app.get("/v1/leader").await.expect(200).json());
    }
    told
}

/// All pods name the same, of a term above `before`, and exactly that one says that it leads. Which, and its term.
pub(crate) async fn led(pods: &[Sidecar], before: u64, within: Duration) -> (usize, u64) {
    eventually("all know one leader", within, async || {
        let told = told(pods).await;
        let known: Vec<_> = told.iter().map(|told| (&told["leaderId"], &told["term"])).collect();
        let leaders: Vec<_> = told.iter().enumerate().filter(|(_, told)| told["isLeader"] == true).collect();
        let term = told[0]["term"].as_u64().unwrap();
        let all = known.iter().all(|known| known == &known_by(&told[0])) && !told[0]["leaderId"].is_null();
        match leaders[..] {
            [(leader, _)] if all && term > before => Ok((leader, term)),
            _ => Err(told),
        }
    })
    .await
}

fn known_by(told: &Value) -> (&Value, &Value) {
    (&told["leaderId"], &told["term"])
}

pub(crate) async fn mirror(redis: &RedisServer) -> Option<Value> {
    let mirror: Option<String> = redis.command(&["GET", "hyperpage:leader"]).await.unwrap();
    serde_json::from_str(&mirror?).ok()
}

#[tokio::test]
async fn one_of_three_becomes_the_leader_and_says_so_in_the_originals_words() {
    let redis = RedisServer::start().await;
    let pods = pods(&Settings::redis(redis.url())).await;
    let (leader, term) = led(&pods, 0, ELECTED).await;
    let id = told(&pods).await[0]["leaderId"].as_str().unwrap().to_owned();
    let line = format!("Pod {id} became leader (term {term})");
    assert!(pods[leader].logs().contains(&line), "{}", pods[leader].logs());
    let all: usize = pods.iter().map(|pod| pod.logs().matches("became leader").count()).sum();
    assert_eq!(all, 1);
    let mirror =
        eventually("the original's pods can read it", PROMPT, async || mirror(&redis).await.ok_or("none"));
    let mirror = mirror.await;
    assert_eq!((&mirror["leaderId"], &mirror["term"]), (&Value::from(id), &Value::from(term)));
    let text: String = redis.command(&["GET", "hyperpage:leader"]).await.unwrap();
    let keys =
        ["leaderId", "term", "lastHeartbeat", "status"].map(|key| text.find(&format!("\"{key}\"")).unwrap());
    assert!(keys.is_sorted(), "{text}");
    let life: i64 = redis.command(&["TTL", "hyperpage:leader"]).await.unwrap();
    assert!((30..=40).contains(&life), "{life}");
    stop(pods).await;
}

#[tokio::test]
async fn who_leads_is_told_once_for_each_term_and_waited_for() {
    let redis = RedisServer::start().await;
    let pods = pods(&Settings::redis(redis.url())).await;
    let (leader, term) = led(&pods, 0, ELECTED).await;
    let other = &pods[(leader + 1) % 3];
    let answer = other.app.get("/v1/leader").await.expect(200);
    let known = Request::new("GET", "/v1/leader").header("if-none-match", answer.etag());
    other.app.send(known).await.expect(304);
    // Nothing changes: it is as it was, when the time is over.
    let same = other.app.get(&format!("/v1/leader?term={term}&wait=1")).await.expect(200);
    assert_eq!(same.json()["term"], term);
    assert!(same.elapsed >= Duration::from_secs(1), "{same:?}");
    let before = other.app.get("/v1/leader?term=1&wait=9").await.expect(200);
    assert!(before.elapsed < PROMPT, "{before:?}");
    for bad in ["wait=1", "term=1&wait=61", "term=x", "term=-1&wait=1"] {
        assert_eq!(other.app.get(&format!("/v1/leader?{bad}")).await.expect(400).code(), "INVALID_REQUEST");
    }
    let mut events = Events::accepting(other.app_address, "/v1/leader").await;
    assert_eq!(events.expect(&["leader"], PROMPT).await.json()["term"], term);
    let path = format!("/v1/leader?term={term}&wait=9");
    let waits = other.app.get(&path);
    let (waited, ()) = tokio::join!(waits, async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        pods[leader].kill();
    });
    let next = waited.expect(200).json();
    assert!(next["term"].as_u64().unwrap() > term && !next["leaderId"].is_null(), "{next}");
    loop {
        let event = events.expect(&["leader"], PROMPT).await;
        let json = event.json();
        if json["term"] == next["term"] && !json["leaderId"].is_null() {
            assert_eq!(event.id, Some(next["term"].to_string()));
            break;
        }
    }
}

#[tokio::test]
async fn metrics_count_elections_renewals_and_strangers_at_the_mirror() {
    let mut redis = RedisServer::start().await;
    let pods = pods(&Settings::redis(redis.url())).await;
    let (leader, term) = led(&pods, 0, ELECTED).await;
    let leader = &pods[leader];
    assert_eq!(total(leader, "leader_elections_total").await, 1.0);
    assert_eq!(total(leader, "leader_is_leader").await, 1.0);
    for pod in &pods {
        assert_eq!(total(pod, "hyperpage_leader_term").await, term as f64);
    }
    let failed = total(leader, "leader_renewals_failed_total").await;
    eventually("the mirror is there", PROMPT, async || mirror(&redis).await.ok_or("none")).await;
    // As the original does on each heartbeat of its own leader.
    let foreign = r#"{"leaderId":"stranger","term":1,"lastHeartbeat":1,"status":"active"}"#;
    for written in [1.0, 2.0] {
        redis.command::<()>(&["SET", "hyperpage:leader", foreign, "EX", "40"]).await.unwrap();
        eventually("the stranger is noticed", RECOVERY, async || {
            let counted = total(leader, "leader_foreign_mirrors_total").await;
            check(counted == written, counted)
        })
        .await;
        let mirror = mirror(&redis).await.unwrap();
        assert_eq!(mirror["term"], term, "{mirror}");
    }
    assert_eq!(leader.logs().matches("somebody else writes hyperpage:leader").count(), 1);
    let start = Instant::now();
    redis.kill();
    eventually("nobody leads without Redis", PROMPT, async || {
        let leads = total(leader, "leader_is_leader").await;
        check(leads == 0.0, leads)
    })
    .await;
    println!("without Redis nobody leads after {} ms", start.elapsed().as_millis());
    assert!(total(leader, "leader_renewals_failed_total").await > failed);
    stop(pods).await;
}

#[tokio::test]
async fn without_coordination_nobody_is_elected_and_the_path_says_why() {
    let redis = RedisServer::start().await;
    let settings = Settings::redis(redis.url()).env("POD_COORDINATION_ENABLED", "false");
    let sidecar = Sidecar::start(&settings).await;
    for path in ["/v1/leader", "/v1/leader?term=0&wait=5"] {
        let answer = sidecar.app.get(path).await.expect(404);
        assert_eq!(answer.code(), "COORDINATION_DISABLED");
    }
    let metrics = sidecar.admin.get("/metrics").await.body;
    assert!(!metrics.contains("hyperpage_leader"), "{metrics}");
    let keys: Vec<String> = redis.command(&["KEYS", "*coord*"]).await.unwrap();
    assert!(keys.is_empty(), "{keys:?}");
    sidecar.stop().await;
}
