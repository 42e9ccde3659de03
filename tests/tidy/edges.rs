//! Edges that must be absent from the dependency graph, as cargo resolves it.

use std::collections::BTreeSet;
use std::process::Command;

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

fn present(package: &str, reached: &str) -> Vec<String> {
    let reached: BTreeSet<_> = reached.lines().filter_map(|line| line.split(' ').next()).collect();
    let mut problems = Vec::new();
    for (_, absent, why) in ABSENT.iter().filter(|(name, _, _)| *name == package) {
        for name in absent.iter().filter(|name| reached.contains(*name)) {
            problems.push(format!("{package} depends on {name}: {why} (cargo tree -p {package} -i {name})"));
        }
    }
    problems
}

/// `enabled` holds a line for each package: its name, and its features divided by commas.
fn unwanted(enabled: &str) -> Vec<String> {
    let mut problems = Vec::new();
    for (package, features) in enabled.lines().filter_map(|line| line.split_once(' ')) {
        for (_, feature, why) in FEATURES_OFF.iter().filter(|(name, _, _)| *name == package) {
            if features.split([',', ' ']).any(|name| name == *feature) {
                problems.push(format!("{package} has the feature {feature}: {why}"));
            }
        }
    }
    problems
}

/// What is linked into a program, a line for each; what only tests or build scripts use is left out.
fn tree(args: &[&str]) -> String {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--offline", "--locked", "--edges=normal", "--prefix=none"]).args(args);
    output(cargo.current_dir(workspace())).expect("cargo knows this workspace")
}

#[test]
fn absent_edges_are_absent() {
    for (package, _, _) in ABSENT {
        let reached = tree(&["--package", package]);
        assert!(reached.lines().count() > 10, "{package}: {reached}");
        assert_clean(present(package, &reached));
    }
}

#[test]
fn features_that_break_others_are_off() {
    let enabled = tree(&["--workspace", "--format={lib} {f}"]);
    assert!(enabled.lines().any(|line| line.starts_with("serde_json ") && line.contains("std")), "{enabled}");
    assert_clean(unwanted(&enabled));
}

#[test]
fn rules_about_edges_bite() {
    assert_caught(&present("sidecar", "sidecar v0.1.0\nkube-core v5.0.0\nredis v1.8.0"), &[]);
    assert_caught(
        &present("sidecar", "sidecar v0.1.0\nkube-client v5.0.0 (*)"),
        &["never talks to Kubernetes"],
    );
    assert_caught(&present("crds", "tokio v1.0.0"), &["crds depends on tokio"]);
    // The rule is asked about a real graph in which the edge exists.
    assert_caught(
        &present("sidecar", &tree(&["--package", "operator"])),
        &["kube-client", "kube-runtime", "operator"],
    );

    assert_caught(&unwanted("serde_json default,raw_value,std"), &[]);
    assert_caught(&unwanted("serde_json arbitrary_precision,std"), &["arbitrary_precision"]);
    assert_caught(&unwanted("redis aio,cache-aio (*)"), &["cache-aio"]);
}
