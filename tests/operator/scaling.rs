//! Who decides the number of pods, and that nobody loses one when the decision changes hands.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tests::eventually::{check, eventually};
use tests::kube::{Scene, owners};
use tests::nodes::Nodes;
use tests::trace::{ReplicaTrace, ensure_no_dip};

use crate::world::{SOON, World, shop, until, until_replicas, with, world};

const REPLICAS: [&str; 2] = ["f:spec", "f:replicas"];

fn autoscaled(min: i32, replicas: i32) -> Value {
    let autoscaling = json!({"minReplicas": min, "maxReplicas": 10, "targetCPUUtilizationPercentage": 70});
    with(shop(), json!({"replicas": replicas, "autoscaling": autoscaling}))
}

fn fixed(replicas: i32) -> Value {
    with(shop(), json!({"replicas": replicas}))
}

/// Until the autoscaler's controller has looked at it once.
async fn until_autoscaled(scene: &Scene, name: &str, min: i32) {
    until(scene, name, "an autoscaler at work", |hpa: &HorizontalPodAutoscaler| {
        let spec = hpa.spec.as_ref().and_then(|spec| spec.min_replicas);
        let seen = hpa.status.as_ref().and_then(|status| status.conditions.as_ref());
        check(spec == Some(min) && seen.is_some(), (spec, seen))
    })
    .await;
}

async fn until_no_autoscaler(scene: &Scene, name: &str) {
    eventually("the autoscaler is gone", SOON, async || {
        let found = scene.api::<HorizontalPodAutoscaler>().get_opt(name).await;
        check(matches!(found, Ok(None)), found.map(|hpa| hpa.is_some()))
    })
    .await;
}

#[tokio::test]
async fn under_an_autoscaler_the_operator_owns_no_replicas() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-owner").await;
    scene.apply("shop", autoscaled(3, 3)).await.unwrap();
    until_autoscaled(&scene, "shop", 3).await;
    let deployment = until_replicas(&scene, "shop", 3).await;
    let managers = owners(&deployment, &REPLICAS);
    assert!(!managers.contains(&"hyperpage-operator".to_owned()), "{managers:?}");
    // Its first write takes the field from whoever had it.
    scene.apply("shop", autoscaled(5, 3)).await.unwrap();
    let managers = owners(&until_replicas(&scene, "shop", 5).await, &REPLICAS);
    assert!(!managers.is_empty(), "nobody owns replicas");
    assert!(managers.iter().all(|it| !it.starts_with("hyperpage-operator")), "{managers:?}");
    // The checker sees an operator where there is one.
    scene.apply("fixed", fixed(2)).await.unwrap();
    let managers = owners(&until_replicas(&scene, "fixed", 2).await, &REPLICAS);
    assert_eq!(managers, ["hyperpage-operator/replicas"]);
}

#[tokio::test]
async fn autoscaling_removed_prunes_the_autoscaler_and_holds_replicas() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-hold").await;
    let _nodes = Nodes::healthy(&scene);
    scene.apply("shop", autoscaled(5, 3)).await.unwrap();
    until_autoscaled(&scene, "shop", 5).await;
    until_replicas(&scene, "shop", 5).await;
    scene.apply("shop", fixed(3)).await.unwrap();
    until_no_autoscaler(&scene, "shop").await;
    eventually("AppReady says what it holds", SOON, async || {
        let message = scene.condition("shop", "AppReady").await?.message;
        anyhow::ensure!(message.contains("held at 5"), "{message}");
        anyhow::Ok(())
    })
    .await;
    until_replicas(&scene, "shop", 5).await;
    scene.apply("shop", fixed(4)).await.unwrap();
    until_replicas(&scene, "shop", 4).await;
}

#[tokio::test]
async fn replicas_never_dip_while_the_decision_changes_hands() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-dip").await;
    scene.apply("shop", fixed(4)).await.unwrap();
    until_replicas(&scene, "shop", 4).await;
    let trace = ReplicaTrace::start(scene.api(), "shop").await.unwrap();
    for _ in 0..2 {
        scene.apply("shop", autoscaled(3, 4)).await.unwrap();
        until_autoscaled(&scene, "shop", 3).await;
        scene.apply("shop", fixed(4)).await.unwrap();
        until_no_autoscaler(&scene, "shop").await;
    }
    scene.apply("shop", fixed(5)).await.unwrap();
    until_replicas(&scene, "shop", 5).await;
    let seen = trace.end().await.unwrap();
    ensure_no_dip(&seen, 4).unwrap();
    assert_eq!(seen.last(), Some(&5), "{seen:?}");
}

/// The obvious way, one manager that leaves `replicas` out once the autoscaler is there, is seen to dip.
#[tokio::test]
async fn a_manager_that_only_drops_replicas_is_caught() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-naive").await;
    let labels = json!({"it": "naive"});
    let deployment = |replicas: Option<i32>| {
        let mut object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "naive"},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "a:1"}]}},
            },
        });
        if let Some(replicas) = replicas {
            object["spec"]["replicas"] = replicas.into();
        }
        object
    };
    let apply = async |replicas| {
        let params = PatchParams::apply("naive").force();
        scene.api::<Deployment>().patch("naive", &params, &Patch::Apply(deployment(replicas))).await.unwrap();
    };
    apply(Some(4)).await;
    let trace = ReplicaTrace::start(scene.api(), "naive").await.unwrap();
    apply(None).await;
    apply(Some(4)).await;
    let seen = trace.end().await.unwrap();
    assert!(ensure_no_dip(&seen, 4).is_err(), "{seen:?}");
}

#[tokio::test]
async fn kubectl_scale_of_the_hyperpage_works() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-scale").await;
    scene.apply("shop", fixed(2)).await.unwrap();
    until_replicas(&scene, "shop", 2).await;
    world.server.kubectl(["scale", "hp/shop", "--replicas=6", "-n", "t-scale"]).unwrap();
    until_replicas(&scene, "shop", 6).await;
    let path = "jsonpath={.status.replicas} {.status.selector}";
    eventually("the scale subresource answers", SOON, async || {
        let scale = ["get", "hp", "shop", "-n", "t-scale", "--subresource=scale", "-o", path];
        let seen = world.server.kubectl(scale)?;
        let labels = "app.kubernetes.io/component=app,app.kubernetes.io/instance=shop";
        anyhow::ensure!(seen == format!("6 {labels}"), "{seen}");
        anyhow::Ok(())
    })
    .await;
}

#[tokio::test]
async fn kubectl_scale_of_the_deployment_is_put_back_and_explained() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-back").await;
    scene.apply("shop", fixed(2)).await.unwrap();
    until_replicas(&scene, "shop", 2).await;
    scale_deployment(&world, &scene).await;
    until_replicas(&scene, "shop", 2).await;
    eventually("an event that names the right command", SOON, async || {
        let events = scene.events("shop").await?;
        anyhow::ensure!(events.iter().any(|line| line.contains("kubectl scale hp/shop")), "{events:?}");
        anyhow::Ok(())
    })
    .await;
}

async fn scale_deployment(world: &World, scene: &Scene) {
    let from = until_replicas(scene, "shop", 2).await.metadata.generation;
    world.server.kubectl(["scale", "deployment/shop", "--replicas=7", "-n", &scene.namespace]).unwrap();
    until(scene, "shop", "somebody scaled it", |deployment: &Deployment| {
        check(deployment.metadata.generation > from, deployment.metadata.generation)
    })
    .await;
}
