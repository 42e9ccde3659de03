//! Pods that have a leader and talk, while pods come and go and the key that they talk with is replaced.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::ensure;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::json;
use tests::binaries::workspace;
use tests::cluster::{Cluster, service_url};
use tests::eventually::eventually;
use tests::load::Load;

use crate::fleet::{Fleet, Messages, every_pod_heard, keys};
use crate::parts::{ROLLED, rolled, script};

/// The operator waits for the kubelets twice.
const ROTATED: Duration = Duration::from_secs(600);
/// As promised of a leader that crashes; a machine that runs a whole cluster gets as much again.
const FOLLOWED: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_pod_deleted_under_load_is_followed_at_once_under_a_higher_term() {
    let Some(cluster) = Cluster::alone().await else { return };
    let scene = cluster.scene("t-leader").await;
    let fleet = Fleet::ready(&scene, 3).await;
    let url = format!("{}/v1/leader", service_url(&scene, "shop").await.unwrap());
    let load = Load::start(url, String::new(), 50).unwrap();
    leader_deleted(&cluster, &fleet, "--grace-period=30").await;
    let tally = load.end().await.unwrap();
    println!("{} requests meanwhile, {} bad", tally.sent, tally.bad.len());
    tally.ensure_clean(100, 45.0).unwrap();
    // At once, which no request to it survives.
    leader_deleted(&cluster, &fleet, "--force").await;
    cluster.leave(scene).await;
}

async fn leader_deleted(cluster: &Cluster, fleet: &Fleet, how: &str) {
    let (leader, term) = fleet.agreed().await;
    let (name, namespace) = (leader.name_any(), leader.namespace().unwrap_or_default());
    let pods = fleet.pods().await.unwrap();
    let witness = pods.iter().find(|pod| pod.uid() != leader.uid()).expect("two more");
    cluster.kubectl(["delete", "pod", &name, "-n", &namespace, "--wait=false", how]).unwrap();
    let (next, vacant) = followed(fleet, witness, &name, term).await;
    println!("{name} deleted with {how}: {next} follows after {vacant:.1?} without a leader");
    assert!(vacant < FOLLOWED, "{vacant:?}");
    fleet.know_each_other(3).await;
}

/// Nobody hears it until this is dropped.
struct LostNode;

impl LostNode {
    /// None where nodes are not ours to stop.
    fn stop() -> Option<Self> {
        node("stop").then_some(Self)
    }
}

impl Drop for LostNode {
    fn drop(&mut self) {
        node("start");
    }
}

/// The second one, as both kinds of cluster number them.
fn node(act: &str) -> bool {
    let script = workspace().join("tests/cluster/node.sh");
    let done = Command::new(script).args([act, "2"]).status().expect("node.sh runs");
    done.success()
}

/// The second node, and another that pods may run on.
async fn nodes(cluster: &Cluster) -> [String; 2] {
    let nodes = Api::<Node>::all(cluster.client.clone()).list(&ListParams::default()).await.unwrap();
    let open = |node: &Node| node.spec.as_ref().is_none_or(|spec| spec.taints.iter().flatten().count() == 0);
    let names = nodes.items.iter().filter(|node| open(node)).map(ResourceExt::name_any);
    let (second, others): (Vec<_>, Vec<_>) = names.partition(|name| name.ends_with('2'));
    [second[0].clone(), others[0].clone()]
}

fn runs_on(pod: &Pod, node: &str) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_on_a_lost_node_is_followed_by_one_that_redis_hears() {
    let Some(cluster) = Cluster::alone().await else { return };
    let scene = cluster.scene("t-node-lost").await;
    let [lost, kept] = nodes(&cluster).await;
    let mut app = script(include_str!("coordinated.js"));
    app["redis"]["podTemplate"] = json!({"spec": {"nodeSelector": {"kubernetes.io/hostname": kept}}});
    let fleet = Fleet::of(&scene, app, 4).await;
    let (leader, term) = loop {
        let (leader, term) = fleet.agreed().await;
        if runs_on(&leader, &lost) {
            break (leader, term);
        }
        scene.delete::<Pod>(&leader.name_any()).await.unwrap();
        eventually("another one leads", ROLLED, async || {
            let (next, _) = fleet.agreed().await;
            ensure!(next.uid() != leader.uid(), "{} leads", next.name_any());
            anyhow::Ok(())
        })
        .await;
    };
    let pods = fleet.pods().await.unwrap();
    let witness = pods.iter().find(|pod| runs_on(pod, &kept)).expect("pods are spread");
    let began = Instant::now();
    let Some(node) = LostNode::stop() else { return };
    let (next, vacant) = followed(&fleet, witness, &leader.name_any(), term).await;
    let took = began.elapsed();
    println!(
        "node {lost} lost with {}: {next} leads after {took:.1?}, {vacant:.1?} of it nobody",
        leader.name_any()
    );
    assert!(vacant < FOLLOWED, "{vacant:?}");
    drop(node);
    fleet.know_each_other(4).await;
    assert!(fleet.agreed().await.1 > term, "the lost one leads again");
    cluster.leave(scene).await;
}

