//! Autoscalers that the operator did not make.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::api::PostParams;
use serde_json::{Value, json};
use tests::eventually::{check, eventually};
use tests::kube::{Scene, owners};
use tests::nodes::Nodes;

use crate::scaling::{REPLICAS, autoscaled, fixed};
use crate::world::{SOON, until, until_replicas, with, world};

/// An autoscaler of the team's own. Without metrics it raises to its least.
async fn create_autoscaler(scene: &Scene, target: Value, least: i32) {
    let cpu = json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}});
    let theirs = json!({
        "metadata": {"name": "theirs"},
        "spec": {"scaleTargetRef": target, "minReplicas": least, "maxReplicas": 8, "metrics": [cpu]},
    });
    let theirs = serde_json::from_value(theirs).unwrap();
    scene.api::<HorizontalPodAutoscaler>().create(&PostParams::default(), &theirs).await.unwrap();
}

fn deployment() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"})
}

async fn until_debug(scene: &Scene) -> Deployment {
    until(scene, "shop", "the change", |deployment: &Deployment| {
        let spec = serde_json::to_string(&deployment.spec).unwrap();
        if spec.contains("debug") { Ok(deployment.clone()) } else { Err(spec) }
    })
    .await
}

#[tokio::test]
async fn a_foreign_autoscaler_is_named_and_left_alone_until_it_goes() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-foreign").await;
    let _nodes = Nodes::healthy(&scene);
    scene.apply("shop", fixed(3)).await.unwrap();
    until_replicas(&scene, "shop", 3).await;
    create_autoscaler(&scene, deployment(), 5).await;
    let stalled = scene.wait("shop", "Stalled", "True", SOON).await;
    assert_eq!(stalled.reason, "ForeignAutoscaler", "{}", stalled.message);
    for words in ["HorizontalPodAutoscaler theirs", "kind: Hyperpage, name: shop", "spec.autoscaling"] {
        assert!(stalled.message.contains(words), "{words}: {}", stalled.message);
    }
    until_replicas(&scene, "shop", 5).await;
    // All else is applied; the number of pods is not ours.
    let debug = json!({"sidecar": {"logLevel": "debug"}});
    scene.apply("shop", with(fixed(4), debug.clone())).await.unwrap();
    let changed = until_debug(&scene).await;
    scene.wait("shop", "Stalled", "True", SOON).await;
    assert_eq!(owners(&changed, &REPLICAS), ["kube-controller-manager"]);
    until_replicas(&scene, "shop", 5).await;

    // It leaves a Deployment of zero alone, and is left alone again after a resume.
    scene.apply("shop", with(fixed(4), json!({"suspend": true}))).await.unwrap();
    until_replicas(&scene, "shop", 0).await;
    let stalled = scene.wait("shop", "Stalled", "True", SOON).await;
    assert!(stalled.message.contains("but for the zero of spec.suspend"), "{}", stalled.message);
    scene.apply("shop", fixed(4)).await.unwrap();
    until_replicas(&scene, "shop", 5).await;

    scene.delete::<HorizontalPodAutoscaler>("theirs").await.unwrap();
    scene.wait("shop", "Stalled", "False", SOON).await;
    eventually("what it left is held", SOON, async || {
        let message = scene.condition("shop", "AppReady").await?.message;
        anyhow::ensure!(message.contains("held at 5"), "{message}");
        anyhow::Ok(())
    })
    .await;
    until_replicas(&scene, "shop", 5).await;
    let events = scene.events("shop").await.unwrap();
    assert!(!events.iter().any(|line| line.contains("ScaledBack")), "{events:#?}");
    scene.apply("shop", fixed(6)).await.unwrap();
    until_replicas(&scene, "shop", 6).await;
}

#[tokio::test]
async fn a_foreign_autoscaler_beside_our_own_is_named() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-two-autoscalers").await;
    create_autoscaler(&scene, deployment(), 5).await;
    scene.apply("shop", autoscaled(2, 3)).await.unwrap();
    let stalled = scene.wait("shop", "Stalled", "True", SOON).await;
    assert_eq!(stalled.reason, "ForeignAutoscaler", "{}", stalled.message);
    assert!(stalled.message.contains("remove it"), "{}", stalled.message);
    scene.delete::<HorizontalPodAutoscaler>("theirs").await.unwrap();
    scene.wait("shop", "Stalled", "False", SOON).await;
}

#[tokio::test]
async fn an_autoscaler_that_targets_the_hyperpage_works() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-target").await;
    let _nodes = Nodes::healthy(&scene);
    scene.apply("shop", fixed(3)).await.unwrap();
    until_replicas(&scene, "shop", 3).await;
    let target = json!({"apiVersion": "hyperpage.dev/v1alpha1", "kind": "Hyperpage", "name": "shop"});
    create_autoscaler(&scene, target, 6).await;
    until_replicas(&scene, "shop", 6).await;
    let object = scene.hyperpages().get("shop").await.unwrap();
    assert_eq!(object.data["spec"]["replicas"], 6);
    scene.wait("shop", "Ready", "True", SOON).await;
    let managers = owners(&until_replicas(&scene, "shop", 6).await, &REPLICAS);
    assert_eq!(managers, ["hyperpage-operator/replicas"]);
    until(&scene, "theirs", "able to scale", |hpa: &HorizontalPodAutoscaler| {
        let all = hpa.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
        check(all.iter().any(|it| it.type_ == "AbleToScale" && it.status == "True"), all)
    })
    .await;
}

#[tokio::test]
async fn kubectl_scale_of_an_autoscaled_hyperpage_is_said_to_be_unused() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-unused").await;
    scene.apply("shop", autoscaled(2, 3)).await.unwrap();
    until_replicas(&scene, "shop", 2).await;
    world.server.kubectl(["scale", "hp/shop", "--replicas=9", "-n", "t-unused"]).unwrap();
    eventually("AutoscalingReady says so", SOON, async || {
        let message = scene.condition("shop", "AutoscalingReady").await?.message;
        anyhow::ensure!(message.ends_with("; spec.replicas (9) is not used"), "{message}");
        anyhow::Ok(())
    })
    .await;
    until_replicas(&scene, "shop", 2).await;
}
