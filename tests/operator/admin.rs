//! What the operator serves about itself, and how it ends.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::PostParams;
use serde_json::{Value, json};
use tests::apiserver::ApiServer;
use tests::audit::{Entry, unquiet};
use tests::eventually::{check, eventually};
use tests::http::Http;
use tests::installation::{OPERATOR, Operator};
use tests::kube::Scene;
use tests::nodes::Nodes;

use crate::world::{SOON, bare, machine, scene, shop, until_replicas, with};

/// Series by name and labels.
async fn metrics(admin: &Http) -> BTreeMap<String, f64> {
    let text = admin.get("/metrics").await.expect(200).body;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let series = lines.filter_map(|line| line.rsplit_once(' '));
    series.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
}

fn of(all: &BTreeMap<String, f64>, name: &str) -> f64 {
    all.get(&format!("hyperpage_operator_{name}")).copied().unwrap_or(0.0)
}

async fn until_metrics(admin: &Http, what: &str, holds: impl Fn(&BTreeMap<String, f64>) -> bool) {
    eventually(what, SOON, async || {
        let seen = metrics(admin).await;
        check(holds(&seen), seen)
    })
    .await;
}

#[tokio::test]
async fn every_metric_of_the_operator_moves() {
    let _machine = machine().await;
    let Some(server) = bare("admin").await else { return };
    let leader = Operator::start(&server, "operator-a").unwrap();
    leader.leads(&server, SOON).await;
    let standby = Operator::start(&server, "operator-b").unwrap();
    let (admin, other) = (leader.admin().await, standby.admin().await);
    for (name, admin) in [("the leader", &admin), ("the standby", &other)] {
        admin.get("/healthz").await.expect(200);
        eventually(&format!("{name} is ready"), SOON, async || {
            let ready = admin.get("/readyz").await;
            check(ready.status == 200 && ready.body == "ok\n", ready)
        })
        .await;
    }
    assert_eq!((of(&metrics(&admin).await, "leader"), of(&metrics(&other).await, "leader")), (1.0, 0.0));

    let scene = scene(&server, "t-admin").await;
    let _nodes = Nodes::healthy(&scene);
    scene.apply("shop", shop()).await.unwrap();
    scene.wait("shop", "Ready", "True", SOON).await;
    until_metrics(&admin, "a first reconcile is counted", |seen| {
        of(seen, "reconciles_total{result=\"Done\"}") > 0.0
            && of(seen, "reconcile_duration_seconds_count") > 0.0
            && of(seen, "api_calls_total{verb=\"apply\",kind=\"Deployment\"}") > 0.0
            && of(seen, "api_calls_total{verb=\"create\",kind=\"Secret\"}") > 0.0
            && of(seen, "applies_skipped_total") > 0.0
    })
    .await;
    let before = metrics(&admin).await;
    scene.apply_with("shop", json!({"hyperpage.dev/reconcile": "disabled"}), shop()).await.unwrap();
    until_metrics(&admin, "a pause is counted", |seen| of(seen, "reconciles_total{result=\"Paused\"}") > 0.0)
        .await;
    until_metrics(&admin, "more reconciles, and their duration", |seen| {
        ["reconcile_duration_seconds_count", "reconcile_duration_seconds_sum"]
            .iter()
            .all(|name| of(seen, name) > of(&before, name))
    })
    .await;
    ages_grow_in_silence_and_fall_with_news(&admin, async || {
        scene.apply("shop", shop()).await.unwrap();
    })
    .await;
    scene.apply("shop", with(shop(), json!({"service": {"annotations": {"a b": "c"}}}))).await.unwrap();
    until_metrics(&admin, "a stall", |seen| of(seen, "reconciles_total{result=\"Stalled\"}") > 0.0).await;
    break_writes_of_config_maps(&server, &scene).await;
    scene.apply("shop", with(shop(), json!({"redis": {"config": {"hz": "20"}}}))).await.unwrap();
    until_metrics(&admin, "a failure", |seen| of(seen, "reconciles_total{result=\"Failed\"}") > 0.0).await;
}

