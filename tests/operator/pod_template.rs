//! What a podTemplate says is in the pods, next to what others say, and goes with it.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{PodTemplateSpec, ServiceAccount};
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tests::eventually::{check, eventually};
use tests::kube::Scene;
use tests::nodes::{self, Nodes};

use crate::world::{SOON, shop, until, with, world};

fn rich() -> Value {
    json!({
        "metadata": {"labels": {"team": "shop"}, "annotations": {"note": "theirs"}},
        "spec": {
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "volumes": [{"name": "cache", "emptyDir": {"sizeLimit": "1Gi"}}],
            "initContainers": [{"name": "migrate", "image": "registry.test/migrate:1"}],
            "containers": [
                {"name": "app", "volumeMounts": [{"name": "cache", "mountPath": "/cache"}]},
                {"name": "theirs", "image": "registry.test/theirs:1", "resources": {"limits": {"cpu": 1}}},
            ],
        },
    })
}

fn templated(template: &Value) -> Value {
    let mut spec = shop();
    spec["app"]["podTemplate"] = template.clone();
    spec
}

fn template(deployment: &Deployment) -> Value {
    let spec = deployment.spec.as_ref();
    serde_json::to_value(spec.map(|spec| &spec.template)).expect("JSON")
}

fn names(template: &Value, list: &str) -> Vec<String> {
    let items = template["spec"][list].as_array().into_iter().flatten();
    items.filter_map(|item| item["name"].as_str()).map(str::to_owned).collect()
}

#[tokio::test]
async fn what_a_pod_template_says_is_there_and_goes_with_it_and_what_others_add_stays() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-template").await;
    scene.apply("shop", templated(&rich())).await.unwrap();
    let whole = until(&scene, "shop", "the podTemplate", |it: &Deployment| {
        let seen = template(it);
        check(seen["spec"]["nodeSelector"] == json!({"disk": "ssd"}), &seen).map(|()| seen)
    })
    .await;
    assert_eq!(names(&whole, "containers"), ["app", "theirs"]);
    assert_eq!(names(&whole, "initContainers"), ["sidecar", "migrate"], "the sidecar starts first");
    assert_eq!(names(&whole, "volumes"), ["hyperpage-redis-auth", "hyperpage-bus", "cache"]);
    assert_eq!(whole["spec"]["tolerations"][0]["key"], "gpu");
    assert_eq!(whole["metadata"]["labels"]["team"], "shop");
    assert_eq!(whole["spec"]["containers"][1]["securityContext"]["capabilities"]["drop"], json!(["ALL"]));

    let env = json!([{"name": "FOREIGN", "value": "1"}]);
    let foreign = json!({"spec": {"template": {
        "metadata": {"annotations": {"foreign": "1"}},
        "spec": {"containers": [{"name": "app", "env": env}]},
    }}});
    scene
        .api::<Deployment>()
        .patch("shop", &PatchParams::default(), &Patch::Strategic(&foreign))
        .await
        .unwrap();
    scene.apply("shop", shop()).await.unwrap();
    let bare = until(&scene, "shop", "no podTemplate", |it: &Deployment| {
        let seen = template(it);
        check(seen["spec"]["nodeSelector"].is_null(), &seen).map(|()| seen)
    })
    .await;
    assert_eq!(names(&bare, "containers"), ["app"]);
    assert_eq!(names(&bare, "initContainers"), ["sidecar"]);
    assert_eq!(names(&bare, "volumes"), ["hyperpage-redis-auth", "hyperpage-bus"]);
    assert!(
        bare["metadata"]["labels"]["team"].is_null() && bare["metadata"]["annotations"]["note"].is_null()
    );
    assert_eq!(bare["metadata"]["annotations"]["foreign"], "1");
    assert!(bare["spec"]["containers"][0]["env"].to_string().contains("FOREIGN"), "{bare}");
}

/// Every workload as it is wanted: what a half-applied change would move.
async fn wanted(scene: &Scene) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for it in scene.api::<Deployment>().list(&Default::default()).await.unwrap().items {
        all.insert("Deployment".to_owned(), json!([it.metadata.uid, it.metadata.generation, it.spec]));
    }
    for it in scene.api::<StatefulSet>().list(&Default::default()).await.unwrap().items {
        all.insert("StatefulSet".to_owned(), json!([it.metadata.uid, it.metadata.generation, it.spec]));
    }
    all
}

