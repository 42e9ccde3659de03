//! One table of Hyperpages that cannot work: each is told which field is wrong, and nothing of it is made.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use axum::http::Request;
use serde::Deserialize;
use serde_json::{Value, json};
use tests::eventually::eventually;
use tests::kube::{Scene, conditions, hyperpage, summary};

use crate::world::{SOON, World, shop, until_replicas, world};

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
    world.operator.process.alive().unwrap();
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

/// Hyperpages of which anything was made, but for the password: its uid is part of what the server is asked about.
fn instances(world: &World, namespace: &str) -> BTreeSet<String> {
    let kinds = "deployments,statefulsets,services,configmaps,serviceaccounts,horizontalpodautoscalers";
    let path = "jsonpath={range .items[*]}{.metadata.labels.app\\.kubernetes\\.io/instance}{\"\\n\"}{end}";
    let labels = world.server.kubectl(["get", kinds, "-n", namespace, "-o", path]).expect("kubectl get");
    labels.lines().filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

async fn stalled_message(scene: &Scene, name: &str) -> String {
    eventually(&format!("{name} is stalled"), SOON, async || {
        let all = conditions(&scene.hyperpages().get(name).await?);
        let found = all.iter().find(|it| it.type_ == "Stalled" && it.reason == "InvalidSpec");
        found.map(|found| found.message.clone()).ok_or_else(|| anyhow::anyhow!("{}", summary(&all)))
    })
    .await
}
