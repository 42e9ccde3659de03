//! Hyperpages that cannot work say why, and do not keep the others from it.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ResourceQuota, Service};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tests::eventually::eventually;
use tests::installation::{Operator, chart};
use tests::kube::{Scene, conditions, hyperpage, summary};
use tests::nodes::{self, Nodes};

use crate::world::{SOON, bare, machine, scene, shop, until_replicas, with, world};

#[tokio::test]
async fn a_value_out_of_range_is_refused_by_name() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-range").await;
    let error = scene.apply("shop", with(shop(), json!({"replicas": 2000}))).await.unwrap_err().to_string();
    assert!(error.contains("spec.replicas") && error.contains("1000"), "{error}");
}

#[tokio::test]
async fn a_missing_secret_is_named_and_others_go_on() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-secret").await;
    let _nodes = Nodes::saying(&scene, |pod| match pod.metadata.name.as_deref() {
        Some(name) if name.starts_with("bad-") && !name.contains("redis") => {
            nodes::waiting(pod, "CreateContainerConfigError", "secret \"keys\" not found")
        }
        _ => nodes::ready(pod),
    });
    let env = json!([{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "k"}}}]);
    scene.apply("bad", json!({"app": {"image": "registry.test/bad:1", "env": env}})).await.unwrap();
    scene.apply("good", shop()).await.unwrap();
    scene.wait("good", "Ready", "True", SOON).await;
    let message = eventually("AppReady names the Secret", SOON, async || {
        let app = scene.condition("bad", "AppReady").await?;
        anyhow::ensure!(app.reason == "ContainerConfigError", "{app:?}");
        anyhow::Ok(app.message)
    })
    .await;
    assert!(message.contains("keys"), "{message}");
    assert_eq!(scene.condition("bad", "Ready").await.unwrap().status, "False");
}

/// A StatefulSet has no condition that says so.
#[tokio::test]
async fn a_redis_whose_pod_is_refused_says_where_to_look() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-no-room").await;
    let (none, quotas) = (json!({"hard": {"pods": "0"}}), scene.api::<ResourceQuota>());
    let quota = serde_json::from_value(json!({"metadata": {"name": "none"}, "spec": none})).unwrap();
    quotas.create(&PostParams::default(), &quota).await.unwrap();
    // It counts once its controller, which does not run here, has looked.
    let status = json!({"status": {"hard": {"pods": "0"}, "used": {"pods": "0"}}});
    quotas.patch_status("none", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    scene.apply("shop", shop()).await.unwrap();
    let said = eventually("RedisReady says where to look", SOON, async || {
        let redis = scene.condition("shop", "RedisReady").await?;
        anyhow::ensure!(redis.message.contains("`kubectl describe statefulset shop-hp-redis`"), "{redis:?}");
        anyhow::Ok(redis)
    })
    .await;
    assert_eq!((said.status.as_str(), said.reason.as_str()), ("False", "RedisUnavailable"));
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_is_named_and_others_go_on() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-image").await;
    let _nodes = Nodes::saying(&scene, |pod| match pod.metadata.name.as_deref() {
        Some(name) if name.starts_with("bad-") && !name.contains("redis") => {
            nodes::waiting(pod, "ImagePullBackOff", "Back-off pulling image \"registry.test/none:1\"")
        }
        _ => nodes::ready(pod),
    });
    scene.apply("bad", json!({"app": {"image": "registry.test/none:1"}})).await.unwrap();
    scene.apply("good", shop()).await.unwrap();
    scene.wait("good", "Ready", "True", SOON).await;
    let message = eventually("AppReady names the image", SOON, async || {
        let app = scene.condition("bad", "AppReady").await?;
        anyhow::ensure!(app.reason == "ImagePullFailed", "{app:?}");
        anyhow::Ok(app.message)
    })
    .await;
    assert!(message.contains("registry.test/none:1"), "{message}");
}

/// An installation whose role lacks a verb: status has the API server's words, and nobody starts it again.
#[tokio::test]
async fn what_the_operator_may_not_do_is_named_and_tried_again() {
    let _machine = machine().await;
    let Some(server) = bare("forbidden").await else { return };
    let scene = scene(&server, "t-forbidden").await;
    let role = chart().unwrap().into_iter().find(|item| item["kind"] == "ClusterRole").unwrap();
    let mut less = role.clone();
    less["rules"].as_array_mut().unwrap().retain(|rule| rule["resources"] != json!(["secrets"]));
    assert_ne!(less, role);
    server.apply(&less.to_string(), "less.json").unwrap();
    let operator = Operator::start(&server, "operator-a").unwrap();
    operator.leads(&server, SOON).await;
    scene.apply("shop", shop()).await.unwrap();
    let message = eventually("Reconciling says what is forbidden", SOON, async || {
        let all = conditions(&scene.hyperpages().get("shop").await?);
        let found = all.iter().find(|it| it.type_ == "Reconciling" && it.reason == "ApiError");
        found.map(|found| found.message.clone()).ok_or_else(|| anyhow::anyhow!("{}", summary(&all)))
    })
    .await;
    assert!(message.contains("Secret shop-hp-redis") && message.contains("cannot get resource"), "{message}");
    let object = scene.hyperpages().get("shop").await.unwrap();
    assert!(object.data["status"]["observedGeneration"].is_null(), "{}", object.data["status"]);
    assert!(conditions(&object).iter().all(|it| it.type_ != "Stalled" || it.status == "False"));
    server.apply(&role.to_string(), "role.json").unwrap();
    until_replicas(&scene, "shop", 3).await;
}

