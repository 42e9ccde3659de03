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
use tests::cluster::{Cluster, pod_url, service_url};
use tests::eventually::eventually;
use tests::kube::Scene;
use tests::load::Load;

use crate::fleet::{Fleet, Invalidations, every_pod_heard, keys};
use crate::parts::{ROLLED, rolled, script};

/// The operator waits for the kubelets twice.
const ROTATED: Duration = Duration::from_secs(600);
/// Three times what is promised of a leader that crashes: the machine runs a whole cluster beside it.
const FOLLOWED: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_pod_deleted_under_load_is_followed_at_once_under_a_higher_term() {
    let Some(cluster) = Cluster::alone().await else { return };
    let scene = cluster.scene("t-elected").await;
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

/// By Kubernetes, which takes longer than the pods.
async fn until_counted_out(cluster: &Cluster, node: &str) {
    let nodes = Api::<Node>::all(cluster.client.clone());
    eventually(&format!("{node} is not ready"), ROLLED, async || {
        let conditions = nodes.get(node).await?.status.and_then(|status| status.conditions);
        let ready = conditions.into_iter().flatten().find(|it| it.type_ == "Ready");
        ensure!(ready.as_ref().is_some_and(|it| it.status != "True"), "{ready:?}");
        anyhow::Ok(())
    })
    .await;
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
    let pods = fleet.pods().await.unwrap();
    let on = |node: &str| pods.iter().filter(|pod| runs_on(pod, node)).count();
    assert_eq!((on(&lost), on(&kept)), (2, 2), "pods are spread over nodes that name no zone");
    let (leader, term) = led_from(&scene, &fleet, &lost).await;
    let pods = fleet.pods().await.unwrap();
    let witness = pods.iter().find(|pod| runs_on(pod, &kept)).expect("one of two");
    let url = pod_url(witness).unwrap();
    let reader = Load::start(format!("{url}{}", session(&fleet, &url).await), String::new(), 10).unwrap();
    let invalidations = Invalidations::applied(&url, Duration::from_secs(1));

    let began = Instant::now();
    let Some(node) = LostNode::stop() else { return };
    let (next, vacant) = followed(&fleet, witness, &leader.name_any(), term).await;
    println!(
        "node {lost} lost with {}: {next} leads after {:.1?}, {vacant:.1?} of it nobody",
        leader.name_any(),
        began.elapsed()
    );
    assert!(vacant < FOLLOWED, "{vacant:?}");
    eventually("those of the lost node are counted out", ROLLED, async || {
        let known = fleet.known(witness).await?;
        let here = |name: &String| pods.iter().any(|pod| runs_on(pod, &kept) && pod.name_any() == *name);
        ensure!(known.iter().all(here), "{known:?}");
        anyhow::Ok(())
    })
    .await;
    until_counted_out(&cluster, &lost).await;
    drop(node);
    fleet.know_each_other(4).await;
    assert!(fleet.agreed().await.1 > term, "the lost one leads again");
    let (sent, tally) = (invalidations.end().await.unwrap(), reader.end().await.unwrap());
    let heard = every_pod_heard(&fleet, sent.all).await;
    println!("{sent:?}, {} reads, {} bad: {heard:?}", tally.sent, tally.bad.len());
    tally.ensure_clean(50, 9.0).unwrap();
    cluster.leave(scene).await;
}

/// Takes the lead from whoever has it, until it is one on this node.
async fn led_from(scene: &Scene, fleet: &Fleet, node: &str) -> (Pod, u64) {
    loop {
        let (leader, term) = fleet.agreed().await;
        if runs_on(&leader, node) {
            return (leader, term);
        }
        scene.delete::<Pod>(&leader.name_any()).await.unwrap();
        eventually("another one leads, and all are there", ROLLED, async || {
            let (next, _) = fleet.agreed().await;
            ensure!(next.uid() != leader.uid(), "{} leads", next.name_any());
            anyhow::Ok(())
        })
        .await;
        fleet.know_each_other(4).await;
    }
}

/// Path of a new one.
async fn session(fleet: &Fleet, url: &str) -> String {
    let made = fleet.http.post(format!("{url}/v1/sessions")).json(&json!({"of": "everybody"})).send();
    made.await.unwrap().headers()["location"].to_str().unwrap().to_owned()
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
    let url = service_url(&scene, "shop").await.unwrap();
    let messages = Invalidations::messages(&url, Duration::from_millis(250));
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
    let sent = messages.end().await.unwrap().all;
    let after = keys(&scene).await;
    assert!(before.len() == 1 && after.len() == 1 && before != after, "another key");
    assert_eq!(uids().await, pods, "no pod restarts for it");
    let heard = every_pod_heard(&fleet, sent).await;
    let mut rejected = 0.0;
    for pod in fleet.pods().await.unwrap() {
        rejected += fleet.counted(&pod, "hyperpage_bus_rejected_total").await.unwrap();
    }
    println!("rotated in {:.0} s: {sent} messages, {rejected} rejected, {heard:?}", took.as_secs_f64());
    assert!(sent > 500 && rejected == 0.0, "{rejected} of {sent} rejected");
    assert!(heard.values().all(|(_, reported)| *reported == 0), "{heard:?}");
    cluster.leave(scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_to_ten_to_twenty_five_and_back_with_an_invalidation_each_second_leaves_no_unreported_gap() {
    let Some(cluster) = Cluster::alone().await else { return };
    let scene = cluster.scene("t-fleet").await;
    let fleet = Fleet::ready(&scene, 3).await;
    let url = service_url(&scene, "shop").await.unwrap();
    let reader = Load::start(format!("{url}{}", session(&fleet, &url).await), String::new(), 10).unwrap();
    let invalidations = Invalidations::applied(&url, Duration::from_secs(1));
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
    let sent = invalidations.end().await.unwrap();
    let heard = every_pod_heard(&fleet, sent.all).await;
    let tally = reader.end().await.unwrap();
    println!("{sent:?}, {} reads, {} bad: {heard:?}", tally.sent, tally.bad.len());
    tally.ensure_clean(50, 9.0).unwrap();
    assert!(heard.values().all(|(heard, _)| *heard > 10), "{heard:?}");
    cluster.leave(scene).await;
}
