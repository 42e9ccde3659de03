//! A node is emptied for its own upgrade, then the other.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use serde_json::json;
use tests::cluster::{Cluster, is_ready, service_url};
use tests::eventually::eventually;
use tests::kube::Scene;
use tests::load::Load;
use tokio::sync::watch;

use crate::parts::{Kept, ROLLED, demo_app, ready, with};

const REPLICAS: usize = 4;

async fn ready_pods(scene: &Scene) -> anyhow::Result<usize> {
    Ok(scene.pods("shop", "app").await?.iter().filter(|pod| is_ready(pod)).count())
}

/// The fewest pods that were ever ready until it is told to stop, looked at ten times a second.
async fn fewest(scene: Scene, mut stop: watch::Receiver<bool>) -> anyhow::Result<(usize, usize)> {
    let (mut least, mut looks) = (usize::MAX, 0);
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            _ = stop.changed() => return Ok((least, looks)),
            _ = pace.tick() => {}
        }
        least = least.min(ready_pods(&scene).await?);
        looks += 1;
    }
}

async fn drain(cluster: &Cluster, scene: &Scene, node: &str) {
    let empty = ["drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=150s"];
    let said = cluster.kubectl(empty);
    let left = scene.api::<Pod>().list(&ListParams::default().fields(&format!("spec.nodeName={node}"))).await;
    cluster.kubectl(["uncordon", node]).unwrap();
    said.unwrap();
    let left: Vec<_> = left.unwrap().iter().map(ResourceExt::name_any).collect();
    assert!(left.is_empty(), "{node} is drained and runs {left:?}");
    eventually("every pod is ready again", ROLLED, async || {
        let ready = ready_pods(scene).await?;
        anyhow::ensure!(ready == REPLICAS, "{ready}");
        anyhow::Ok(())
    })
    .await;
    scene.wait("shop", "Ready", "True", ROLLED).await;
}

/// Requests that need no Redis: without storage of its own it moves like any pod, and sessions with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_of_each_node_completes_keeps_the_budget_and_loses_no_request() {
    let Some(cluster) = Cluster::alone().await else { return };
    let scene = cluster.scene("t-drain").await;
    ready(&scene, "shop", with(demo_app(), "replicas", json!(REPLICAS))).await;
    let kept = Kept::of(&scene, "shop").await;
    let url = format!("{}/healthz", service_url(&scene, "shop").await.unwrap());
    let load = Load::start(url, String::new(), 50).unwrap();
    let (stop, stopped) = watch::channel(false);
    let watcher = tokio::spawn(fewest(scene.clone(), stopped));
    let nodes = Api::<Node>::all(cluster.client.clone()).list(&ListParams::default()).await.unwrap();
    assert!(nodes.items.len() > 1, "one node cannot be drained");
    for node in nodes.iter().map(ResourceExt::name_any) {
        drain(&cluster, &scene, &node).await;
    }
    stop.send_replace(true);
    let (least, looks) = watcher.await.unwrap().unwrap();
    let tally = load.end().await.unwrap();
    println!(
        "{} nodes drained in {:.0} s: never less than {least} of {REPLICAS} pods ready, {} requests, {} bad",
        nodes.items.len(),
        tally.elapsed.as_secs_f64(),
        tally.sent,
        tally.bad.len()
    );
    assert!(looks > 50 && least >= REPLICAS - 1, "{least} pods ready at one of {looks} looks");
    tally.ensure_clean(500, 45.0).unwrap();
    kept.check(&scene, "shop").await;
    cluster.leave(scene).await;
}
