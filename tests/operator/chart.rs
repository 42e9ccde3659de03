//! The chart in every way to install it: linted, rendered, accepted by the API server; and what its schema refuses.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Map, Value};
use tests::apiserver::ApiServer;
use tests::binaries::{kubernetes, output, present, workspace};
use tests::installation::{chart, chart_with};
use tests::scratch::Scratch;

use crate::world::world;

type Values = Map<String, Value>;

fn read(path: &str) -> Values {
    let text = std::fs::read_to_string(workspace().join(path)).expect("a values file");
    serde_yaml::from_str(&text).expect("values are YAML")
}

/// One per use, beside the chart.
fn values_files() -> Vec<PathBuf> {
    let dir = workspace().join("charts/hyperpage-operator/ci");
    let files = std::fs::read_dir(dir).expect("values for tests");
    let mut files: Vec<_> = files.map(|entry| entry.expect("listed").path()).collect();
    files.sort();
    files
}

fn render(values: &Values) -> Vec<Value> {
    let dir = Scratch::new("values");
    let file = dir.write("values.yaml", &Value::Object(values.clone()).to_string());
    chart_with(&["-f", &file.to_string_lossy()]).expect("the chart renders")
}

fn accepted(server: &ApiServer, name: &str, objects: &[Value]) {
    let namespaces: BTreeSet<_> =
        objects.iter().filter_map(|object| object["metadata"]["namespace"].as_str()).collect();
    for namespace in namespaces {
        let object = format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}");
        server.apply(&object, "namespace.yaml").expect("a namespace");
    }
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
    let file = server.dir().join(format!("{name}.json"));
    std::fs::write(&file, list.to_string()).expect("the server's folder is ours");
    let file = file.to_string_lossy();
    let apply = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", &file];
    server.kubectl(apply).unwrap_or_else(|error| panic!("{name}: {error}"));
}

#[tokio::test]
async fn helm_lints_and_renders_every_values_file_and_the_server_accepts_it() {
    let Some(world) = world().await else { return };
    let files = values_files();
    for file in &files {
        let mut lint = Command::new(kubernetes("helm"));
        lint.args(["lint", "--strict"]).arg(workspace().join("charts/hyperpage-operator"));
        output(lint.arg("-f").arg(file)).unwrap();
        let objects = chart_with(&["-f", &file.to_string_lossy()]).unwrap();
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        accepted(&world.server, &name, &objects);
    }
    println!("{} values files", files.len());
}

#[test]
fn every_value_of_the_chart_acts() {
    if !present(&[kubernetes("helm")]) {
        return;
    }
    let all = read("charts/hyperpage-operator/values.yaml");
    let mut missing: BTreeSet<_> = all.into_iter().map(|(key, _)| key).collect();
    for file in values_files() {
        let values = read(&file.to_string_lossy());
        let rendered = render(&values);
        for key in values.keys() {
            let mut without = values.clone();
            without.remove(key);
            if rendered != render(&without) {
                missing.remove(key);
            }
        }
    }
    assert_eq!(missing, BTreeSet::new(), "set by no file of ci/, or without effect");
}

#[test]
fn watched_namespaces_get_the_same_rules_and_the_cluster_none() {
    if !present(&[kubernetes("helm")]) {
        return;
    }
    let named = |objects: &[Value], kind: &str| -> Vec<Value> {
        objects.iter().filter(|object| object["kind"] == kind).cloned().collect()
    };
    let (everywhere, scoped) = (chart().unwrap(), chart_with(&["--set=watchNamespaces={a,b}"]).unwrap());
    let rules = &named(&everywhere, "ClusterRole")[0]["rules"];
    assert!(rules.as_array().unwrap().len() > 5, "{rules}");
    for kind in ["ClusterRole", "ClusterRoleBinding"] {
        assert_eq!((named(&everywhere, kind).len(), named(&scoped, kind).len()), (1, 0), "{kind}");
    }
    for kind in ["Role", "RoleBinding"] {
        let more = named(&scoped, kind);
        let watched: Vec<_> =
            more.iter().filter(|it| it["metadata"]["namespace"] != "hyperpage-system").collect();
        let namespaces: Vec<_> = watched.iter().map(|it| it["metadata"]["namespace"].clone()).collect();
        assert_eq!(namespaces, ["a", "b"], "{kind}");
        assert!(kind == "RoleBinding" || watched.iter().all(|role| role["rules"] == *rules));
        assert_eq!(more.len(), 1 + watched.len(), "{kind}: its own namespace has the Lease's alone");
    }
    let deployment = &named(&scoped, "Deployment")[0];
    let args = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap();
    assert!(args.contains(&Value::from("--watch-namespaces=a,b")), "{args:?}");
}

/// What is set, and the place that the refusal names.
const NONSENSE: [(&str, &str); 20] = [
    ("replicas=-1", "/replicas"),
    ("replicas=two", "/replicas"),
    ("replica=3", "replica"),
    ("image.repository=", "/image/repository"),
    ("image.repository=a b", "/image/repository"),
    ("image.pullPolicy=Sometimes", "/image/pullPolicy"),
    ("image.digest=sha256:00", "digest"),
    ("imagePullSecrets={registry}", "/imagePullSecrets/0"),
    ("sidecarImage=a b", "/sidecarImage"),
    ("logLevel=loud", "/logLevel"),
    ("resources.limits.cpu=lots", "/resources/limits/cpu"),
    ("resources.request.cpu=1", "request"),
    ("installCRD=maybe", "/installCRD"),
    ("watchNamespaces=shop", "/watchNamespaces"),
    ("watchNamespaces={shop,Blog}", "/watchNamespaces/1"),
    ("extraEnv[0].value=x", "/extraEnv/0"),
    ("extraEnv[0].name=POD_NAME", "/extraEnv/0/name"),
    ("tolerations[0].effect=Never", "/tolerations/0/effect"),
    ("affinity.podAfinity.x=1", "podAfinity"),
    ("priorityClassName=High", "/priorityClassName"),
];

#[test]
fn the_values_schema_refuses_nonsense_and_names_the_place() {
    if !present(&[kubernetes("helm")]) {
        return;
    }
    for (set, place) in NONSENSE {
        let refused = chart_with(&["--set", set]).expect_err(set).to_string();
        assert!(refused.contains("meet the specifications") && refused.contains(place), "{set}: {refused}");
    }
}
