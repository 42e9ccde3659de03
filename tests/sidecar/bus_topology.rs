//! Messages through every kind of Redis, heard by both clients.

use std::time::Duration;

use serde_json::json;
use tests::events::Events;
use tests::eventually::{check, eventually};
use tests::redis::{RedisCluster, RedisServer, Sentinels, free_port};
use tests::scratch::Scratch;
use tests::sidecar::{Settings, Sidecar};
use tests::tls::Authority;

use crate::bus::{hear, listen, pod, say};
use crate::bus_faults::{insist, reach, told};
use crate::common::RECOVERY;
use crate::leader::{ELECTED, led};
use crate::metrics::total;

/// A pod for each client.
async fn one_of_each(settings: &Settings) -> [Sidecar; 2] {
    let start = async |subscriber: &str| {
        let settings = settings.clone().env("POD_NAME", format!("by-{subscriber}"));
        let sidecar = Sidecar::start(&settings.env("HYPERPAGE_BUS_SUBSCRIBER", subscriber)).await;
        eventually("it is subscribed", RECOVERY, async || {
            let count = total(&sidecar, "hyperpage_bus_subscriptions_total").await;
            check(count >= 1.0, sidecar.logs())
        })
        .await;
        sidecar
    };
    [start("fred").await, start("redis").await]
}

async fn both_hear(sidecars: &[Sidecar; 2]) -> [Events; 2] {
    let mut events = [listen(&sidecars[0]).await, listen(&sidecars[1]).await];
    for n in 0..20 {
        insist(&sidecars[n % 2], &n.to_string()).await;
        for events in &mut events {
            let event = hear(events).await;
            assert_eq!((event.name.as_str(), &event.json()["payload"]), ("message", &json!(n.to_string())));
        }
    }
    for sidecar in sidecars {
        assert!(!sidecar.logs().contains("nothing is heard"), "{}", sidecar.logs());
    }
    events
}

#[tokio::test]
async fn pods_of_a_cluster_hear_each_other() {
    let cluster = RedisCluster::start().await;
    let sidecars = one_of_each(&Settings::cluster(&cluster)).await;
    both_hear(&sidecars).await;
    for sidecar in sidecars {
        sidecar.stop().await;
    }
}

#[tokio::test]
async fn pods_behind_sentinels_hear_each_other_before_and_after_a_failover() {
    let mut group = Sentinels::start().await;
    let sidecars = one_of_each(&Settings::sentinels(&group)).await;
    let mut events = both_hear(&sidecars).await;
    group.data[0].kill();
    let message = json!({ "type": "broadcast", "payload": "after" });
    // Sentinels that find their clock to have jumped do nothing for half a minute (TILT).
    eventually("another master takes messages", Duration::from_secs(60), async || {
        let answer = sidecars[0].app.post("/v1/messages", &message).await;
        check(answer.status == 202, answer)
    })
    .await;
    for events in &mut events {
        reach(&sidecars[0], events, "reached").await;
    }
    both_hear_at_once(&sidecars, &mut events).await;
    for sidecar in sidecars {
        sidecar.stop().await;
    }
}

/// What is said is heard at once: whoever fetches has it a quarter of a second later.
async fn both_hear_at_once(sidecars: &[Sidecar; 2], events: &mut [Events; 2]) {
    eventually("both hear at once", Duration::from_secs(10), async || {
        let start = std::time::Instant::now();
        for n in 0..10 {
            insist(&sidecars[n % 2], &format!("later {n}")).await;
            for events in events.iter_mut() {
                told(events, &format!("later {n}")).await;
            }
        }
        check(start.elapsed() < Duration::from_millis(1_500), start.elapsed())
    })
    .await;
}

#[tokio::test]
async fn pods_hear_each_other_through_tls_and_with_a_password() {
    let authority = Authority::new();
    let port = free_port();
    let options = authority.redis_options(port, "127.0.0.1");
    let options =
        ["--save", "", "--requirepass", "pass word"].into_iter().chain(options.iter().map(String::as_str));
    let _redis = RedisServer::with(&options.collect::<Vec<_>>()).await;
    let dir = Scratch::new("tls");
    let file = |name: &str, text: &str| dir.write(name, text).to_str().unwrap().to_owned();
    let settings = Settings::redis(format!("rediss://127.0.0.1:{port}"))
        .env("HYPERPAGE_REDIS_CA_FILE", file("ca.crt", &authority.certificate()))
        .env("HYPERPAGE_REDIS_PASSWORD_FILE", file("password", "pass word\n"));
    let sidecars = one_of_each(&settings).await;
    both_hear(&sidecars).await;
    for sidecar in sidecars {
        assert!(!sidecar.logs().contains("pass word"), "{}", sidecar.logs());
        sidecar.stop().await;
    }
}

#[tokio::test]
async fn apps_with_prefixes_of_their_own_share_a_redis_and_neither_leader_nor_messages_nor_pods() {
    let redis = RedisServer::start().await;
    let start = async |name: &str| {
        let settings = pod(&redis, name).env("POD_CHANNEL_PREFIX", format!("hyperpage:demo:{name}"));
        Sidecar::start(&settings).await
    };
    let apps = [start("shop").await, start("blog").await];
    let mut events = [listen(&apps[0]).await, listen(&apps[1]).await];
    for (app, name) in apps.iter().zip(["shop", "blog"]) {
        led(std::slice::from_ref(app), 0, ELECTED).await;
        let pods = app.app.get("/v1/pods").await.expect(200).json();
        let pods = pods["pods"].as_array().expect("a list");
        assert_eq!((pods.len(), &pods[0]["pod"]), (1, &json!(name)), "{pods:?}");
        insist(app, name).await;
    }
    for (events, name) in events.iter_mut().zip(["shop", "blog"]) {
        assert_eq!(hear(events).await.json()["payload"], name, "what is heard first is its own");
    }
    for app in apps {
        assert!(total(&app, "hyperpage_bus_rejected_total").await == 0.0);
        app.stop().await;
    }
}

/// It is an old one, or hides behind a proxy of its time: fred begins anew in its words.
#[tokio::test]
async fn a_redis_that_does_not_speak_resp3_is_heard_all_the_same() {
    let redis = RedisServer::with(&["--save", "", "--rename-command", "HELLO", ""]).await;
    let [one, other] = [pod(&redis, "pod-a"), pod(&redis, "pod-b")];
    let sidecars = [Sidecar::start(&one).await, Sidecar::start(&other).await];
    let within = Duration::from_secs(60);
    for sidecar in &sidecars {
        eventually("it is subscribed", within, async || {
            let count = total(sidecar, "hyperpage_bus_subscriptions_total").await;
            check(count >= 1.0, count)
        })
        .await;
    }
    let mut events = listen(&sidecars[0]).await;
    let sent = say(&sidecars[1], json!(1)).await;
    assert_eq!(hear(&mut events).await.json()["id"], sent["id"]);
    // What the original's pods say is in no stream that it could be fetched from.
    let theirs = r#"{"id":"theirs","type":"broadcast","payload":1,"timestamp":5,"sourcePod":"old"}"#;
    redis.command::<i64>(&["PUBLISH", "hyperpage:coord:all", theirs]).await.unwrap();
    assert_eq!(hear(&mut events).await.json()["id"], "theirs");
    assert_eq!(total(&sidecars[0], "hyperpage_bus_gaps_total").await, 0.0);
    for sidecar in sidecars {
        sidecar.stop().await;
    }
}