/// As one of the others sees it: who leads next, and for how long nobody did.
async fn followed(fleet: &Fleet, witness: &Pod, left: &str, term: u64) -> (String, Duration) {
    let mut last = Instant::now();
    eventually("another one leads", ROLLED, async || {
        let asked = Instant::now();
        let now = fleet.leader(witness).await?;
        let led = now.leader_id.filter(|id| id != left || now.term == term);
        match led {
            Some(id) if id == left => {
                last = asked;
                anyhow::bail!("{left} still leads")
            }
            Some(id) => {
                ensure!(now.term > term, "{id} leads under {} after {term}", now.term);
                anyhow::Ok((id, last.elapsed()))
            }
            None => anyhow::bail!("nobody leads"),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_bus_key_rejects_no_message_and_restarts_no_pod() {
    let Some(cluster) = Cluster::shared().await else { return };
    let scene = cluster.scene("t-rotated").await;
    let fleet = Fleet::ready(&scene, 3).await;
    let uids = async || fleet.pods().await.unwrap().iter().map(ResourceExt::uid).collect::<BTreeSet<_>>();
    let (before, pods) = (keys(&scene).await, uids().await);
    let messages = Messages::start(&service_url(&scene, "shop").await.unwrap(), Duration::from_millis(250));
    let began = Instant::now();
    let annotate =
        Patch::Merge(json!({"metadata": {"annotations": {"hyperpage.dev/rotate-bus-key": "now"}}}));
    scene.hyperpages().patch("shop", &PatchParams::default(), &annotate).await.unwrap();
    eventually("the key is another one", ROTATED, async || {
        let key = scene.hyperpages().get("shop").await?.data["status"]["sidecar"]["busKey"].clone();
        ensure!(key["rotated"] == "now", "{key}");
        anyhow::Ok(())
    })
    .await;
    let took = began.elapsed();
    // The last sidecar hears of it when its kubelet next looks.
    tokio::time::sleep(Duration::from_secs(100)).await;
    let sent = messages.end().await.unwrap();
    let after = keys(&scene).await;
    assert!(before.len() == 1 && after.len() == 1 && before != after, "another key");
    assert_eq!(uids().await, pods, "no pod restarts for it");
    let heard = every_pod_heard(&fleet, sent.len() as u64).await;
    let mut rejected = 0.0;
    for pod in fleet.pods().await.unwrap() {
        rejected += fleet.counted(&pod, "hyperpage_bus_rejected_total").await.unwrap();
    }
    println!(
        "rotated in {:.0} s: {} messages, {rejected} rejected, {heard:?}",
        took.as_secs_f64(),
        sent.len()
    );
    assert!(sent.len() > 500 && rejected == 0.0, "{rejected} of {} rejected", sent.len());
    assert!(heard.values().all(|(_, reported)| *reported == 0), "{heard:?}");
    cluster.leave(scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_to_ten_to_twenty_five_and_back_with_an_invalidation_each_second_leaves_no_unreported_gap() {
    let Some(cluster) = Cluster::alone().await else { return };
    let scene = cluster.scene("t-fleet").await;
    let fleet = Fleet::ready(&scene, 3).await;
    let url = service_url(&scene, "shop").await.unwrap();
    let made =
        fleet.http.post(format!("{url}/v1/sessions")).json(&json!({"of": "everybody"})).send().await.unwrap();
    let session = made.headers()["location"].to_str().unwrap().to_owned();
    let reader = Load::start(format!("{url}{session}"), String::new(), 10).unwrap();
    let messages = Messages::start(&url, Duration::from_secs(1));
    for replicas in [10, 25, 3] {
        let flag = format!("--replicas={replicas}");
        cluster.kubectl(["scale", "hp/shop", &flag, "-n", "t-fleet"]).unwrap();
        let began = Instant::now();
        fleet.know_each_other(replicas).await;
        println!("{replicas} pods know each other after {:.0} s", began.elapsed().as_secs_f64());
        rolled(&cluster, &scene, "shop").await;
        if replicas == 25 {
            // Most of them will not be there to be asked at the end.
            every_pod_heard(&fleet, 1).await;
        }
    }
    let sent = messages.end().await.unwrap();
    let heard = every_pod_heard(&fleet, sent.len() as u64).await;
    let tally = reader.end().await.unwrap();
    println!("{} invalidations, {} reads, {} bad: {heard:?}", sent.len(), tally.sent, tally.bad.len());
    tally.ensure_clean(50, 9.0).unwrap();
    assert!(heard.values().all(|(heard, _)| *heard > 10), "{heard:?}");
    cluster.leave(scene).await;
}