/// By a webhook that nobody serves.
async fn break_writes_of_config_maps(server: &ApiServer, scene: &Scene) {
    let rule =
        json!({"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["*"]});
    let broken = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "broken"},
        "webhooks": [{
            "name": "broken.hyperpage.test", "sideEffects": "None", "admissionReviewVersions": ["v1"], "rules": [rule],
            "clientConfig": {"url": "https://127.0.0.1:1/"},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": scene.namespace}},
        }],
    });
    server.apply(&broken.to_string(), "broken.json").unwrap();
    let map: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "probe"}})).unwrap();
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    eventually("the server asks the webhook", SOON, async || {
        let answer = scene.api::<ConfigMap>().create(&dry, &map).await;
        check(answer.is_err(), answer)
    })
    .await;
}

async fn ages_grow_in_silence_and_fall_with_news(admin: &Http, news: impl AsyncFn()) {
    let age = |seen: &BTreeMap<String, f64>, kind: &str| {
        seen.get(&format!("hyperpage_operator_watch_age_seconds{{kind=\"{kind}\",namespace=\"\"}}")).copied()
    };
    let kinds = [
        "Hyperpage",
        "Deployment",
        "StatefulSet",
        "Service",
        "ServiceAccount",
        "ConfigMap",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
        "NetworkPolicy",
        "PersistentVolumeClaim",
        "Pod",
    ];
    let seen = metrics(admin).await;
    for kind in kinds {
        assert!(age(&seen, kind).is_some(), "no age of the watch of {kind}: {seen:?}");
    }
    until_metrics(admin, "silence ages a watch", |seen| age(seen, "Hyperpage").is_some_and(|age| age > 3.0))
        .await;
    news().await;
    until_metrics(admin, "news make it young", |seen| age(seen, "Hyperpage").is_some_and(|age| age < 2.0))
        .await;
}

/// Twenty begin at once, so that a stop finds some of them half-way.
#[tokio::test]
async fn a_stop_finishes_what_is_under_way_and_writes_nothing_after_it() {
    let _machine = machine().await;
    let Some(server) = bare("stop").await else { return };
    let operator = Operator::start(&server, "operator-a").unwrap();
    operator.leads(&server, SOON).await;
    let scene = scene(&server, "t-stop").await;
    let names: Vec<_> = (0..20).map(|number| format!("shop-{number}")).collect();
    for name in &names {
        scene.apply(name, shop()).await.unwrap();
    }
    eventually("it has begun to write", SOON, async || {
        let all =
            server.audit().since(server.audit().start(), OPERATOR).map_err(|error| error.to_string())?;
        check(!unquiet(&writes(&all)).is_empty(), all.len())
    })
    .await;
    operator.process.signal("TERM").unwrap();
    let code = operator.process.exited(Duration::from_secs(25)).await.unwrap();
    assert_eq!(code, 0, "{}", operator.process.tail(20));
    let all = server.audit().since(server.audit().start(), OPERATOR).unwrap();
    let asked = said_at(&operator.process.log(), "asked to stop");
    let after = writes(&all).iter().filter(|entry| entry.request_received_timestamp > asked).count();
    println!("{after} writes after the stop was asked for, all of reconciles under way");
    // No Hyperpage was left between two writes: each has all its children or none.
    let end = server.audit().mark().unwrap();
    for name in &names {
        let begun = |resource: &str| {
            writes(&all).iter().any(|it| it.object_ref.resource == resource && it.object_ref.name == *name)
        };
        assert_eq!(begun("services"), begun("deployments"), "{name} was left half-way");
    }
    let again = Operator::start(&server, "operator-b").unwrap();
    again.leads(&server, SOON).await;
    for name in &names {
        until_replicas(&scene, name, 3).await;
    }
    assert!(!server.audit().since(end, OPERATOR).unwrap().is_empty());
}

fn writes(all: &[Entry]) -> Vec<Entry> {
    let ours = all.iter().filter(|it| it.object_ref.resource != "leases");
    ours.filter(|it| ["create", "patch", "delete"].contains(&it.verb.as_str())).cloned().collect()
}

fn said_at(log: &str, message: &str) -> String {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut said = lines.filter(|line| line["message"] == message);
    said.next().and_then(|line| Some(line["timestamp"].as_str()?.to_owned())).expect("it said so")
}
