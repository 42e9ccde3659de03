//! One table of Hyperpages that cannot work: each is told which field is wrong, and nothing of it is made.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use axum::http::Request;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Service;
use kube::api::PostParams;
use serde::Deserialize;
use serde_json::{Value, json};
use tests::eventually::eventually;
use tests::kube::{Scene, conditions, hyperpage, summary};

use crate::world::{SOON, World, shop, until, until_replicas, with, world};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    refused: Vec<Row>,
    stalled: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    spec: Value,
    says: Vec<String>,
}

fn table() -> Table {
    serde_yaml::from_str(include_str!("invalid.yaml")).expect("the table")
}

impl Row {
    /// The row over the least valid Hyperpage; `null` takes a field away.
    fn over(&self, scene: &Scene, name: &str) -> Value {
        let mut spec = shop();
        merge(&mut spec, &self.spec);
        hyperpage(&scene.namespace, name, &json!({}), &spec)
    }

    fn missing<'a>(&'a self, text: &str) -> Option<&'a str> {
        self.says.iter().map(String::as_str).find(|part| !text.contains(part))
    }
}

fn merge(target: &mut Value, patch: &Value) {
    let (Value::Object(into), Value::Object(fields)) = (&mut *target, patch) else {
        *target = patch.clone();
        return;
    };
    for (name, value) in fields {
        if value.is_null() {
            into.remove(name);
        } else {
            merge(into.entry(name).or_insert(Value::Null), value);
        }
    }
}

/// As `kubectl create --dry-run=server` sends it: with a word on unknown fields, which kube's own call leaves out.
async fn refusal(scene: &Scene, object: &Value) -> Result<String> {
    let url = format!("/apis/hyperpage.dev/v1alpha1/namespaces/{}/hyperpages", scene.namespace);
    let request = Request::post(url + "?dryRun=All&fieldValidation=Strict")
        .header("content-type", "application/json")
        .body(object.to_string().into_bytes())?;
    match scene.client.request::<Value>(request).await {
        Ok(_) => Ok("it is accepted".to_owned()),
        Err(kube::Error::Api(status)) => Ok(status.message.clone()),
        Err(error) => Err(error.into()),
    }
}

#[tokio::test]
async fn invalid_resources_are_told_the_field_and_nothing_is_half_applied() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-invalid").await;
    let Table { refused, stalled } = table();
    let mut untold = Vec::new();
    let mut note = |row: &Row, words: &str| {
        let missing = row.missing(words);
        untold.extend(missing.map(|part| format!("{}: {part:?} is not in {words:?}", row.spec)));
    };
    for row in &refused {
        note(row, &refusal(&scene, &row.over(&scene, "refused")).await.unwrap());
    }
    // Has the port of the nodes that a row asks for.
    let ports = json!([{"port": 80, "nodePort": 30500}]);
    let holder = json!({"metadata": {"name": "holder"}, "spec": {"type": "NodePort", "ports": ports}});
    let holder: Service = serde_json::from_value(holder).unwrap();
    scene.api().create(&PostParams::default(), &holder).await.unwrap();
    let named: BTreeMap<_, _> =
        stalled.iter().enumerate().map(|(n, row)| (format!("bad-{n}"), row)).collect();
    for (name, row) in &named {
        let spec = row.over(&scene, name)["spec"].take();
        scene.apply(name, spec).await.unwrap_or_else(|error| panic!("{}\n{error}", row.spec));
    }
    scene.apply("good", shop()).await.unwrap();
    for (name, row) in &named {
        note(row, &stalled_message(&scene, name).await);
    }
    assert!(untold.is_empty(), "{} of the table:\n{}", untold.len(), untold.join("\n"));
    until_replicas(&scene, "good", 3).await;
    assert_eq!(
        instances(&world, &scene.namespace),
        BTreeSet::from(["good".to_owned()]),
        "whose children exist"
    );
    let log = world.operator.process.log();
    assert!(!log.contains("panicked"), "{log}");
    let rows = refused.len() + stalled.len();
    assert!(rows >= 60, "{rows} rows");
    println!(
        "{} invalid Hyperpages refused, {} stalled, each with its field named",
        refused.len(),
        stalled.len()
    );
}

