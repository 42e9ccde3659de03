//! An operator that brings other default images restarts nothing by itself.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::{Value, json};
use tests::apiserver::ApiServer;
use tests::audit::{Entry, unquiet_at_start};
use tests::eventually::{check, eventually};
use tests::installation::{OPERATOR, Operator};
use tests::kube::Scene;
use tests::nodes::Nodes;

use crate::world::{SOON, asked_for, bare, machine, scene, shop, until, until_replicas, with};

async fn operator(server: &ApiServer, name: &str, version: u32) -> Operator {
    let images = [format!("--sidecar-image=sidecar:{version}"), format!("--redis-image=redis:7.{version}")];
    let operator = Operator::start_with(server, name, &[&images[0], &images[1]]).unwrap();
    operator.leads(server, SOON).await;
    operator
}

async fn stop(operator: Operator) {
    operator.process.signal("TERM").unwrap();
    assert_eq!(operator.process.exited(SOON).await.unwrap(), 0, "{}", operator.process.tail(20));
}

/// Generation and template of both workloads.
async fn workloads(scene: &Scene) -> [(Option<i64>, PodTemplateSpec); 2] {
    let app = scene.api::<Deployment>().get("shop").await.unwrap();
    let redis = scene.api::<StatefulSet>().get("shop-hp-redis").await.unwrap();
    [
        (app.metadata.generation, app.spec.unwrap().template),
        (redis.metadata.generation, redis.spec.unwrap().template),
    ]
}

/// Waits until status names these images as in use, and these as available.
async fn images(scene: &Scene, what: &str, want: [Value; 4]) {
    eventually(what, SOON, async || {
        let status = &scene.hyperpages().get("shop").await.map_err(|error| error.to_string())?.data["status"];
        let (sidecar, redis) = (&status["sidecar"], &status["redis"]);
        let seen =
            [&sidecar["image"], &sidecar["updateAvailable"], &redis["image"], &redis["updateAvailable"]];
        check(seen.map(Clone::clone) == want, seen)?;
        // Status tells of the last change until it tells of this one.
        let [app, redis] =
            workloads(scene).await.map(|(_, template)| serde_json::to_value(template).unwrap());
        let run = [&app["spec"]["initContainers"][0]["image"], &redis["spec"]["containers"][0]["image"]];
        check(run == [&want[0], &want[2]], run)
    })
    .await;
}

#[tokio::test]
async fn an_operator_with_new_default_images_restarts_no_pod_until_its_user_changes_them() {
    let _machine = machine().await;
    let Some(server) = bare("upgrades").await else { return };
    let scene = scene(&server, "t-upgrades").await;
    let _nodes = Nodes::healthy(&scene);
    let first = operator(&server, "operator-a", 1).await;
    scene.apply("shop", shop()).await.unwrap();
    scene.wait("shop", "Ready", "True", SOON).await;
    images(&scene, "the first defaults", [json!("sidecar:1"), Value::Null, json!("redis:7.1"), Value::Null])
        .await;
    let before = workloads(&scene).await;
    stop(first).await;

    let mark = server.audit().mark().unwrap();
    let second = operator(&server, "operator-b", 2).await;
    let waits = [json!("sidecar:1"), json!("sidecar:2"), json!("redis:7.1"), json!("redis:7.2")];
    images(&scene, "newer defaults are offered", waits).await;
    assert_eq!(workloads(&scene).await, before);
    let only = ["patch hyperpages/status t-upgrades/shop"];
    asked_for(|| Ok(unquiet_at_start(&server.audit().since(mark, OPERATOR)?)), &only).await;

    // The sidecar's pods change; Redis' do not.
    let env = with(shop(), json!({"app": {"image": "registry.test/shop:2"}}));
    scene.apply("shop", env.clone()).await.unwrap();
    let half = [json!("sidecar:2"), Value::Null, json!("redis:7.1"), json!("redis:7.2")];
    images(&scene, "the sidecar's new default came with a new app", half).await;
    scene.apply_with("shop", json!({"hyperpage.dev/upgrade-redis": "monday"}), env.clone()).await.unwrap();
    let both = [json!("sidecar:2"), Value::Null, json!("redis:7.2"), Value::Null];
    images(&scene, "Redis' new default came when asked for", both).await;
    stop(second).await;
    the_same_value_counts_once(&server, &scene, env).await;
}

async fn the_same_value_counts_once(server: &ApiServer, scene: &Scene, spec: Value) {
    let _third = operator(server, "operator-c", 3).await;
    let waits = [json!("sidecar:2"), json!("sidecar:3"), json!("redis:7.2"), json!("redis:7.3")];
    images(scene, "the third defaults are offered", waits.clone()).await;
    let before = workloads(scene).await;
    let mark = server.audit().mark().unwrap();
    for (annotations, replicas) in [(json!({}), 4), (json!({"hyperpage.dev/upgrade-redis": "monday"}), 5)] {
        let spec = with(spec.clone(), json!({"replicas": replicas}));
        scene.apply_with("shop", annotations, spec).await.unwrap();
        until_replicas(scene, "shop", replicas).await;
    }
    assert_eq!(workloads(scene).await[1], before[1], "Redis is as it was");
    assert_eq!(workloads(scene).await[0].1, before[0].1, "so are the app's pods, but for their number");
    let touched = server.audit().since(mark, OPERATOR).unwrap();
    let touched: Vec<_> = touched.iter().filter(|it| it.object_ref.resource == "statefulsets").collect();
    assert_eq!(touched, Vec::<&Entry>::new());
    let friday = json!({"hyperpage.dev/upgrade-redis": "friday", "hyperpage.dev/upgrade-sidecar": "friday"});
    let spec = with(spec, json!({"replicas": 5}));
    scene.apply_with("shop", friday, spec.clone()).await.unwrap();
    let all = [json!("sidecar:3"), Value::Null, json!("redis:7.3"), Value::Null];
    images(scene, "another value adopts again", all).await;
    let named = with(spec.clone(), json!({"sidecar": {"image": "mine:1"}}));
    scene.apply("shop", named).await.unwrap();
    until(scene, "shop", "the image that is named", |deployment: &Deployment| {
        let text = serde_json::to_string(&deployment.spec).unwrap_or_default();
        check(text.contains("mine:1"), text)
    })
    .await;
    scene.apply("shop", spec).await.unwrap();
    let back = [json!("sidecar:3"), Value::Null, json!("redis:7.3"), Value::Null];
    images(scene, "the default again", back).await;
}
