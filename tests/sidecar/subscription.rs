//! Both clients that listen, as the product knows them: one suite.

use std::time::Duration;

use prometheus_client::registry::Registry;
use sidecar::bus::{Fred, Heard, Own, Subscription};
use sidecar::redis::{Mode, Redis, Source, Url};
use tests::eventually::{check, eventually};
use tests::lived::timeout;
use tests::redis::RedisServer;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::common::RECOVERY;

/// What a fraction of it is enough for.
const SOON: Duration = Duration::from_secs(60);
const CHANNEL: &str = "hyperpage:test";

/// What a subscription stands on, in this process.
struct Ground {
    redis: Redis,
    stop: CancellationToken,
    supervisor: JoinHandle<()>,
}

impl Ground {
    fn new(url: String) -> Ground {
        let (stop, mut registry) = (CancellationToken::new(), Registry::default());
        let (mode, url) = (Mode::Standalone, Url::Given(url));
        let source = Source { mode, url, password_file: None, ca_file: None, wait_replicas: 0 };
        let (redis, supervisor) = Redis::connect(source, &mut registry, stop.clone());
        Ground { redis, stop, supervisor: tokio::spawn(supervisor) }
    }

    async fn end(self) {
        self.stop.cancel();
        self.supervisor.await.unwrap();
    }
}

fn fred(redis: Redis) -> Fred {
    Fred::new(redis, vec![CHANNEL.to_owned()])
}

fn own(redis: Redis) -> Own {
    Own::new(redis, "hyperpage:any".to_owned(), vec![CHANNEL.to_owned()])
}

/// Listens until this comes; returns the messages before it.
async fn until(subscription: &mut impl Subscription, wanted: &Heard) -> Vec<String> {
    let mut before = Vec::new();
    loop {
        match timeout(SOON, subscription.next()).await {
            Ok(heard) if heard == *wanted => return before,
            Ok(Heard::Message { payload, .. }) => before.push(String::from_utf8(payload).unwrap()),
            Ok(Heard::Subscribed | Heard::Missed | Heard::Lost) => {}
            Err(_) => panic!("no {wanted:?} after {} messages", before.len()),
        }
    }
}

fn message(text: &str) -> Heard {
    Heard::Message { channel: CHANNEL.to_owned(), payload: text.into() }
}

async fn publish(server: &RedisServer, channel: &str, text: &str) {
    server.command::<i64>(&["PUBLISH", channel, text]).await.unwrap();
}

async fn listeners(server: &RedisServer) -> i64 {
    let (_, count): (String, i64) = server.command(&["PUBSUB", "NUMSUB", CHANNEL]).await.unwrap();
    count
}

async fn suite<S: Subscription>(new: impl Fn(Redis) -> S) {
    let mut server = RedisServer::start().await;
    let ground = Ground::new(server.url());
    let mut subscription = new(ground.redis.clone());
    until(&mut subscription, &Heard::Subscribed).await;
    // What is said on its channels, in the order of its saying.
    publish(&server, CHANNEL, "a").await;
    publish(&server, "hyperpage:other", "b").await;
    publish(&server, CHANNEL, "c").await;
    assert_eq!(until(&mut subscription, &message("c")).await, ["a"]);

    // Another connection to the same Redis.
    subscription.renew();
    until(&mut subscription, &Heard::Subscribed).await;
    publish(&server, CHANNEL, "renewed").await;
    until(&mut subscription, &message("renewed")).await;

    // More than anybody keeps who does not look is reported, and what comes then is heard.
    let many = "for i = 1, 10000 do redis.call('PUBLISH', KEYS[1], i) end";
    eventually("a message is missed", SOON, async || {
        // On a busy machine some of it may be lost with its connection.
        server.command::<()>(&["EVAL", many, "1", CHANNEL]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        let heard = timeout(Duration::from_millis(50), subscription.next()).await;
        check(heard == Ok(Heard::Missed), heard)
    })
    .await;
    eventually("it hears again", SOON, async || {
        publish(&server, CHANNEL, "again").await;
        let heard = timeout(RECOVERY, until(&mut subscription, &message("again"))).await;
        check(heard.is_ok(), "not yet")
    })
    .await;

    // Redis goes and comes back.
    server.kill();
    until(&mut subscription, &Heard::Lost).await;
    server.run().await;
    until(&mut subscription, &Heard::Subscribed).await;
    publish(&server, CHANNEL, "back").await;
    until(&mut subscription, &message("back")).await;

    // Nobody listens any more.
    assert_eq!(listeners(&server).await, 1);
    drop(subscription);
    eventually("it has left", SOON, async || {
        let count = listeners(&server).await;
        check(count == 0, count)
    })
    .await;
    ground.end().await;
}

#[tokio::test]
async fn fred_hears_and_says_what_it_missed_and_comes_back_and_leaves() {
    suite(fred).await;
}

#[tokio::test]
async fn redis_hears_and_says_what_it_missed_and_comes_back_and_leaves() {
    suite(own).await;
}

async fn refused<S: Subscription>(new: impl Fn(Redis) -> S) {
    let server = RedisServer::with_password("right").await;
    let ground = Ground::new(format!("redis://:wrong@127.0.0.1:{}", server.port()));
    let mut subscription = new(ground.redis.clone());
    eventually("the reason is told, and what is to be right", SOON, async || {
        let reason = ground.redis.status().reason.unwrap_or_default();
        check(reason.contains("WRONGPASS") && !reason.contains("wrong@"), reason)
    })
    .await;
    // It may say that it has nothing, and no more.
    while let Ok(heard) = timeout(Duration::from_millis(300), subscription.next()).await {
        assert_eq!(heard, Heard::Lost);
    }
    server.command::<()>(&["CONFIG", "SET", "requirepass", "wrong"]).await.unwrap();
    subscription.renew();
    until(&mut subscription, &Heard::Subscribed).await;
    ground.end().await;
}

#[tokio::test]
async fn fred_with_a_wrong_password_hears_nothing_until_it_is_right() {
    refused(fred).await;
}

#[tokio::test]
async fn redis_with_a_wrong_password_hears_nothing_until_it_is_right() {
    refused(own).await;
}
