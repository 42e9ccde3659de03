//! A Hyperpage that its user wants left alone.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use serde_json::{Value, json};
use tests::audit::{Entry, unquiet};
use tests::eventually::{check, eventually};
use tests::installation::OPERATOR;
use tests::nodes::Nodes;

use crate::world::{SOON, asked_for, shop, until, until_replicas, with, world};

#[tokio::test]
async fn a_paused_hyperpage_is_left_alone_until_the_annotation_goes() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-paused").await;
    let _nodes = Nodes::healthy(&scene);
    scene.apply("shop", shop()).await.unwrap();
    scene.wait("shop", "Ready", "True", SOON).await;
    let disabled = json!({"hyperpage.dev/reconcile": "disabled"});
    scene.apply_with("shop", disabled.clone(), shop()).await.unwrap();
    eventually("it says that it is paused, and how to go on", SOON, async || {
        let said = scene.condition("shop", "Reconciling").await.map_err(|error| error.to_string())?;
        let resume = "kubectl annotate hp/shop hyperpage.dev/reconcile-";
        check(said.reason == "Paused" && said.message.contains(resume), said)
    })
    .await;

    let mark = world.server.audit().mark().unwrap();
    let port = json!({"spec": {"ports": [{"name": "http", "port": 8181, "targetPort": "http"}]}});
    scene.merge::<Service>("shop", port).await.unwrap();
    scene.delete::<ConfigMap>("shop-hp-redis").await.unwrap();
    let changed = with(shop(), json!({"app": {"image": "registry.test/shop:2"}, "replicas": 6}));
    scene.apply_with("shop", disabled, changed.clone()).await.unwrap();
    world.server.kubectl(["scale", "deployment/shop", "--replicas=5", "-n", "t-paused"]).unwrap();
    // Status goes on telling the truth, and so shows that all of this was seen.
    eventually("status counts the five pods", SOON, async || {
        let object = scene.hyperpages().get("shop").await.map_err(|error| error.to_string())?;
        check(object.data["status"]["app"] == "5/5", &object.data["status"])
    })
    .await;
    assert_eq!(scene.condition("shop", "Ready").await.unwrap().status, "True");
    let object = scene.hyperpages().get("shop").await.unwrap();
    assert_ne!(object.data["status"]["observedGeneration"], json!(object.metadata.generation));
    let service = scene.api::<Service>().get("shop").await.unwrap();
    assert!(serde_json::to_string(&service.spec).unwrap().contains("8181"), "{service:?}");
    let asked = || {
        let mut asked = unquiet(&here(&world.server.audit().since(mark, OPERATOR)?));
        asked.dedup();
        Ok(asked)
    };
    asked_for(asked, &["patch hyperpages/status t-paused/shop"]).await;

    // What can be said without a write is said.
    let bad = json!({"httpGet": {"port": 80}, "tcpSocket": {"port": 80}});
    let bad = with(shop(), json!({"app": {"image": "registry.test/shop:2", "readinessProbe": bad}}));
    scene.apply_with("shop", json!({"hyperpage.dev/reconcile": "disabled"}), bad).await.unwrap();
    eventually("it says what is wrong with the spec, and that it is paused", SOON, async || {
        let stalled = scene.condition("shop", "Stalled").await.map_err(|error| error.to_string())?;
        let reconciling = scene.condition("shop", "Reconciling").await.map_err(|error| error.to_string())?;
        let said = stalled.reason == "InvalidSpec" && stalled.message.contains("spec.app.readinessProbe");
        check(said && reconciling.reason == "Paused", [stalled, reconciling])
    })
    .await;

    scene.apply("shop", changed).await.unwrap();
    until_replicas(&scene, "shop", 6).await;
    until(&scene, "shop", "the Service as wanted", |service: &Service| {
        let text = serde_json::to_string(&service.spec).unwrap_or_default();
        check(!text.contains("8181"), text)
    })
    .await;
    until(&scene, "shop-hp-redis", "the ConfigMap again", |_: &ConfigMap| Ok::<_, String>(())).await;
    until(&scene, "shop", "the new image", |deployment: &Deployment| {
        let value = serde_json::to_value(&deployment.spec).unwrap_or(Value::Null);
        let image = &value["template"]["spec"]["containers"][0]["image"];
        check(image == "registry.test/shop:2", image)
    })
    .await;
    eventually("it no longer says that it is paused", SOON, async || {
        let said = scene.condition("shop", "Reconciling").await.map_err(|error| error.to_string())?;
        check(said.reason != "Paused", said)
    })
    .await;
    scene.wait("shop", "Ready", "True", SOON).await;
}

fn here(entries: &[Entry]) -> Vec<Entry> {
    entries.iter().filter(|entry| entry.object_ref.namespace == "t-paused").cloned().collect()
}
