//! Who decides the number of pods, and that nobody loses one when the decision changes hands.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Service;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tests::eventually::{check, eventually};
use tests::kube::{Scene, owners};
use tests::nodes::Nodes;
use tests::trace::{ReplicaTrace, ensure_no_dip};

use crate::world::{SOON, World, shop, until, until_replicas, with, world};

pub(crate) const REPLICAS: [&str; 2] = ["f:spec", "f:replicas"];

pub(crate) fn autoscaled(min: i32, replicas: i32) -> Value {
    let autoscaling = json!({"minReplicas": min, "maxReplicas": 10, "targetCPUUtilizationPercentage": 70});
    with(shop(), json!({"replicas": replicas, "autoscaling": autoscaling}))
}

pub(crate) fn fixed(replicas: i32) -> Value {
    with(shop(), json!({"replicas": replicas}))
}

/// Until the autoscaler's controller has looked at it once.
pub(crate) async fn until_autoscaled(scene: &Scene, name: &str, min: i32) {
    until(scene, name, "an autoscaler at work", |hpa: &HorizontalPodAutoscaler| {
        let spec = hpa.spec.as_ref().and_then(|spec| spec.min_replicas);
        let seen = hpa.status.as_ref().and_then(|status| status.conditions.as_ref());
        check(spec == Some(min) && seen.is_some(), (spec, seen))
    })
    .await;
}

pub(crate) async fn until_no_autoscaler(scene: &Scene, name: &str) {
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

/// Without the label no watch shows the Deployment any more: it must not be taken for a new one.
#[tokio::test]
async fn a_deployment_that_lost_its_label_keeps_its_pods_and_gets_it_back() {
    const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
    let Some(world) = world().await else { return };
    let scene = world.scene("t-unlabelled").await;
    scene.apply("shop", autoscaled(5, 3)).await.unwrap();
    until_replicas(&scene, "shop", 5).await;
    scene.apply("shop", autoscaled(3, 3)).await.unwrap();
    until_autoscaled(&scene, "shop", 3).await;
    let trace = ReplicaTrace::start(scene.api(), "shop").await.unwrap();
    let unlabel = json!({"metadata": {"labels": {MANAGED_BY: null}}});
    let unlabelled: Deployment = scene.merge("shop", unlabel).await.unwrap();
    assert!(!unlabelled.metadata.labels.is_some_and(|labels| labels.contains_key(MANAGED_BY)));
    until(&scene, "shop", "the label", |deployment: &Deployment| {
        let labels = deployment.metadata.labels.clone().unwrap_or_default();
        check(labels.contains_key(MANAGED_BY), labels)
    })
    .await;
    // A later change is made by a later reconcile: the one that saw no Deployment is over.
    let debug = json!({"sidecar": {"logLevel": "debug"}});
    scene.apply("shop", with(autoscaled(3, 3), debug)).await.unwrap();
    until(&scene, "shop", "the later change", |deployment: &Deployment| {
        let spec = serde_json::to_string(&deployment.spec).unwrap();
        check(spec.contains("debug"), spec)
    })
    .await;
    let seen = trace.end().await.unwrap();
    ensure_no_dip(&seen, 5).unwrap();
}

#[tokio::test]
async fn a_hyperpage_made_with_no_pods_starts_none_and_scales_up() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-zero").await;
    scene.apply("shop", fixed(0)).await.unwrap();
    until_settled_managers(&scene, 0).await;
    until_no_pod_was_ever_wanted(&scene).await;
    world.server.kubectl(["scale", "hp/shop", "--replicas=3", "-n", "t-zero"]).unwrap();
    until_replicas(&scene, "shop", 3).await;
    until_settled_managers(&scene, 3).await;
}

pub(crate) async fn until_no_pod_was_ever_wanted(scene: &Scene) {
    eventually("one ReplicaSet, which never wanted a pod", SOON, async || {
        let sets = scene.api::<ReplicaSet>().list(&ListParams::default()).await?.items;
        let seen: Vec<_> = sets
            .iter()
            .map(|set| (set.metadata.generation, set.spec.as_ref().and_then(|spec| spec.replicas)))
            .collect();
        anyhow::ensure!(seen == [(Some(1), Some(0))], "{seen:?}");
        anyhow::Ok(())
    })
    .await;
}

/// What the operator leaves when the API server fails it between the two writes that make such a Deployment:
/// the manager of replicas owns all, and the operator's own nothing.
#[tokio::test]
async fn a_hyperpage_half_made_with_no_pods_is_completed() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-half").await;
    // Under a stranger's Service nothing is written.
    let service = json!({"metadata": {"name": "shop"}, "spec": {"ports": [{"port": 80}]}});
    let service = serde_json::from_value(service).unwrap();
    scene.api::<Service>().create(&PostParams::default(), &service).await.unwrap();
    let uid = scene.apply("shop", fixed(0)).await.unwrap().metadata.uid;
    scene.wait("shop", "Stalled", "True", SOON).await;
    let labels = json!({"app.kubernetes.io/instance": "shop", "app.kubernetes.io/component": "app"});
    let half = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "shop", "ownerReferences": [{
            "apiVersion": "hyperpage.dev/v1alpha1", "kind": "Hyperpage", "name": "shop", "uid": uid,
            "controller": true, "blockOwnerDeletion": true,
        }]},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "app", "image": "registry.test/shop:1"}]},
        }},
    });
    let params = PatchParams::apply("hyperpage-operator/replicas");
    scene.api::<Deployment>().patch("shop", &params, &Patch::Apply(half)).await.unwrap();
    scene.delete::<Service>("shop").await.unwrap();
    scene.apply("shop", with(fixed(0), json!({"sidecar": {"logLevel": "debug"}}))).await.unwrap();
    until_settled_managers(&scene, 0).await;
    world.server.kubectl(["scale", "hp/shop", "--replicas=3", "-n", "t-half"]).unwrap();
    until_replicas(&scene, "shop", 3).await;
    until_settled_managers(&scene, 3).await;
}

/// Each of the operator's two managers owns its part of the Deployment, and no more.
async fn until_settled_managers(scene: &Scene, replicas: i32) {
    until(scene, "shop", "two managers", |deployment: &Deployment| {
        let seen = deployment.spec.as_ref().and_then(|spec| spec.replicas);
        let of = |path: &[&str]| owners(deployment, path);
        let owners = (of(&["f:spec", "f:template"]), of(&REPLICAS), seen);
        let each = |name: &str| vec![name.to_owned()];
        let want = (each("hyperpage-operator"), each("hyperpage-operator/replicas"), Some(replicas));
        check(owners == want, owners)
    })
    .await;
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
