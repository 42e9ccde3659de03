//! The operator killed after any write of a first reconcile: whoever comes next completes the same work.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, stream};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use serde_json::Value;
use tests::apiserver::ApiServer;
use tests::door::Door;
use tests::eventually::eventually;
use tests::installation::Operator;
use tests::kube::{Scene, conditions};
use tests::trace::ReplicaTrace;

use crate::scaling::autoscaled;
use crate::world::{SOON, bare, machine, scene};

/// What a Hyperpage has, by `Kind/name`, without what differs between two of the same spec.
type Children = BTreeMap<String, Value>;

fn kinds() -> [ApiResource; 9] {
    [
        ApiResource::erase::<Deployment>(&()),
        ApiResource::erase::<StatefulSet>(&()),
        ApiResource::erase::<Service>(&()),
        ApiResource::erase::<ServiceAccount>(&()),
        ApiResource::erase::<ConfigMap>(&()),
        ApiResource::erase::<Secret>(&()),
        ApiResource::erase::<HorizontalPodAutoscaler>(&()),
        ApiResource::erase::<PodDisruptionBudget>(&()),
        ApiResource::erase::<NetworkPolicy>(&()),
    ]
}

async fn children(scene: &Scene, uid: &str) -> Result<Children> {
    let mut found = Vec::new();
    for resource in kinds() {
        let api: Api<DynamicObject> = Api::namespaced_with(scene.client.clone(), &scene.namespace, &resource);
        for object in api.list(&ListParams::default()).await?.items {
            let name = object.metadata.name.clone().unwrap_or_default();
            if !["default", "kube-root-ca.crt"].contains(&name.as_str()) {
                found.push((format!("{}/{name}", resource.kind), object));
            }
        }
    }
    let secret = found.iter().find(|(name, _)| name == "Secret/shop-hp-redis");
    let secret = secret.and_then(|(_, secret)| secret.metadata.uid.clone()).context("no Secret")?;
    found.into_iter().map(|(name, object)| Ok((name, plain(object, scene, [uid, &secret])?))).collect()
}

/// Names of what is random or belongs to one run in their place.
fn plain(object: DynamicObject, scene: &Scene, [hyperpage, secret]: [&str; 2]) -> Result<Value> {
    let text = serde_json::to_string(&object)?
        .replace(hyperpage, "UID")
        .replace(secret, "UID-OF-THE-SECRET")
        .replace(&scene.namespace, "NAMESPACE");
    let mut plain: Value = serde_json::from_str(&text)?;
    let all = plain.as_object_mut().context("an object")?;
    all.remove("status");
    for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"] {
        all["metadata"].as_object_mut().context("metadata")?.remove(field);
    }
    if let Some(annotations) = plain.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        // Two hash the uids too; the Deployment's controller may come later.
        let hashes = ["hyperpage.dev/desired", "hyperpage.dev/template"];
        annotations.retain(|name, _| {
            !hashes.contains(&name.as_str()) && !name.starts_with("deployment.kubernetes.io/")
        });
    }
    if let Some(spec) = plain["spec"].as_object_mut() {
        spec.retain(|field, _| !field.starts_with("clusterIP"));
    }
    // A Secret's.
    if plain["type"] == "Opaque" {
        plain["data"].as_object_mut().context("data")?.values_mut().for_each(|value| *value = Value::Null);
    }
    Ok(plain)
}

/// All is applied, and nothing is in the way.
async fn applied(scene: &Scene) -> Result<()> {
    let object = scene.hyperpages().get("shop").await?;
    let stalled = conditions(&object).into_iter().find(|it| it.type_ == "Stalled");
    let status = &object.data["status"];
    ensure!(stalled.as_ref().is_some_and(|it| it.status == "False"), "{stalled:?}");
    ensure!(status["appliedDigest"].is_string() && status["observedGeneration"] == 1, "{status}");
    Ok(())
}

async fn password(scene: &Scene) -> Result<Option<Secret>> {
    let mut found = scene.api::<Secret>().get_opt("shop-hp-redis").await?;
    // Who owns a field says nothing about the password.
    found.iter_mut().for_each(|secret| secret.metadata.managed_fields = None);
    Ok(found)
}

