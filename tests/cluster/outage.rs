//! Redis' pod away for half a minute, its memory with it, under load: nobody is logged out, a pod goes on to tell
//! what it holds, and what was acknowledged is there in the end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::{Value, json};
use tests::cluster::{Cluster, done, is_ready, pod_url};
use tests::eventually::eventually;
use tests::kube::Scene;
use tokio::sync::watch;

use crate::parts::{ROLLED, demo_app, ready};
use crate::users::{Kept, Tally, Times, User};

/// They stay with one pod, as with affinity.
const AT_HOME: usize = 9;
/// They are read and written through every pod in turns.
const ROAMING: usize = 3;
const REDIS: &str = "shop-hp-redis-0";
const GONE: Duration = Duration::from_secs(30);
/// Journal, repair window and a busy machine.
const CLEAN: Duration = Duration::from_secs(40);
/// Asks the sidecar beside it how it is: a line of JSON, then metrics.
const ASK: &str = "const ask = async (path) => (await fetch('http://127.0.0.1:4101/' + path)).text();
    (async () => console.log((await ask('readyz')) + '\\n' + (await ask('metrics'))))()";

#[tokio::test(flavor = "multi_thread")]
async fn redis_away_for_thirty_seconds_logs_nobody_out_and_loses_nothing_that_is_not_counted() {
    let Some(cluster) = Cluster::shared().await else { return };
    let scene = cluster.scene("t-outage").await;
    ready(&scene, "shop", demo_app()).await;
    let pods = scene.pods("shop", "app").await.unwrap();
    let urls: Vec<String> = pods.iter().map(|pod| pod_url(pod).unwrap()).collect();
    let (times, (stop, stopped)) = (Arc::new(Times::default()), watch::channel(false));
    let mut users = Vec::new();
    for number in 0..AT_HOME + ROAMING {
        let home = (number < AT_HOME).then_some(number % urls.len());
        let user = User::new(&urls, home, &times).await;
        users.push(tokio::spawn(user.live(stopped.clone())));
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    without_redis(&scene, &times).await;
    let mut reported = Reported::default();
    for pod in &pods {
        let Reported { dropped, forked } = settled(&cluster, &scene, &pod.name_any()).await;
        reported.dropped += dropped;
        reported.forked += forked;
    }
    stop.send_replace(true);
    let (mut tally, mut lost) = (Tally::default(), Vec::new());
    for user in users {
        let (missing, met) = user.await.unwrap().end().await;
        lost.extend(missing);
        tally.add(met);
    }
    judge(&tally, &lost, reported);
    done(scene).await;
}

/// What the sidecars say that they could not keep.
#[derive(Debug, Clone, Copy, Default)]
struct Reported {
    /// Of the journal.
    dropped: usize,
    /// Of what Redis had acknowledged and lost: others had written instead, or there was no room.
    forked: usize,
}

fn judge(tally: &Tally, lost: &[Kept], reported: Reported) {
    let lost = |of: Kept| lost.iter().filter(|kept| **kept == of).count();
    let (by_redis, by_journal) = (lost(Kept::Redis), lost(Kept::Journal));
    let Tally { reads, writes, acknowledged, held, unheld, broken, recovered } = tally;
    println!("reads {reads:?}, writes {writes:?}");
    println!(
        "{held} stale reads of what a pod held, {unheld} refused of what it did not, {} of what it did",
        broken.len()
    );
    println!(
        "{acknowledged} acknowledged; lost {by_journal} of the journal's, {by_redis} of Redis'; {reported:?}"
    );
    println!(
        "fresh again {:?} to {:?} after Redis was ready",
        recovered.iter().min(),
        recovered.iter().max()
    );
    let is = |ending: &str, known: &[&str]| known.iter().any(|known| ending.starts_with(known));
    assert!(reads.keys().all(|ending| is(ending, &["200", "503"])), "{reads:?}");
    assert!(writes.keys().all(|ending| is(ending, &["200", "202", "503"])), "{writes:?}");
    assert!(writes.contains_key("202"), "nothing was journaled: there was no outage");
    assert!(*held > 100 && *unheld > 0, "{held} reads of what a pod held, {unheld} of what it did not");
    assert!(broken.is_empty(), "refused by a pod that held the session: {broken:#?}");
    assert!(by_journal <= reported.dropped && by_redis <= reported.forked, "lost, and nobody says so");
    assert_eq!(recovered.len(), AT_HOME + ROAMING, "somebody reads nothing but stale sessions");
}

/// The operator looks away, and Redis is gone until it looks again.
async fn without_redis(scene: &Scene, times: &Times) {
    let paused = |value: Value| json!({"metadata": {"annotations": {"hyperpage.dev/reconcile": value}}});
    let patch = async |value| {
        let patch = kube::api::Patch::Merge(paused(value));
        scene.hyperpages().patch("shop", &Default::default(), &patch).await.unwrap();
    };
    patch(json!("disabled")).await;
    let none = json!({"spec": {"replicas": 0}});
    scene.merge::<StatefulSet>("shop-hp-redis", none).await.unwrap();
    eventually("Redis' pod is gone", ROLLED, async || {
        let left = scene.api::<Pod>().get_opt(REDIS).await?;
        anyhow::ensure!(left.is_none(), "it is there");
        anyhow::Ok(())
    })
    .await;
    let gone = Instant::now();
    tokio::time::sleep(GONE).await;
    times.back.set(Instant::now()).unwrap();
    patch(Value::Null).await;
    eventually("Redis' pod is ready", ROLLED, async || {
        let pod = scene.api::<Pod>().get_opt(REDIS).await?;
        anyhow::ensure!(pod.as_ref().is_some_and(is_ready), "{:?}", pod.map(|pod| pod.status));
        anyhow::Ok(())
    })
    .await;
    times.ready.set(Instant::now()).unwrap();
    println!("Redis was away for {:.1} s", gone.elapsed().as_secs_f32());
}

/// Waits until the pod has brought to Redis what it had to.
async fn settled(cluster: &Cluster, scene: &Scene, pod: &str) -> Reported {
    let ask = ["exec", "-n", &scene.namespace, pod, "-c", "app", "--", "node", "-e", ASK];
    eventually(&format!("{pod} owes nothing to Redis"), CLEAN, async || {
        let said = cluster.kubectl(ask)?;
        let (ready, metrics) = said.split_once('\n').context("one line, and metrics")?;
        let said: Value = serde_json::from_str(ready)?;
        let (state, journal) = (&said["sessions"]["state"], &said["sessions"]["journal"]);
        anyhow::ensure!(state == "healthy" && journal["entries"] == 0, "{said}");
        let dropped = journal["dropped"].as_object().into_iter().flat_map(|all| all.values());
        let dropped: u64 = dropped.filter_map(Value::as_u64).sum();
        let total = |name: &str| {
            let count = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("_total "));
            anyhow::Ok(count.context("a metric of that name")?.parse::<usize>()?)
        };
        let forked = total("sessions_forked")? + total("sessions_ring_forgotten")?;
        anyhow::Ok(Reported { dropped: usize::try_from(dropped)?, forked })
    })
    .await
}