/// Of every child, by a path of jsonpath.
fn children(world: &World, namespace: &str, path: &str) -> BTreeSet<String> {
    let kinds = "deployments,statefulsets,services,configmaps,serviceaccounts,horizontalpodautoscalers,\
                 poddisruptionbudgets,networkpolicies";
    let path = format!("jsonpath={{range .items[*]}}{path}{{\"\\n\"}}{{end}}");
    let lines = world.server.kubectl(["get", kinds, "-n", namespace, "-o", &path]).expect("kubectl get");
    lines.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Hyperpages of which anything was made, but for the password.
fn instances(world: &World, namespace: &str) -> BTreeSet<String> {
    children(world, namespace, "{.metadata.labels.app\\.kubernetes\\.io/instance}")
}

/// What was applied of each child, and when it was made.
fn applied(world: &World, namespace: &str) -> BTreeSet<String> {
    let path = "{.kind} {.metadata.name} {.metadata.uid} {.metadata.annotations.hyperpage\\.dev/desired}";
    children(world, namespace, path).into_iter().filter(|line| line.contains(" shop")).collect()
}

/// Each with a change of the pods and of Redis' configuration that alone would be welcome.
#[tokio::test]
async fn a_change_that_the_server_refuses_in_one_child_changes_none() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-refused").await;
    let base = with(shop(), json!({"autoscaling": {"maxReplicas": 5, "targetCPUUtilizationPercentage": 70}}));
    scene.apply("shop", base.clone()).await.unwrap();
    until(&scene, "shop", "an autoscaler", |_: &HorizontalPodAutoscaler| Ok::<_, String>(())).await;
    let before = applied(&world, &scene.namespace);
    assert_eq!(before.len(), 10, "{before:?}");
    let welcome = json!({"app": {"image": "registry.test/shop:2"}, "redis": {"config": {"hz": "20"}}});
    for (bad, says) in [
        (json!({"service": {"annotations": {"a b": "c"}}}), "Service shop"),
        (json!({"service": {"type": "NodePort", "nodePort": 80}}), "nodePort"),
        (json!({"serviceAccount": {"annotations": {"a b": "c"}}}), "ServiceAccount shop-hp-app"),
        (
            json!({"networkPolicy": {"metricsFrom": [{"podSelector": {"matchLabels": {"a b": "c"}}}]}}),
            "ingress[1]",
        ),
        (json!({"autoscaling": {"maxReplicas": 5, "metrics": [{"type": "Resource"}]}}), "spec.metrics[0]"),
        (
            json!({"app": {"image": "registry.test/shop:2", "readinessProbe": {"periodSeconds": 5}}}),
            "readinessProbe",
        ),
    ] {
        scene.apply("shop", with(base.clone(), with(welcome.clone(), bad))).await.unwrap();
        let stalled = scene.wait("shop", "Stalled", "True", SOON).await;
        assert!(stalled.reason == "InvalidSpec" && stalled.message.contains(says), "{stalled:?}");
        assert_eq!(applied(&world, &scene.namespace), before, "{says}");
        eventually("an event of its own", SOON, async || {
            let events = scene.events("shop").await?;
            anyhow::ensure!(
                events.iter().any(|it| it.contains("InvalidSpec") && it.contains(says)),
                "{events:#?}"
            );
            anyhow::Ok(())
        })
        .await;
    }
    scene.apply("shop", with(base, welcome)).await.unwrap();
    scene.wait("shop", "Stalled", "False", SOON).await;
    let after = applied(&world, &scene.namespace);
    assert_eq!(after.difference(&before).count(), 3, "Deployment, ConfigMap, StatefulSet: {after:?}");
}

async fn stalled_message(scene: &Scene, name: &str) -> String {
    eventually(&format!("{name} is stalled"), SOON, async || {
        let all = conditions(&scene.hyperpages().get(name).await?);
        let found = all.iter().find(|it| it.type_ == "Stalled" && it.reason == "InvalidSpec");
        found.map(|found| found.message.clone()).ok_or_else(|| anyhow::anyhow!("{}", summary(&all)))
    })
    .await
}
