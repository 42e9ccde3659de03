//! The leader dies, leaves, sleeps; Redis restarts, forgets, hangs, fails over: there is one leader, and soon.

use std::time::{Duration, Instant};

use futures::StreamExt;
use serde_json::{Value, json};
use tests::eventually::{check, eventually};
use tests::lived::{Lived, timeout};
use tests::redis::{RedisCluster, RedisServer, Sentinels};
use tests::sidecar::{Settings, Sidecar};
use tokio::task::JoinSet;

use crate::common::{PROMPT, RECOVERY};
use crate::leader::{ELECTED, led, mirror, pods, stop};
use crate::metrics::total;

/// Promised on a machine of one's own; printed here, where others build and test beside.
const PROMISED: Duration = Duration::from_secs(1);

/// Looks at each often: how long until one says that it leads with a higher term.
async fn next_leader(pods: &[Sidecar], before: u64) -> (usize, u64, Duration) {
    let start = Lived::now();
    loop {
        for (number, pod) in pods.iter().enumerate() {
            let told = pod.app.get("/v1/leader").await.expect(200).json();
            let term = told["term"].as_u64().unwrap();
            if told["isLeader"] == true && term > before {
                return (number, term, start.elapsed());
            }
        }
        assert!(start.elapsed() < ELECTED, "nobody leads");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_leader_that_is_killed_has_a_successor_within_a_second() {
    let redis = RedisServer::start().await;
    let settings = Settings::redis(redis.url());
    let mut pods = pods(&settings).await;
    let (mut leader, mut term) = led(&pods, 0, ELECTED).await;
    let mut gaps = Vec::new();
    for round in 0..5 {
        pods.remove(leader).kill();
        let (_, next, gap) = next_leader(&pods, term).await;
        gaps.push(gap.as_millis());
        pods.push(Sidecar::start(&settings.clone().env("POD_NAME", format!("again-{round}"))).await);
        (leader, term) = led(&pods, term, ELECTED).await;
        assert_eq!(term, next, "nobody else led meanwhile");
    }
    gaps.sort_unstable();
    println!("killed leaders had a successor after {gaps:?} ms");
    assert!(gaps[gaps.len() / 2] < 2 * PROMISED.as_millis(), "{gaps:?}");
    stop(pods).await;
}

#[tokio::test]
async fn a_leader_that_stops_hands_over_at_once() {
    let redis = RedisServer::start().await;
    let settings = Settings::redis(redis.url());
    let mut pods = pods(&settings).await;
    let (leader, term) = led(&pods, 0, ELECTED).await;
    let old = pods.remove(leader);
    old.terminate();
    let (_, next, gap) = next_leader(&pods, term).await;
    println!("a leader that stopped had a successor after {} ms", gap.as_millis());
    // Without its word they would watch for longer.
    assert!(gap < Duration::from_millis(600), "{gap:?}");
    assert!(next > term);
    assert_eq!(old.exit(RECOVERY).await, 0, "{}", old.logs());
    assert!(old.logs().contains(&format!("is leader no longer (term {term}): resigned")), "{}", old.logs());
    stop(pods).await;
}

#[tokio::test]
async fn a_leader_that_slept_beyond_its_lease_acts_no_more() {
    let redis = RedisServer::start().await;
    let pods = pods(&Settings::redis(redis.url())).await;
    let (leader, mut term) = led(&pods, 0, ELECTED).await;
    let mut sleeper = leader;
    for _ in 0..2 {
        let others: Vec<_> = (0..3).filter(|pod| *pod != sleeper).collect();
        pods[sleeper].pause();
        let start = Lived::now();
        let next = eventually("another leads", ELECTED, async || {
            for pod in &others {
                let told = pods[*pod].app.get("/v1/leader").await.expect(200).json();
                if told["isLeader"] == true && told["term"].as_u64().unwrap() > term {
                    return Ok((*pod, told["term"].as_u64().unwrap()));
                }
            }
            Err("nobody")
        })
        .await;
        println!("a leader that sleeps is replaced after {} ms", start.elapsed().as_millis());
        pods[sleeper].resume();
        // From its very first word on.
        for _ in 0..50 {
            let told = pods[sleeper].app.get("/v1/leader").await.expect(200).json();
            assert_eq!(told["isLeader"], false, "{told}");
        }
        let (now_leads, now) = led(&pods, term, ELECTED).await;
        assert_eq!((now_leads, now), next, "the sleeper changes nothing");
        (sleeper, term) = next;
    }
    stop(pods).await;
}

#[tokio::test]
async fn a_redis_that_forgets_restarts_or_hangs_has_one_leader_again_of_a_higher_term() {
    let mut redis = RedisServer::start().await;
    let pods = pods(&Settings::redis(redis.url())).await;
    let (_, mut term) = led(&pods, 0, ELECTED).await;
    for fault in
        ["flushed", "restarted empty", "hung for two seconds", "the lease overwritten", "of another type"]
    {
        let start = Lived::now();
        match fault {
            "flushed" => redis.command::<()>(&["FLUSHALL"]).await.unwrap(),
            "restarted empty" => redis.restart_empty().await,
            "the lease overwritten" => {
                redis.command::<()>(&["SET", "{hyperpage:coord}:lease", "garbage"]).await.unwrap();
            }
            "of another type" => {
                redis.command::<()>(&["DEL", "{hyperpage:coord}:lease"]).await.unwrap();
                redis.command::<()>(&["LPUSH", "{hyperpage:coord}:lease", "garbage"]).await.unwrap();
            }
            _ => {
                redis.hang();
                tokio::time::sleep(Duration::from_secs(2)).await;
                redis.resume();
            }
        }
        let least = if fault.starts_with("hung") { term - 1 } else { term };
        (_, term) = led(&pods, least, ELECTED).await;
        println!("{fault}: all know one leader after {} ms", start.elapsed().as_millis());
    }
    stop(pods).await;
}

#[tokio::test]
async fn a_failover_has_one_leader_again_soon_after_it_is_writable() {
    let mut group = Sentinels::start().await;
    let pods = pods(&Settings::sentinels(&group)).await;
    let (_, term) = led(&pods, 0, ELECTED).await;
    group.data[0].kill();
    let start = Lived::now();
    let writable = eventually("a replica is promoted and writable", 2 * ELECTED, async || {
        for node in &group.data[1..] {
            if node.command::<()>(&["SET", "probe", "2"]).await.is_ok() {
                return Ok(start.elapsed());
            }
        }
        Err("none")
    })
    .await;
    // By then what the old leader held is over; it may go on, on the new master.
    let promoted = Lived::now();
    eventually("somebody leads", ELECTED, async || {
        let mut leaders = Vec::new();
        for pod in &pods {
            leaders.push(pod.app.get("/v1/leader").await.expect(200).json()["isLeader"].clone());
        }
        check(leaders.contains(&true.into()), leaders)
    })
    .await;
    let after = promoted.elapsed();
    println!(
        "failed over: writable after {} ms, led again {} ms later",
        writable.as_millis(),
        after.as_millis()
    );
    assert!(after < Duration::from_secs(5), "{after:?}");
    led(&pods, term - 1, ELECTED).await;
    stop(pods).await;
}

/// Lease, fence and messages lie on one node; the mirror on another, perhaps.
#[tokio::test]
async fn a_cluster_has_one_leader_and_when_its_node_restarts_empty_one_again() {
    let mut cluster = RedisCluster::start().await;
    let pods = pods(&Settings::cluster(&cluster)).await;
    let (_, term) = led(&pods, 0, ELECTED).await;
    let shard = cluster.shard("{hyperpage:coord}:lease").await;
    let lease: String = cluster.nodes[shard].command(&["GET", "{hyperpage:coord}:lease"]).await.unwrap();
    assert!(lease.contains(&term.to_string()), "{lease}");
    let mirrored = cluster.shard("hyperpage:leader").await;
    eventually("the mirror is there", PROMPT, async || mirror(&cluster.nodes[mirrored]).await.ok_or("none"))
        .await;
    let start = Lived::now();
    cluster.nodes[shard].command::<()>(&["FLUSHALL"]).await.unwrap();
    let (_, next) = led(&pods, term, ELECTED).await;
    println!("a node of a cluster flushed: all know one leader after {} ms", start.elapsed().as_millis());
    cluster.nodes[shard].restart().await;
    led(&pods, next, 2 * ELECTED).await;
    stop(pods).await;
}

#[tokio::test]
async fn the_originals_times_mean_the_relaxed_profile_and_a_warning() {
    let redis = RedisServer::start().await;
    let settings = Settings::redis(redis.url());
    let settings = settings.env("LEADER_ELECTION_TIMEOUT", "3000").env("LEADER_HEARTBEAT_INTERVAL", "1000");
    let start = Lived::now();
    let mut pods = pods(&settings).await;
    let (leader, term) = led(&pods, 0, ELECTED).await;
    assert!(start.elapsed() > Duration::from_secs(3), "a lease that is not there is watched as long as any");
    assert!(pods[0].logs().contains("make fail-over slow"), "{}", pods[0].logs());
    // Told, it need not be watched.
    let old = pods.remove(leader);
    old.terminate();
    let (_, _, gap) = next_leader(&pods, term).await;
    assert!(gap < Duration::from_millis(2_500), "{gap:?}");
    stop(pods).await;
}

#[tokio::test]
async fn requests_in_any_number_cost_the_leader_no_lease() {
    let redis = RedisServer::start().await;
    let pods = pods(&Settings::redis(redis.url())).await;
    let (leader, term) = led(&pods, 0, ELECTED).await;
    let failed = total(&pods[leader], "leader_renewals_failed_total").await;
    let mut clients = JoinSet::new();
    let end = Instant::now() + Duration::from_secs(3);
    for _ in 0..64 {
        let app = pods[leader].app.clone();
        clients.spawn(async move {
            let mut count = 0u32;
            while Instant::now() < end {
                let status = app.get("/v1/sessions/x").await.status;
                assert!([404, 503].contains(&status), "{status}");
                count += 1;
            }
            count
        });
    }
    let count: u32 = clients.join_all().await.into_iter().sum();
    let failed = total(&pods[leader], "leader_renewals_failed_total").await - failed;
    println!("{count} requests in 3 s beside the election: {failed} renewals failed");
    assert_eq!(led(&pods, 0, PROMPT).await, (leader, term));
    assert_eq!(total(&pods[leader], "leader_elections_total").await, 1.0);
    stop(pods).await;
}

/// As contract and code of the original have it: `SET NX EX 40`, then `SET EX 40` without a look, at each heartbeat.
#[tokio::test]
async fn a_coordinator_of_the_original_changes_nothing_but_a_metric() {
    let redis = RedisServer::start().await;
    let pods = pods(&Settings::redis(redis.url())).await;
    let (leader, term) = led(&pods, 0, ELECTED).await;
    let own = eventually("the mirror is there", PROMPT, async || mirror(&redis).await.ok_or("none")).await;
    assert!(
        own["lastHeartbeat"].as_u64() > own["renewedAt"].as_u64(),
        "in the future: nobody holds elections"
    );
    let record =
        json!({ "leaderId": "ts-x1", "term": 1, "lastHeartbeat": 1_795_198_630_924_u64, "status": "active" });
    let record = record.to_string();
    for round in 0..3 {
        let set = ["SET", "hyperpage:leader", &record, "EX", "40", "NX"];
        let won: Option<String> = redis.command(&set).await.unwrap();
        assert_eq!(won, None, "it is a follower, as long as the key is there");
        redis.command::<()>(&set[..5]).await.unwrap();
        eventually("the mirror is ours again", RECOVERY, async || {
            let mirror = mirror(&redis).await;
            check(mirror.as_ref().is_some_and(|mirror| mirror["term"] == term), mirror)
        })
        .await;
        let foreign = total(&pods[leader], "leader_foreign_mirrors_total").await;
        assert!(foreign > f64::from(round), "{foreign}");
    }
    assert_eq!(led(&pods, 0, PROMPT).await, (leader, term));
    let said: usize = pods.iter().map(|pod| pod.logs().matches("somebody else writes").count()).sum();
    assert_eq!(said, 1, "once a minute");
    stop(pods).await;
}

#[tokio::test]
async fn who_becomes_the_leader_is_announced_on_the_elections_channel() {
    let redis = RedisServer::start().await;
    #[expect(clippy::disallowed_methods, reason = "a stranger who listens")]
    let client = ::redis::Client::open(redis.url()).unwrap();
    let mut pubsub = client.get_async_pubsub().await.unwrap();
    pubsub.subscribe("shop:election").await.unwrap();
    let pods = pods(&Settings::redis(redis.url()).env("POD_CHANNEL_PREFIX", "shop")).await;
    let (_, term) = led(&pods, 0, ELECTED).await;
    let mut messages = pubsub.on_message();
    let next = timeout(RECOVERY, messages.next()).await.expect("in time").expect("a message");
    let told: Value = serde_json::from_slice(next.get_payload_bytes()).unwrap();
    assert_eq!((&told["term"], &told["newLeader"]), (&Value::from(term), &told["leaderId"]), "{told}");
    assert_eq!(told["status"], "active");
    let again = tokio::time::timeout(Duration::from_millis(1_500), messages.next()).await;
    assert!(again.is_err(), "once for each term");
    stop(pods).await;
}