#[tokio::test]
async fn a_pod_template_that_does_not_fit_leaves_existing_children_as_they_are() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-misfit").await;
    scene.apply("shop", shop()).await.unwrap();
    until(&scene, "shop", "made", |_: &Deployment| Ok::<_, String>(())).await;
    scene.wait("shop", "Stalled", "False", SOON).await;
    let before = wanted(&scene).await;
    assert_eq!(before.len(), 2);
    let probe =
        json!({"spec": {"containers": [{"name": "app", "readinessProbe": {"httpGet": {"port": 80}}}]}});
    // With a change that fits: neither is applied.
    let both =
        with(templated(&probe), json!({"sidecar": {"logLevel": "debug"}, "redis": {"config": {"hz": "20"}}}));
    scene.apply("shop", both).await.unwrap();
    let stalled = scene.wait("shop", "Stalled", "True", SOON).await;
    assert_eq!(stalled.reason, "InvalidSpec");
    let field = "spec.app.podTemplate.spec.containers[app].readinessProbe: has httpGet and tcpSocket";
    assert!(stalled.message.contains(field), "{}", stalled.message);
    assert_eq!(wanted(&scene).await, before);

    scene.apply("new", templated(&probe)).await.unwrap();
    scene.wait("new", "Stalled", "True", SOON).await;
    let kinds = "deployments,statefulsets,services,configmaps,serviceaccounts,secrets";
    let selector = "app.kubernetes.io/instance=new";
    let found = world.server.kubectl(["get", kinds, "-n", "t-misfit", "-l", selector, "-o", "name"]).unwrap();
    assert_eq!(found.trim(), "");

    scene.apply("shop", shop()).await.unwrap();
    scene.wait("shop", "Stalled", "False", SOON).await;
}

#[tokio::test]
async fn redis_takes_a_pod_template_too_and_every_pod_the_pull_secrets() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-template-redis").await;
    let exporter = json!({"spec": {
        "nodeSelector": {"disk": "ssd"},
        "containers": [{"name": "exporter", "image": "registry.test/exporter:1"}],
    }});
    let spec = json!({"imagePullSecrets": [{"name": "reg"}], "redis": {"podTemplate": exporter}});
    scene.apply("shop", with(shop(), spec)).await.unwrap();
    let secrets = |template: &PodTemplateSpec| json!(template.spec.as_ref().map(|it| &it.image_pull_secrets));
    until(&scene, "shop-hp-redis", "the podTemplate", |it: &StatefulSet| {
        let template = &it.spec.as_ref().ok_or("no spec")?.template;
        let seen = serde_json::to_value(template).map_err(|error| error.to_string())?;
        let fits = names(&seen, "containers") == ["redis", "exporter"]
            && seen["spec"]["nodeSelector"] == json!({"disk": "ssd"})
            && secrets(template) == json!([{"name": "reg"}]);
        check(fits, seen)
    })
    .await;
    until(&scene, "shop", "the pull Secret", |it: &Deployment| {
        let template = &it.spec.as_ref().ok_or("no spec")?.template;
        check(secrets(template) == json!([{"name": "reg"}]), secrets(template))
    })
    .await;
}

#[tokio::test]
async fn an_account_of_the_users_replaces_ours_and_annotations_go_on_ours() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-account").await;
    let annotated = json!({"serviceAccount": {"annotations": {"cloud.test/role": "shop"}}});
    scene.apply("shop", with(shop(), annotated)).await.unwrap();
    until(&scene, "shop-hp-app", "the annotation", |it: &ServiceAccount| {
        let seen = it.metadata.annotations.clone().unwrap_or_default();
        check(seen.get("cloud.test/role").is_some_and(|role| role == "shop"), seen)
    })
    .await;
    scene.apply("shop", with(shop(), json!({"serviceAccount": {"name": "mine"}}))).await.unwrap();
    until(&scene, "shop", "the user's account", |it: &Deployment| {
        let seen = template(it)["spec"].clone();
        let fits = seen["serviceAccountName"] == "mine" && seen["automountServiceAccountToken"] == false;
        check(fits, seen)
    })
    .await;
    // A pod that replaces an old one needs the old account for as long as the new pods are not there.
    let ours = scene.api::<ServiceAccount>().get_opt("shop-hp-app").await.unwrap();
    assert!(ours.is_some_and(|it| it.metadata.deletion_timestamp.is_none()));
    let mine = serde_json::from_value(json!({"metadata": {"name": "mine"}})).unwrap();
    scene.api::<ServiceAccount>().create(&PostParams::default(), &mine).await.unwrap();
    let _nodes = Nodes::saying(&scene, nodes::ready);
    eventually("ours is gone", SOON, async || {
        let ours = scene.api::<ServiceAccount>().get_opt("shop-hp-app").await.map_err(|e| e.to_string())?;
        check(ours.is_none(), ours)
    })
    .await;
}

/// Open objects are stored as they are sent; but to the merge patch of a client-side apply null means: not there.
#[tokio::test]
async fn null_applied_server_side_and_an_empty_list_however_applied_delete_what_is_built() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-null").await;
    let spread = |it: &Deployment| template(it)["spec"]["topologySpreadConstraints"].clone();
    let with_spread = |value: Value| templated(&json!({"spec": {"topologySpreadConstraints": value}}));
    scene.apply("server-side", with_spread(Value::Null)).await.unwrap();
    let file = json!({"apiVersion": "hyperpage.dev/v1alpha1", "kind": "Hyperpage",
        "metadata": {"name": "client-side", "namespace": "t-null"}, "spec": with_spread(json!([]))});
    let path = world.server.dir().join("null.json");
    std::fs::write(&path, file.to_string()).unwrap();
    for _ in 0..2 {
        world.server.kubectl(["apply", "-f", &path.to_string_lossy()]).unwrap();
    }
    for name in ["server-side", "client-side"] {
        until(&scene, name, "no constraint", |it: &Deployment| check(spread(it).is_null(), spread(it))).await;
    }
}
