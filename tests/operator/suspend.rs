//! No pods for a while, and then as many as before.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use serde_json::{Value, json};
use tests::eventually::{check, eventually};
use tests::kube::Scene;
use tests::nodes::Nodes;
use tests::trace::{ReplicaTrace, ensure_no_dip};

use crate::scaling::{
    autoscaled, fixed, until_autoscaled, until_no_autoscaler, until_no_pod_was_ever_wanted,
};
use crate::world::{SOON, until, until_replicas, with, world};

fn suspended(base: Value) -> Value {
    with(base, json!({"suspend": true}))
}

async fn until_event(scene: &Scene, words: &str) {
    eventually(words, SOON, async || {
        let events = scene.events("shop").await?;
        anyhow::ensure!(events.iter().any(|line| line.contains(words)), "{events:?}");
        anyhow::Ok(())
    })
    .await;
}

#[tokio::test]
async fn suspended_under_an_autoscaler_it_is_ready_with_no_pods_and_resumes_with_as_many_as_before() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-suspend").await;
    let _nodes = Nodes::healthy(&scene);
    scene.apply("shop", autoscaled(6, 3)).await.unwrap();
    until_replicas(&scene, "shop", 6).await;
    // More than the least from now on: nothing but a resume would bring back all six.
    scene.apply("shop", autoscaled(3, 3)).await.unwrap();
    until_autoscaled(&scene, "shop", 3).await;
    let trace = ReplicaTrace::start(scene.api(), "shop").await.unwrap();
    scene.apply("shop", suspended(autoscaled(3, 3))).await.unwrap();
    until_replicas(&scene, "shop", 0).await;
    let ready = scene.wait("shop", "Ready", "True", SOON).await;
    assert_eq!(ready.reason, "Suspended", "{}", ready.message);
    for part in ["AppReady", "AutoscalingReady"] {
        assert_eq!(scene.condition("shop", part).await.unwrap().reason, "Suspended", "{part}");
    }
    let (hpa, redis) = (scene.api::<HorizontalPodAutoscaler>(), scene.api::<StatefulSet>());
    assert!(hpa.get_opt("shop").await.unwrap().is_some(), "the autoscaler stays");
    let redis = redis.get("shop-hp-redis").await.unwrap();
    assert_eq!(redis.spec.unwrap().replicas, Some(1), "Redis stays");
    scene.apply("shop", autoscaled(3, 3)).await.unwrap();
    until_replicas(&scene, "shop", 6).await;
    assert_eq!(trace.end().await.unwrap(), [6, 0, 6]);
    until_event(&scene, "went from 6 pods to none").await;
    until_event(&scene, "starts 6 pods").await;
}

#[tokio::test]
async fn a_hyperpage_created_suspended_never_starts_a_pod() {
    let Some(world) = world().await else { return };
    for (namespace, spec, later) in [("t-asleep", fixed(2), 2), ("t-asleep-auto", autoscaled(4, 2), 4)] {
        let scene = world.scene(namespace).await;
        let _nodes = Nodes::healthy(&scene);
        scene.apply("shop", suspended(spec.clone())).await.unwrap();
        let ready = scene.wait("shop", "Ready", "True", SOON).await;
        assert_eq!(ready.reason, "Suspended", "{}", ready.message);
        until_no_pod_was_ever_wanted(&scene).await;
        if later == 4 {
            until_autoscaled(&scene, "shop", 4).await;
        }
        // Nor does another change start one.
        let debug = with(suspended(spec.clone()), json!({"sidecar": {"logLevel": "debug"}}));
        scene.apply("shop", debug).await.unwrap();
        until(&scene, "shop", "the change", |deployment: &Deployment| {
            let spec = serde_json::to_string(&deployment.spec).unwrap();
            check(spec.contains("debug") && spec.contains("\"replicas\":0"), spec)
        })
        .await;
        scene.apply("shop", spec).await.unwrap();
        until_replicas(&scene, "shop", later).await;
    }
}

#[tokio::test]
async fn a_suspended_deployment_that_somebody_scales_is_put_back_and_explained() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-suspend-scale").await;
    scene.apply("shop", fixed(4)).await.unwrap();
    until_replicas(&scene, "shop", 4).await;
    scene.apply("shop", suspended(fixed(4))).await.unwrap();
    until_replicas(&scene, "shop", 0).await;
    world.server.kubectl(["scale", "deployment/shop", "--replicas=2", "-n", "t-suspend-scale"]).unwrap();
    until_event(&scene, "set spec.suspend to false").await;
    until_replicas(&scene, "shop", 0).await;
    // What is asked for meanwhile counts when it is resumed.
    world.server.kubectl(["scale", "hp/shop", "--replicas=5", "-n", "t-suspend-scale"]).unwrap();
    scene.apply("shop", fixed(5)).await.unwrap();
    until_replicas(&scene, "shop", 5).await;
}

/// Manual, autoscaled, manual again, with a suspension in each: but for those, never fewer pods than before.
#[tokio::test]
async fn replicas_never_dip_through_hand_overs_and_suspensions() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-suspend-dip").await;
    scene.apply("shop", fixed(4)).await.unwrap();
    until_replicas(&scene, "shop", 4).await;
    let trace = ReplicaTrace::start(scene.api(), "shop").await.unwrap();
    let (least, most) = (4, 6);
    for (asleep, awake, then) in [
        (suspended(fixed(4)), fixed(4), least),
        (suspended(autoscaled(3, 4)), autoscaled(3, 4), least),
        // The autoscaler goes while nothing runs.
        (suspended(autoscaled(6, 4)), fixed(4), least),
        // One comes while nothing runs.
        (suspended(fixed(4)), autoscaled(6, 4), most),
        // What it decided is held through a suspension.
        (suspended(fixed(4)), fixed(4), most),
    ] {
        scene.apply("shop", asleep.clone()).await.unwrap();
        until_replicas(&scene, "shop", 0).await;
        if asleep.get("autoscaling").is_none() {
            until_no_autoscaler(&scene, "shop").await;
        }
        scene.apply("shop", awake).await.unwrap();
        until_replicas(&scene, "shop", then).await;
    }
    scene.apply("shop", fixed(7)).await.unwrap();
    until_replicas(&scene, "shop", 7).await;
    let seen = trace.end().await.unwrap();
    let awake: Vec<_> = seen.iter().copied().filter(|pods| *pods != 0).collect();
    ensure_no_dip(&awake, 4).unwrap();
    assert_eq!(seen.iter().filter(|pods| **pods == 0).count(), 5, "one zero for each suspension: {seen:?}");
    let held = seen.iter().position(|pods| *pods == most).unwrap();
    let held: Vec<_> = seen[held..].iter().copied().filter(|pods| *pods != 0).collect();
    ensure_no_dip(&held, most).unwrap();
}