/// Always the same identity: it need not wait for its own Lease.
fn start(door: &Door, scene: &Scene, dir: &Path) -> Result<Operator> {
    let namespaces = format!("--watch-namespaces={}", scene.namespace);
    Operator::start_by(&door.kubeconfig(dir)?, dir, "one", &["--namespace", &scene.namespace, &namespaces])
}

/// What one life, or two, made of a new Hyperpage; and whether there were two.
struct Run {
    killed: bool,
    writes: usize,
    children: Children,
}

async fn run(server: &ApiServer, last: usize) -> Result<Run> {
    let namespace = if last == usize::MAX { "t-unharmed".to_owned() } else { format!("t-killed-{last}") };
    let scene = scene(server, &namespace).await;
    let trace = ReplicaTrace::from_nothing(scene.api(), "shop").await?;
    let door = Door::shutting_after(last, scene.client.clone()).await?;
    let dir = server.dir().join(&namespace);
    std::fs::create_dir(&dir)?;
    let first = start(&door, &scene, &dir)?;
    let uid = scene.apply("shop", autoscaled(3, 1)).await?.metadata.uid.context("a uid")?;
    let done = eventually("it is applied or killed", SOON, async || applied(&scene).await);
    let killed = tokio::select! {
        () = done => false,
        () = door.shut(last) => true,
    };
    first.process.signal("KILL")?;
    first.process.exited(SOON).await?;
    let before = password(&scene).await?;
    let writes = door.writes();
    let door = Door::open(scene.client.clone()).await?;
    let second = start(&door, &scene, &dir)?;
    eventually(&format!("applied after a kill at write {last}"), SOON, async || applied(&scene).await).await;
    let children = children(&scene, &uid).await?;
    let after = password(&scene).await?;
    ensure!(before.is_none() || before == after, "the password changed: {before:?} {after:?}");
    let seen = trace.end().await?;
    ensure!(seen.is_sorted() && seen.last() == Some(&3), "killed at write {last}: replicas were {seen:?}");
    second.process.alive()?;
    Ok(Run { killed, writes, children })
}

/// Names of the objects, each with the paths at which the two differ.
fn differences(one: &Children, other: &Children) -> Vec<String> {
    let names: BTreeSet<_> = one.keys().chain(other.keys()).collect();
    let mut found = Vec::new();
    for name in names {
        let null = Value::Null;
        let (one, other) = (one.get(name).unwrap_or(&null), other.get(name).unwrap_or(&null));
        differ(name, one, other, &mut found);
    }
    found
}

fn differ(path: &str, one: &Value, other: &Value, found: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(first), Value::Object(second)) => {
            for key in first.keys().chain(second.keys().filter(|key| !first.contains_key(*key))) {
                differ(&format!("{path}.{key}"), &one[key], &other[key], found);
            }
        }
        _ if one != other => found.push(format!("{path}: {one} / {other}")),
        _ => {}
    }
}

#[tokio::test]
async fn an_operator_killed_between_any_two_writes_of_a_first_reconcile_converges() {
    let _machine = machine().await;
    let Some(server) = bare("killed").await else { return };
    let began = Instant::now();
    let unharmed = run(&server, usize::MAX).await.unwrap();
    assert!(!unharmed.killed && unharmed.children.len() >= 8, "{:?}", unharmed.children.keys());
    let server = &server;
    let most = unharmed.writes + 3;
    let runs: Vec<_> = stream::iter(1..=most)
        .map(|last| async move { (last, run(server, last).await.unwrap()) })
        .buffer_unordered(4)
        .collect()
        .await;
    let mut killed = 0;
    for (last, run) in &runs {
        killed += usize::from(run.killed);
        let differ = differences(&unharmed.children, &run.children);
        assert!(differ.is_empty(), "killed at write {last}: {differ:#?}");
    }
    println!(
        "an operator of {} writes was killed after {killed} of them, and the next one converged each time: {:.0} s",
        unharmed.writes,
        began.elapsed().as_secs_f32()
    );
    // Some of the last writes are of status, and come or not as pods are made.
    assert!(killed + 4 >= unharmed.writes && killed > 12, "{killed} kills of {} writes", unharmed.writes);
}
