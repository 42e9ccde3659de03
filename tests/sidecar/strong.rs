//! `X-Consistency: strong`: replicas confirm, or the answer says that they did not.

use std::time::Duration;

use tests::eventually::{check, eventually};
use tests::http::{Answer, Request};
use tests::proxy::{Mode, Proxy};
use tests::redis::{RedisCluster, RedisServer, Sentinels};
use tests::sidecar::{Settings, Sidecar};

use crate::common::{RECOVERY, new_session, new_v1, pair};
use crate::metrics::total;

/// For replicas, and failovers, on a busy machine.
const PATIENT: Duration = Duration::from_secs(20);

pub(crate) async fn with_replicas(count: usize) -> (RedisServer, Vec<RedisServer>) {
    let master = RedisServer::with(&["--save", "", "--repl-diskless-sync-delay", "0"]).await;
    let port = master.port().to_string();
    let mut replicas = Vec::new();
    for _ in 0..count {
        replicas.push(RedisServer::with(&["--save", "", "--replicaof", "127.0.0.1", &port]).await);
    }
    eventually("the replicas are there", PATIENT, async || master.followed(count).await).await;
    (master, replicas)
}

fn strong(request: Request) -> Request {
    request.header("x-consistency", "strong")
}

/// One strong write of each kind to a new session; the status that each has when it is confirmed.
async fn each_kind(sidecar: &Sidecar) -> Vec<(u16, Answer)> {
    let (id, _) = new_v1(sidecar, "{}").await;
    let path = format!("/v1/sessions/{id}");
    let mut answers = Vec::new();
    for (status, request) in [
        (201, Request::new("POST", "/v1/sessions").json("{}")),
        (200, Request::new("PUT", &path).json(r#"{"n":1}"#)),
        (200, Request::new("PATCH", &path).json(r#"{"n":2}"#)),
        (200, Request::new("PATCH", &path).json(r#"{"lastActivity":1}"#)),
        (204, Request::new("POST", format!("{path}/touch"))),
        (204, Request::new("DELETE", &path)),
    ] {
        answers.push((status, sidecar.app.send(strong(request)).await));
    }
    sidecar.app.get(&path).await.expect(404);
    answers
}

#[tokio::test]
async fn strong_with_a_paused_replica_is_202_and_not_an_error_and_not_a_lie() {
    let (master, replicas) = with_replicas(2).await;
    let settings = Settings::redis(master.url()).env("HYPERPAGE_REDIS_WAIT_REPLICAS", "1");
    let sidecar = Sidecar::start(&settings).await;
    confirmed(&sidecar).await;
    // One of two is enough.
    replicas[0].hang();
    confirmed(&sidecar).await;
    replicas[1].hang();
    each_kind(&sidecar).await.iter().for_each(|(_, answer)| assert_unconfirmed(answer));
    // Who does not wait for replicas does not wait for those who do.
    let (id, _) = new_v1(&sidecar, "{}").await;
    let path = format!("/v1/sessions/{id}");
    let waiting = async {
        let writes = (0..4).map(|n| {
            sidecar.app.send(strong(Request::new("POST", "/v1/sessions").json(format!("{{\"n\":{n}}}"))))
        });
        futures::future::join_all(writes).await
    };
    let going_on = async {
        for n in 0..3 {
            sidecar.app.patch(&path, format!(r#"{{"n":{n}}}"#)).await.expect(200);
            sidecar.app.get(&path).await.expect(200);
        }
    };
    tokio::select! {
        biased;
        () = going_on => {}
        answers = waiting => panic!("what needs no replica has waited for {answers:?}"),
    }
    assert!(total(&sidecar, "redis_confirmed_total").await >= 7.0);
    assert!(total(&sidecar, "redis_unconfirmed_total").await >= 6.0);
    replicas.iter().for_each(RedisServer::resume);
    confirmed(&sidecar).await;
    sidecar.stop().await;
}

#[track_caller]
fn assert_unconfirmed(answer: &Answer) {
    assert_eq!((answer.status, answer.header("x-hyperpage-durability")), (202, Some("redis")), "{answer:?}");
    assert_eq!(answer.header("warning"), Some(r#"199 - "applied, not confirmed by 1 replica""#));
}

fn is_replicated(answer: &Answer) -> bool {
    (answer.status, answer.header("x-hyperpage-durability")) == (200, Some("replicated"))
}

/// Every kind of write is. Replicas on a busy machine may take longer than a strong write waits.
async fn confirmed(sidecar: &Sidecar) {
    eventually("replicas confirm every kind of write", PATIENT, async || {
        let answers = each_kind(sidecar).await;
        let confirmed = |(status, answer): &(u16, Answer)| {
            let durability = answer.header("x-hyperpage-durability");
            assert!(durability == Some("replicated") || answer.status == 202, "{answer:?}");
            answer.status == *status && answer.header("warning").is_none()
        };
        check(answers.iter().all(confirmed), answers)
    })
    .await;
}

/// The confirmation is of the write, and not of the attempt that only found it done.
#[tokio::test]
async fn a_strong_write_whose_answer_is_lost_is_confirmed_all_the_same() {
    let (master, replicas) = with_replicas(1).await;
    let proxy = Proxy::start(master.port()).await;
    let settings = Settings::redis(proxy.url()).env("HYPERPAGE_REDIS_WAIT_REPLICAS", "1");
    let sidecar = Sidecar::start(&settings).await;
    let (id, _) = new_v1(&sidecar, "{}").await;
    let patch = strong(Request::new("PATCH", format!("/v1/sessions/{id}")).json(r#"{"n":1}"#));
    for paused in [false, true] {
        let before = master.session(&id).await;
        if paused {
            replicas[0].hang();
        }
        proxy.set(Mode::Mute("}:m"));
        let heal = async {
            eventually("Redis has executed it", RECOVERY, async || {
                let now = master.session(&id).await;
                check(now != before, now)
            })
            .await;
            proxy.set(Mode::Pass);
        };
        let (answer, ()) = tokio::join!(sidecar.app.send(patch.clone()), heal);
        match (answer.status, answer.header("x-hyperpage-durability")) {
            (202, Some("redis")) => {}
            (200, Some("replicated")) => assert!(!paused, "{answer:?}"),
            _ => panic!("{answer:?}"),
        }
        sidecar.serving(RECOVERY).await;
    }
    replicas[0].resume();
    sidecar.stop().await;
}

#[tokio::test]
async fn strong_without_replicas_to_wait_for_is_200_and_says_redis() {
    let (_redis, sidecar) = pair().await;
    for (status, answer) in each_kind(&sidecar).await {
        assert_eq!((answer.status, answer.header("x-hyperpage-durability")), (status, Some("redis")));
    }
    let weak = Request::new("POST", "/v1/sessions").json("{}").header("x-consistency", "weak");
    assert_eq!(sidecar.app.send(weak).await.expect(400).code(), "INVALID_SESSION_REQUEST");
    sidecar.stop().await;
}

/// Each shard has a replica of its own, and the others' say nothing about it.
#[tokio::test]
async fn strong_on_a_cluster_is_confirmed_by_the_replica_of_the_sessions_own_shard() {
    let (cluster, sidecar, sessions) = replicated_cluster().await;
    let write = async |id: &String| {
        sidecar.app.send(strong(Request::new("PATCH", format!("/v1/sessions/{id}")).json(r#"{"n":1}"#))).await
    };
    let replicated = async |ids: &[String]| {
        for id in ids {
            eventually("the shard's replica confirms", PATIENT, async || {
                let answer = write(id).await;
                if !is_replicated(&answer) {
                    assert_unconfirmed(&answer);
                }
                check(is_replicated(&answer), answer)
            })
            .await;
        }
    };
    replicated(&sessions).await;
    confirmed(&sidecar).await;
    for (shard, replica) in cluster.replicas.iter().enumerate() {
        replica.hang();
        for _ in 0..3 {
            assert_unconfirmed(&write(&sessions[shard]).await);
        }
        replicated(&sessions[shard + 1..]).await;
        replica.resume();
        replicated(&sessions[shard..=shard]).await;
    }
    confirmed(&sidecar).await;
    sidecar.stop().await;
}

/// Of three masters with a replica each that is waited for, and a session on each of them, in their order.
pub(crate) async fn replicated_cluster() -> (RedisCluster, Sidecar, Vec<String>) {
    let cluster = RedisCluster::with_replicas(1).await;
    let settings = Settings::cluster(&cluster).env("HYPERPAGE_REDIS_WAIT_REPLICAS", "1");
    let sidecar = Sidecar::start(&settings).await;
    let mut sessions = [None, None, None];
    // Hundreds would all have to miss one shard of three.
    for _ in 0..300 {
        let id = new_session(&sidecar).await;
        let shard = cluster.shard(&format!("hyperpage:session:{id}")).await;
        sessions[shard].get_or_insert(id);
        if sessions.iter().all(Option::is_some) {
            break;
        }
    }
    let sessions = sessions.into_iter().flatten().collect();
    (cluster, sidecar, sessions)
}

/// Where there are sentinels a replica is waited for, whatever is set.
#[tokio::test]
async fn strong_with_sentinels_is_202_while_replicas_are_paused_and_replicated_again_after_a_failover() {
    let mut group = Sentinels::start().await;
    let sidecar = Sidecar::start(&Settings::sentinels(&group)).await;
    let (id, _) = new_v1(&sidecar, "{}").await;
    confirmed(&sidecar).await;
    group.data[1..].iter().for_each(RedisServer::hang);
    each_kind(&sidecar).await.iter().for_each(|(_, answer)| assert_unconfirmed(answer));
    group.data[1..].iter().for_each(RedisServer::resume);
    confirmed(&sidecar).await;
    eventually("both replicas are back", PATIENT, async || group.data[0].followed(2).await).await;
    group.data[0].kill();
    let patch = strong(Request::new("PATCH", format!("/v1/sessions/{id}")).json(r#"{"after":1}"#));
    eventually("a replica of the new master confirms", PATIENT, async || {
        let answer = sidecar.app.send(patch.clone()).await;
        check(is_replicated(&answer), answer)
    })
    .await;
    confirmed(&sidecar).await;
    // What was confirmed is on both that are left.
    for server in &group.data[1..] {
        assert!(server.session(&id).await.unwrap_or_default().contains(r#""after":1"#));
    }
    sidecar.stop().await;
}
