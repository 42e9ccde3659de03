mod golden;
mod leaves;
mod redis;
mod restricted;
mod secrets;
mod upgrade;

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