/// What an older or looser CRD let in, with the words that name the field: a word from another version, which
/// cannot even be parsed; a number from before it had a limit; a value from before its rule.
/// (Where a CEL rule reads the wrong field, the server refuses any status, too.)
fn outdated() -> [(&'static str, Value, &'static str); 3] {
    [
        (
            "word",
            json!({"sidecar": {"logLevel": "loudest"}}),
            "spec.sidecar.logLevel: \"loudest\" is none of",
        ),
        ("number", json!({"replicas": 5000}), "spec.replicas: 5000 is more than 1000"),
        ("rule", json!({"app": {"image": "a b"}}), "spec.app.image: app.image may not contain blanks"),
    ]
}

#[tokio::test]
async fn a_hyperpage_stored_before_its_rule_says_which_field_and_others_go_on() {
    let _machine = machine().await;
    let Some(server) = bare("outdated").await else { return };
    let scene = scene(&server, "t-outdated").await;
    loosen(&scene).await;
    for (name, more, _) in outdated() {
        let object = hyperpage("t-outdated", name, &json!({}), &with(shop(), more));
        eventually("the loose schema lets it in", SOON, async || {
            let object = serde_json::from_value(object.clone()).unwrap();
            scene.hyperpages().create(&PostParams::default(), &object).await
        })
        .await;
    }
    // Its Service, its Redis' Service and its account bear names of the children of `good`.
    let object =
        serde_json::from_value(hyperpage("t-outdated", "good-hp-redis", &json!({}), &shop())).unwrap();
    scene.hyperpages().create(&PostParams::default(), &object).await.unwrap();
    let strict =
        chart().unwrap().into_iter().find(|item| item["kind"] == "CustomResourceDefinition").unwrap();
    server.apply(&strict.to_string(), "strict.json").unwrap();
    eventually("the strict schema is back", SOON, async || {
        let (_, more, _) = &outdated()[0];
        let refused = scene.apply("probe", with(shop(), more.clone())).await;
        anyhow::ensure!(refused.is_err(), "still loose");
        anyhow::Ok(())
    })
    .await;

    let operator = Operator::start(&server, "operator-a").unwrap();
    operator.leads(&server, SOON).await;
    scene.apply("good", shop()).await.unwrap();
    until_replicas(&scene, "good", 3).await;
    for (name, _, words) in outdated() {
        let stalled = eventually("Stalled tells what is wrong", SOON, async || {
            let all = conditions(&scene.hyperpages().get(name).await?);
            let stalled = all.iter().find(|it| it.type_ == "Stalled" && it.status == "True").cloned();
            stalled.ok_or_else(|| anyhow::anyhow!("{}", summary(&all)))
        })
        .await;
        assert_eq!(stalled.reason, "InvalidSpec");
        assert!(stalled.message.contains(words), "{}", stalled.message);
    }
    named_as_a_child(&scene).await;
    operator.process.alive().unwrap();
}

/// The rule about names speaks of the whole object, so the server takes no status for one that breaks it.
async fn named_as_a_child(scene: &Scene) {
    eventually("an event tells what is wrong with the name", SOON, async || {
        let events = scene.events("good-hp-redis").await?;
        let told = events.iter().any(|line| line.contains("InvalidSpec") && line.contains("-hp-"));
        anyhow::ensure!(told, "{events:?}");
        anyhow::Ok(())
    })
    .await;
    let uid = scene.hyperpages().get("good").await.unwrap().metadata.uid;
    let service = scene.api::<Service>().get("good-hp-redis").await.unwrap();
    assert_eq!(service.metadata.owner_references.unwrap()[0].uid, uid.unwrap());
    assert!(scene.api::<Deployment>().get_opt("good-hp-redis").await.unwrap().is_none());
    scene.wait("good", "Stalled", "False", SOON).await;
}

async fn loosen(scene: &Scene) {
    let crds: Api<CustomResourceDefinition> = Api::all(scene.client.clone());
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let schema = "/spec/versions/0/schema/openAPIV3Schema";
    let loose = json!([
        {"op": "replace", "path": format!("{schema}/properties/spec"), "value": anything},
        // What it says about names.
        {"op": "remove", "path": format!("{schema}/x-kubernetes-validations")},
    ]);
    let loose: Patch<()> = Patch::Json(serde_json::from_value(loose).unwrap());
    crds.patch("hyperpages.hyperpage.dev", &PatchParams::default(), &loose).await.unwrap();
}
