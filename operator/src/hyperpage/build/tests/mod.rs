mod golden;
mod leaves;
mod redis;
mod restricted;
mod secrets;
mod upgrade;

use std::{collections::BTreeMap, fs, path::Path};

use crds::Hyperpage;
use serde_json::{Value, json};

use super::{Children, RedisChildren, build};
use crate::hyperpage::validate::{Defaults, Valid, validate};

fn defaults() -> Defaults {
    Defaults { sidecar_image: "sidecar:default".to_owned(), redis_image: "redis:default".to_owned() }
}

const PASSWORD: &str = "uid-of-the-secret";

/// A Hyperpage as the API server would store it.
fn stored(mut hyperpage: Value) -> Hyperpage {
    hyperpage["apiVersion"] = json!("hyperpage.dev/v1alpha1");
    hyperpage["kind"] = json!("Hyperpage");
    for (field, value) in
        [("namespace", json!("demo")), ("uid", json!("uid-of-the-hyperpage")), ("generation", json!(1))]
    {
        hyperpage["metadata"][field] = value;
    }
    serde_json::from_value(hyperpage).unwrap()
}

/// The examples, and what none of them can show, by name.
fn specs() -> BTreeMap<String, String> {
    let folders = ["../examples", "src/hyperpage/build/tests/specs"];
    let files = folders
        .iter()
        .flat_map(|folder| fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap());
    let yaml =
        files.map(|entry| entry.unwrap().path()).filter(|it| it.extension().is_some_and(|it| it == "yaml"));
    yaml.map(|file| {
        (file.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&file).unwrap())
    })
    .filter(|(_, text)| text.contains("kind: Hyperpage"))
    .collect()
}

pub(in crate::hyperpage) fn shop(spec: Value) -> Valid {
    let hyperpage = stored(json!({"metadata": {"name": "shop"}, "spec": spec}));
    validate(&hyperpage, &defaults()).unwrap_or_else(|invalid| panic!("{invalid}: {hyperpage:?}"))
}

/// Every child, in the order in which they are listed.
fn children(valid: &Valid) -> Vec<Value> {
    listed(build(valid, PASSWORD).unwrap())
}

fn listed(children: Children) -> Vec<Value> {
    let Children { service_account, service, deployment, hpa, pdb, network_policy, redis } = children;
    let mut children =
        vec![serde_json::to_value(service).unwrap(), serde_json::to_value(deployment).unwrap()];
    let mut policies = vec![network_policy];
    if let Some(RedisChildren { config_map, service, stateful_set, network_policy }) = redis {
        children.extend([
            serde_json::to_value(config_map).unwrap(),
            serde_json::to_value(service).unwrap(),
            serde_json::to_value(stateful_set).unwrap(),
        ]);
        policies.push(network_policy);
    }
    children.push(serde_json::to_value(pdb).unwrap());
    children.extend(policies.into_iter().flatten().map(|policy| serde_json::to_value(policy).unwrap()));
    children.extend(service_account.map(|it| serde_json::to_value(it).unwrap()));
    children.extend(hpa.map(|hpa| serde_json::to_value(hpa).unwrap()));
    children
}
