//! Edges that must be absent from the dependency graph, as cargo resolves it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;
use tests::binaries::{output, workspace};

use crate::tree::{assert_caught, assert_clean};

/// (package, what it must not reach, why).
const ABSENT: [(&str, &[&str], &str); 3] = [
    ("sidecar", &["kube-client", "kube-runtime", "operator"], "the sidecar never talks to Kubernetes"),
    ("operator", &["sidecar", "redis", "fred"], "the operator starts Redis, it does not speak to it"),
    (
        "crds",
        &["tokio", "hyper", "kube-client", "kube-runtime", "redis"],
        "types are values, without a client",
    ),
];

/// (package, feature, why). cargo unites features over the whole workspace, so one user decides for all.
const FEATURES_OFF: [(&str, &str, &str); 2] = [
    ("serde_json", "arbitrary_precision", "it breaks the enums that kube decodes"),
    ("redis", "cache-aio", "its cache outlives the connection that fed it"),
];

fn present_edges(metadata: &Value) -> Vec<String> {
    let graph = Graph::of(metadata);
    let mut problems = Vec::new();
    for (package, absent, why) in ABSENT {
        let reached = graph.reach(package);
        if reached.len() < 2 {
            problems.push(format!("{package}: not in the graph"));
        }
        for name in absent.iter().filter(|name| reached.contains(*name)) {
            problems.push(format!("{package} depends on {name}: {why} (cargo tree -p {package} -i {name})"));
        }
    }
    problems
}

fn unwanted_features(metadata: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    for node in nodes(metadata) {
        let on = |feature: &str| strings(&node["features"]).any(|name| name == feature);
        for (package, feature, why) in FEATURES_OFF {
            if name_of(metadata, &node["id"]) == package && on(feature) {
                problems.push(format!("{package} has the feature {feature}: {why}"));
            }
        }
    }
    problems
}

struct Graph<'a>(BTreeMap<&'a str, Vec<&'a str>>);

impl<'a> Graph<'a> {
    /// What is linked into a program; what only its tests or its build script use is left out.
    fn of(metadata: &'a Value) -> Graph<'a> {
        let normal = |dependency: &&Value| {
            dependency["dep_kinds"]
                .as_array()
                .is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null()))
        };
        let edges = nodes(metadata).map(|node| {
            let to = node["deps"].as_array().into_iter().flatten().filter(normal);
            (name_of(metadata, &node["id"]), to.map(|to| name_of(metadata, &to["pkg"])).collect())
        });
        Graph(edges.collect())
    }

    fn reach(&self, package: &'a str) -> BTreeSet<&'a str> {
        let (mut seen, mut next) = (BTreeSet::new(), vec![package]);
        while let Some(name) = next.pop() {
            if seen.insert(name) {
                next.extend(self.0.get(name).into_iter().flatten());
            }
        }
        seen
    }
}

fn nodes(metadata: &Value) -> impl Iterator<Item = &Value> {
    metadata["resolve"]["nodes"].as_array().into_iter().flatten()
}

fn strings(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn name_of<'a>(metadata: &'a Value, id: &Value) -> &'a str {
    let package = metadata["packages"].as_array().into_iter().flatten().find(|package| package["id"] == *id);
    package.and_then(|package| package["name"].as_str()).unwrap_or("")
}

fn metadata() -> Value {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version=1", "--offline", "--locked"]).current_dir(workspace());
    serde_json::from_str(&output(&mut cargo).expect("cargo knows this workspace")).expect("cargo prints JSON")
}

#[test]
fn absent_edges_are_absent() {
    let metadata = metadata();
    assert_clean(present_edges(&metadata));
    assert_clean(unwanted_features(&metadata));
}

#[test]
fn rules_about_edges_bite() {
    let graph = |from: &str, to: &str, kind: Value| {
        let package = |name: &str| serde_json::json!({"id": format!("{name}#1"), "name": name});
        let node = |name: &str, deps: Value| serde_json::json!({"id": format!("{name}#1"), "deps": deps, "features": []});
        let edge = |to: &str, kind: &Value| serde_json::json!({"pkg": format!("{to}#1"), "dep_kinds": [{"kind": kind}]});
        let names = ["sidecar", "operator", "crds", "serde", "middle", to];
        let mut nodes: Vec<_> = ["sidecar", "operator", "crds"]
            .map(|name| {
                node(
                    name,
                    serde_json::json!([
                        edge("serde", &Value::Null),
                        edge(if name == from { "middle" } else { "serde" }, &kind)
                    ]),
                )
            })
            .into();
        nodes.push(node("middle", serde_json::json!([edge(to, &Value::Null)])));
        serde_json::json!({"packages": names.map(package), "resolve": {"nodes": nodes}})
    };
    assert_caught(&present_edges(&graph("sidecar", "bytes", Value::Null)), &[]);
    assert_caught(
        &present_edges(&graph("sidecar", "kube-client", Value::Null)),
        &["never talks to Kubernetes"],
    );
    assert_caught(&present_edges(&graph("sidecar", "kube-client", "dev".into())), &[]);
    assert_caught(&present_edges(&graph("crds", "tokio", Value::Null)), &["crds depends on tokio"]);

    let mut precise = metadata();
    let id = precise["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .find(|p| p["name"] == "serde_json")
        .expect("used")["id"]
        .clone();
    for node in
        precise["resolve"]["nodes"].as_array_mut().expect("nodes").iter_mut().filter(|node| node["id"] == id)
    {
        node["features"] = serde_json::json!(["arbitrary_precision"]);
    }
    assert_caught(&unwanted_features(&precise), &["arbitrary_precision"]);
}
