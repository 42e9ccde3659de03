//! More pods and fewer, by the HPA and by a person, and what a visitor notices of it: nothing.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use serde_json::json;
use tests::cluster::{Cluster, pod_url, service_url};
use tests::eventually::eventually;
use tests::kube::{Scene, owners};
use tests::load::Load;

use crate::parts::{Kept, ROLLED, Visitor, demo_app, ready, rolled, script};

/// Replicas of the Deployment, and who owns them.
async fn decided(scene: &Scene) -> anyhow::Result<(i32, Vec<String>)> {
    let deployment = scene.api::<Deployment>().get("shop").await?;
    let owners = owners(&deployment, &["f:spec", "f:replicas"]);
    Ok((deployment.spec.and_then(|spec| spec.replicas).unwrap_or_default(), owners))
}

/// Keeps every app pod busy for the next seconds.
async fn burn(scene: &Scene, http: &reqwest::Client) -> anyhow::Result<()> {
    for pod in scene.pods("shop", "app").await? {
        if let Ok(url) = pod_url(&pod) {
            // A pod that has just begun does not listen yet.
            let _ = http.get(format!("{url}/burn/3000")).send().await;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_autoscaler_scales_under_load_and_back_and_alone_owns_replicas() {
    let Some(cluster) = Cluster::alone().await else { return };
    let scene = cluster.scene("t-hpa").await;
    let quick = json!({"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": 10, "periodSeconds": 5}]});
    let mut spec = script(include_str!("burn.js"));
    spec["app"]["resources"] =
        json!({"requests": {"cpu": "60m", "memory": "48Mi"}, "limits": {"cpu": "120m", "memory": "192Mi"}});
    spec["autoscaling"] = json!({
        "minReplicas": 3, "maxReplicas": 6, "targetCPUUtilizationPercentage": 60,
        "behavior": {"scaleUp": quick, "scaleDown": quick},
    });
    ready(&scene, "shop", spec).await;
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build().unwrap();
    let up = eventually("more pods under load", ROLLED, async || {
        burn(&scene, &http).await?;
        let (replicas, owners) = decided(&scene).await?;
        anyhow::ensure!(replicas > 3, "{replicas} replicas by {owners:?}");
        anyhow::Ok((replicas, owners))
    })
    .await;
    let down = eventually("three again at rest", ROLLED, async || {
        let (replicas, owners) = decided(&scene).await?;
        anyhow::ensure!(owners.iter().all(|it| !it.starts_with("hyperpage-operator")), "{owners:?}");
        anyhow::ensure!(replicas == 3, "{replicas} replicas");
        anyhow::Ok((replicas, owners))
    })
    .await;
    println!("HPA: 3 to {} and back to {}, by {:?}", up.0, down.0, down.1);
    for (_, owners) in [up, down] {
        assert!(
            !owners.is_empty() && owners.iter().all(|it| !it.starts_with("hyperpage-operator")),
            "{owners:?}"
        );
    }
    cluster.leave(scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_scale_to_twenty_five_and_back_is_not_seen_by_a_reader() {
    let Some(cluster) = Cluster::alone().await else { return };
    let scene = cluster.scene("t-many").await;
    ready(&scene, "shop", demo_app()).await;
    let kept = Kept::of(&scene, "shop").await;
    let mut visitor = Visitor::of(&scene, "shop").await.unwrap();
    let session = visitor.visit().await.unwrap().session_id;
    let url = service_url(&scene, "shop").await.unwrap();
    let reader =
        Load::start(format!("{url}/api/sessions?sessionId={session}"), visitor.cookie(), 10).unwrap();
    for replicas in ["5", "10", "25", "3"] {
        let flag = format!("--replicas={replicas}");
        cluster.kubectl(["scale", "hp/shop", &flag, "-n", "t-many"]).unwrap();
        eventually(&format!("{replicas} pods"), ROLLED, async || {
            let app = scene.hyperpages().get("shop").await?.data["status"]["app"].clone();
            anyhow::ensure!(app == format!("{replicas}/{replicas}"), "{app}");
            anyhow::Ok(())
        })
        .await;
        rolled(&cluster, &scene, "shop").await;
    }
    let tally = reader.end().await.unwrap();
    println!(
        "3 to 5 to 10 to 25 to 3: {} reads in {:.0} s, {} bad",
        tally.sent,
        tally.elapsed.as_secs_f64(),
        tally.bad.len()
    );
    tally.ensure_clean(50, 9.0).unwrap();
    kept.check(&scene, "shop").await;
    cluster.leave(scene).await;
}
