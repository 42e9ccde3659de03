//! What only a leader does, and what becomes of it when another leads.

use std::time::Duration;

use serde_json::{Value, json};
use tests::events::Events;
use tests::eventually::eventually;
use tests::redis::RedisServer;
use tests::sidecar::{Settings, Sidecar};

use crate::common::{PROMPT, RECOVERY};
use crate::leader::{ELECTED, led, pods, stop};

const COORDINATE: &str = "/v1/leader/coordinate";

async fn listen(pod: &Sidecar) -> Events {
    let mut events = Events::open(pod.app_address, "/v1/events", None).await;
    events.expect(&["hello"], PROMPT).await;
    events
}

#[tokio::test]
async fn a_leader_coordinates_and_all_pods_hear_it_as_the_original_says_it() {
    let redis = RedisServer::start().await;
    let pods = pods(&Settings::redis(redis.url())).await;
    let (leader, term) = led(&pods, 0, ELECTED).await;
    let mut all = Vec::new();
    for pod in &pods {
        all.push(listen(pod).await);
    }
    let names = ["pod-a", "pod-b", "pod-c"];
    for operation in ["cache_warmup", "bg_job_balance", "cleanup"] {
        let body = json!({ "operation": operation, "data": { "tool": "jira" }, "term": term });
        let sent = pods[leader].app.post(COORDINATE, body).await.expect(202).json();
        assert_eq!(sent["term"], term);
        for events in &mut all {
            let message = events.expect(&["message"], RECOVERY).await.json();
            assert_eq!(message["id"], sent["id"]);
            assert_eq!(
                (&message["type"], &message["priority"]),
                (&json!("job_coordination"), &json!("high"))
            );
            let expected =
                json!({ "operation": operation, "data": { "tool": "jira" }, "coordinator": names[leader] });
            assert_eq!(message["payload"], expected);
        }
    }
    let follower = &pods[(leader + 1) % 3];
    let refused = follower.app.post(COORDINATE, json!({ "operation": "cleanup" })).await.expect(409);
    assert_eq!(refused.code(), "NOT_LEADER");
    assert!(refused.body.contains(names[leader]), "{refused:?}");
    for pod in [&pods[leader], follower] {
        let stale = json!({ "operation": "cleanup", "term": term - 1 });
        assert_eq!(pod.app.post(COORDINATE, stale).await.expect(412).code(), "STALE_TERM");
    }
    let bad =
        [json!({}), json!({ "operation": "reboot" }), json!({ "operation": "cleanup", "x": 1 }), json!([])];
    for body in bad {
        assert_eq!(pods[leader].app.post(COORDINATE, body).await.expect(400).code(), "INVALID_REQUEST");
    }
    stop(pods).await;
}

#[tokio::test]
async fn who_slept_beyond_the_lease_is_refused_with_the_old_term_and_every_pod_hears_who_leads() {
    let redis = RedisServer::start().await;
    let pods = pods(&Settings::redis(redis.url())).await;
    let (leader, term) = led(&pods, 0, ELECTED).await;
    let others: Vec<_> = (0..3).filter(|pod| *pod != leader).collect();
    let mut events = listen(&pods[others[0]]).await;
    pods[leader].pause();
    let body = json!({ "operation": "cleanup", "term": term });
    // It is on its way to the old leader, and arrives when that one wakes.
    let late = pods[leader].app.post(COORDINATE, &body);
    let (late, next) = tokio::join!(late, async {
        let next = loop {
            let told = events.expect(&["leader"], ELECTED).await.json();
            if told["term"].as_u64().unwrap() > term && !told["leaderId"].is_null() {
                break told;
            }
        };
        pods[leader].resume();
        next
    });
    // It may have woken without a connection: then nothing was done either, and it is asked again.
    let refused = match late.status {
        503 => {
            let again = eventually("it is refused", RECOVERY, async || {
                let answer = pods[leader].app.post(COORDINATE, &body).await;
                if answer.status == 503 { Err(answer) } else { Ok(answer) }
            });
            again.await
        }
        _ => late,
    };
    assert_eq!(refused.expect(412).code(), "STALE_TERM");
    let (new, now) = led(&pods, term, ELECTED).await;
    assert_eq!(next["term"], now);
    pods[new].app.post(COORDINATE, json!({ "operation": "cleanup", "term": now })).await.expect(202);
    let heard = events.expect(&["message"], RECOVERY).await.json();
    assert_eq!((&heard["payload"]["operation"], &heard["term"]), (&json!("cleanup"), &json!(now)));
    stop(pods).await;
}

/// Between the check and the effect nobody can look: Redis refuses whoever leads no longer.
#[tokio::test]
async fn redis_refuses_a_leader_whose_lease_is_another_s() {
    let redis = RedisServer::start().await;
    let pods = pods(&Settings::redis(redis.url())).await;
    let (leader, term) = led(&pods, 0, ELECTED).await;
    let mut events = listen(&pods[leader]).await;
    let lease: String = redis.command(&["GET", "{hyperpage:coord}:lease"]).await.unwrap();
    let mut stolen: Value = serde_json::from_str(&lease).unwrap();
    stolen["nonce"] = "0".repeat(32).into();
    stolen["term"] = (term + 1).into();
    redis.command::<()>(&["SET", "{hyperpage:coord}:lease", &stolen.to_string()]).await.unwrap();
    // Until its next renewal it does not know.
    let body = json!({ "operation": "cleanup", "term": term });
    let refused = eventually("it is refused", PROMPT, async || {
        let answer = pods[leader].app.post(COORDINATE, &body).await;
        if answer.status == 412 { Ok(answer) } else { Err(answer) }
    })
    .await;
    assert_eq!(refused.code(), "STALE_TERM");
    let heard = tokio::time::timeout(Duration::from_millis(300), events.expect(&["message"], RECOVERY)).await;
    assert!(heard.is_err(), "{heard:?}");
    led(&pods, term + 1, ELECTED).await;
    stop(pods).await;
}

#[tokio::test]
async fn without_redis_a_leader_says_so_in_time_and_soon_leads_no_more() {
    let mut redis = RedisServer::start().await;
    let pods = pods(&Settings::redis(redis.url())).await;
    let (leader, _) = led(&pods, 0, ELECTED).await;
    let app = &pods[leader].app;
    redis.kill();
    eventually("it leads no more", RECOVERY, async || {
        let answer = app.post(COORDINATE, json!({ "operation": "cleanup" })).await;
        assert!(answer.elapsed < PROMPT, "{answer:?}");
        let codes = ["COORDINATION_UNAVAILABLE", "OUTCOME_UNKNOWN", "NOT_LEADER"];
        assert!(codes.contains(&answer.code().as_str()), "{answer:?}");
        let told = app.get("/v1/leader").await.expect(200);
        assert!(told.elapsed < PROMPT, "{told:?}");
        if answer.status == 409 && told.json()["leaderId"].is_null() { Ok(()) } else { Err(answer) }
    })
    .await;
    redis.run().await;
    led(&pods, 0, ELECTED).await;
    stop(pods).await;
}
