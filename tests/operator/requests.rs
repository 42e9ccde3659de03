//! What the operator asks of the API server, counted in its audit log.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, PostParams, PropagationPolicy};
use serde_json::{Value, json};
use tests::apiserver::ApiServer;
use tests::audit::{AuditUser, Entry, Mark, ObjectRef, ResponseStatus, unquiet, unquiet_at_start};
use tests::eventually::{check, eventually};
use tests::installation::{OPERATOR, Operator, chart};
use tests::kube::Scene;
use tests::nodes::{self, Nodes};
use tests::volumes::{self, Volumes};

use crate::world::{MAX_UNAVAILABLE, SOON, World, machine, scene, shop, until, until_replicas, with};

/// ConfigMap, Deployment, PodDisruptionBudget, ServiceAccount, StatefulSet, two NetworkPolicies, Secrets and Services.
const CHILDREN: usize = 11;
const REST: Duration = Duration::from_secs(15);

pub(crate) fn autoscaled() -> Value {
    with(
        shop(),
        json!({"autoscaling": {"minReplicas": 2, "maxReplicas": 4, "targetCPUUtilizationPercentage": 70}}),
    )
}

/// Waits until two seconds have brought no request but those of a settled operator.
pub(crate) async fn settled(server: &ApiServer) {
    let audit = server.audit();
    eventually("the operator has settled", SOON, async || {
        let busy = unquiet(&audit.during(Duration::from_secs(2), OPERATOR).await?);
        anyhow::ensure!(busy.is_empty(), "{busy:?}");
        anyhow::Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_settled_operator_asks_for_nothing_at_rest_and_after_a_restart() {
    let _machine = machine().await;
    let Some(World { server, operator }) = World::start("requests").await else { return };
    let (audit, scene) = (server.audit(), scene(&server, "t-requests").await);
    let _nodes = Nodes::healthy(&scene);
    // Who leads has yet to read what exists.
    eventually("the operator watches", SOON, async || {
        let asked = audit.since(audit.start(), OPERATOR)?;
        let watches = |entry: &Entry| entry.verb == "watch" && entry.object_ref.resource == "hyperpages";
        anyhow::ensure!(asked.iter().any(watches), "{}", verbs(&asked));
        anyhow::Ok(())
    })
    .await;
    settled(&server).await;
    let cold = audit.mark().unwrap();
    scene.apply("cold", shop()).await.unwrap();
    scene.wait("cold", "Ready", "True", SOON).await;
    settled(&server).await;
    let calls = unquiet(&audit.since(cold, OPERATOR).unwrap());
    println!("one Hyperpage from nothing to Ready: {} calls for {CHILDREN} children", calls.len());
    assert!(calls.len() <= 2 * CHILDREN + 8, "{calls:#?}");

    scene.apply("more", with(shop(), json!({"replicas": 5}))).await.unwrap();
    scene.apply("auto", autoscaled()).await.unwrap();
    scene.wait("more", "Ready", "True", SOON).await;
    until_replicas(&scene, "auto", 2).await;
    settled(&server).await;
    let rest = audit.mark().unwrap();
    foreign_secrets(&scene, 40).await;
    audit.during(REST, OPERATOR).await.unwrap();
    assert_eq!(unquiet(&audit.since(rest, OPERATOR).unwrap()), Vec::<String>::new());

    operator.process.signal("TERM").unwrap();
    assert_eq!(operator.process.exited(SOON).await.unwrap(), 0);
    let restart = audit.mark().unwrap();
    let again = Operator::start(&server, "operator-b").unwrap();
    again.leads(&server, SOON).await;
    audit.during(REST, OPERATOR).await.unwrap();
    let after = audit.since(restart, OPERATOR).unwrap();
    println!("after a restart with 3 settled Hyperpages: {}", verbs(&after));
    assert_eq!(unquiet_at_start(&after), Vec::<String>::new());
    // It was not quiet because it was dead.
    scene.apply("late", shop()).await.unwrap();
    until_replicas(&scene, "late", 3).await;
    a_get_and_a_list_more_are_seen(&server, restart).await;
}

pub(crate) fn verbs(entries: &[Entry]) -> String {
    let count = |verb: &str| entries.iter().filter(|entry| entry.verb == verb).count();
    format!(
        "{} lists, {} watches, {} for the lease",
        count("list"),
        count("watch"),
        count("get") + count("update")
    )
}

async fn foreign_secrets(scene: &Scene, count: usize) {
    for number in 0..count {
        let name = format!("foreign-{number}");
        let secret =
            serde_json::from_value(json!({"metadata": {"name": name}, "stringData": {"k": "v"}})).unwrap();
        scene.api::<Secret>().create(&PostParams::default(), &secret).await.unwrap();
    }
}

/// The gate does not pass because it is blind.
async fn a_get_and_a_list_more_are_seen(server: &ApiServer, mark: Mark) {
    let client = server.client(OPERATOR).await.unwrap();
    let deployments = Api::<Deployment>::namespaced(client, "t-requests");
    deployments.get("cold").await.unwrap();
    deployments.list(&ListParams::default()).await.unwrap();
    eventually("the audit log has both", SOON, async || {
        let seen = unquiet_at_start(&server.audit().since(mark, OPERATOR)?);
        for line in ["get deployments t-requests/cold", "list deployments t-requests/"] {
            anyhow::ensure!(seen.contains(&line.to_owned()), "{line}: {seen:?}");
        }
        anyhow::Ok(())
    })
    .await;
}

fn request(verb: &str, resource: &str) -> Entry {
    Entry {
        stage: "ResponseComplete".to_owned(),
        request_uri: String::new(),
        verb: verb.to_owned(),
        user: AuditUser::default(),
        object_ref: ObjectRef { resource: resource.to_owned(), ..ObjectRef::default() },
        response_status: ResponseStatus::default(),
        request_received_timestamp: String::new(),
    }
}

#[test]
fn a_list_is_quiet_only_once_and_only_at_the_start() {
    let start = [request("list", "pods"), request("watch", "pods"), request("watch", "pods")];
    assert_eq!(unquiet_at_start(&start), [""; 0]);
    assert_eq!(unquiet(&start), ["list pods /"]);
    let again = [start.as_slice(), &[request("list", "pods")]].concat();
    assert_eq!(unquiet_at_start(&again), ["list pods /"]);
    let page =
        Entry { request_uri: "/api/v1/pods?limit=20&continue=x".to_owned(), ..request("list", "pods") };
    let pages = [start.as_slice(), &[page.clone(), page.clone()]].concat();
    assert_eq!(unquiet_at_start(&pages), [""; 0]);
    assert_eq!(unquiet_at_start(&[page]), ["list pods /"], "never watched");
    let poll = [request("list", "secrets"), request("patch", "pods")];
    assert_eq!(unquiet_at_start(&poll), ["list secrets /", "patch pods /"], "never watched");
}

/// `apps deployments patch`
type Verb = (String, String, String);

fn granted() -> Result<BTreeSet<Verb>> {
    let mut verbs = BTreeSet::new();
    for role in chart()?.iter().filter(|it| it["kind"] == "ClusterRole" || it["kind"] == "Role") {
        for rule in role["rules"].as_array().context("rules")? {
            let words = |field: &str| -> Vec<String> {
                serde_json::from_value(rule[field].clone()).unwrap_or_default()
            };
            for group in words("apiGroups") {
                for resource in words("resources") {
                    let of = |verb| (group.clone(), resource.clone(), verb);
                    verbs.extend(words("verbs").into_iter().map(of));
                }
            }
        }
    }
    Ok(verbs)
}

fn used(entries: &[Entry]) -> BTreeSet<Verb> {
    let mut verbs = BTreeSet::new();
    for entry in entries {
        let it = &entry.object_ref;
        let slash = if it.subresource.is_empty() { "" } else { "/" };
        let of = |verb: &str| {
            (it.api_group.clone(), format!("{}{slash}{}", it.resource, it.subresource), verb.to_owned())
        };
        verbs.insert(of(&entry.verb));
        // Applying what is not there yet needs both.
        if entry.verb == "patch" && entry.response_status.code == 201 {
            verbs.insert(of("create"));
        }
    }
    verbs
}

#[tokio::test]
async fn the_chart_grants_what_is_used_and_nothing_else() {
    let _machine = machine().await;
    let Some(World { server, operator }) = World::start_with("verbs", MAX_UNAVAILABLE).await else { return };
    let scene = scene(&server, "t-verbs").await;
    let _nodes = Nodes::saying(&scene, |pod| match pod.name_any().starts_with("healed-hp-redis") {
        true => never_ready(pod),
        false => nodes::ready(pod),
    });
    let orphan = json!({"metadata": {"name": "auto-hp-redis"}, "stringData": {"password": "p", "url": "redis://:p@r"}});
    let orphan: Secret = serde_json::from_value(orphan).unwrap();
    scene.api().create(&PostParams::default(), &orphan).await.unwrap();
    autoscaler_made_and_deleted(&scene).await;
    a_budget_made_again_and_policies_deleted(&scene).await;
    redis_made_external(&scene).await;
    the_same_event_twice(&server, &scene).await;
    a_volume_grown(&scene).await;
    a_redis_healed(&scene).await;
    names_taken(&scene).await;
    operator.process.signal("TERM").unwrap();
    operator.process.exited(SOON).await.unwrap();

    let entries = server.audit().since(server.audit().start(), OPERATOR).unwrap();
    let refused: Vec<_> =
        entries.iter().filter(|it| it.response_status.code == 403).map(Entry::line).collect();
    assert_eq!(refused, Vec::<String>::new());
    let (granted, used) = (granted().unwrap(), used(&entries));
    let missing: Vec<_> = used.difference(&granted).collect();
    assert!(missing.is_empty(), "used by other roles than the chart's: {missing:?}");
    // OpenShift asks for it before it accepts an owner reference that blocks deletion.
    let finalizers = ("hyperpage.dev", "hyperpages/finalizers", "update");
    let (group, resource, verb) = finalizers;
    let named = (group.to_owned(), resource.to_owned(), verb.to_owned());
    let idle: Vec<_> = granted.difference(&used).filter(|it| **it != named).collect();
    assert!(idle.is_empty(), "granted and never used: {idle:?}");
}

async fn autoscaler_made_and_deleted(scene: &Scene) {
    scene.apply("auto", autoscaled()).await.unwrap();
    until(scene, "auto", "an autoscaler", |_: &HorizontalPodAutoscaler| Ok::<_, String>(())).await;
    scene.apply("auto", shop()).await.unwrap();
    eventually("no autoscaler", SOON, async || {
        let found = scene.api::<HorizontalPodAutoscaler>().get_opt("auto").await;
        check(matches!(found, Ok(None)), found.is_ok())
    })
    .await;
}

/// For longer than the operator is patient.
fn never_ready(pod: &Pod) -> Value {
    let mut status = nodes::waiting(pod, "ErrImagePull", "not found");
    let since = "2026-01-01T00:00:00Z";
    status["conditions"] = json!([{"type": "Ready", "status": "False", "lastTransitionTime": since}]);
    status
}

async fn a_redis_healed(scene: &Scene) {
    let pod = "healed-hp-redis-0";
    scene.apply("healed", shop()).await.unwrap();
    let before = until(scene, pod, "not ready", |pod: &Pod| {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
        check(conditions.is_some(), conditions).map(|()| pod.uid())
    })
    .await;
    scene.apply("healed", with(shop(), json!({"redis": {"image": "registry.test/redis:2"}}))).await.unwrap();
    until(scene, pod, "another", |pod: &Pod| check(pod.uid() != before, pod.uid())).await;
}

/// By what somebody left of an earlier Hyperpage.
async fn names_taken(scene: &Scene) {
    scene.apply("left", autoscaled()).await.unwrap();
    until(scene, "left", "an autoscaler", |_: &HorizontalPodAutoscaler| Ok::<_, String>(())).await;
    let orphan =
        DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..DeleteParams::default() };
    scene.hyperpages().delete("left", &orphan).await.unwrap();
    eventually("it is gone", SOON, async || {
        let found = scene.hyperpages().get_opt("left").await;
        check(matches!(found, Ok(None)), found)
    })
    .await;
    scene.apply("left", autoscaled()).await.unwrap();
    let stalled = scene.wait("left", "Stalled", "True", SOON).await;
    assert_eq!(stalled.reason, "NameTaken", "{}", stalled.message);
}

async fn a_volume_grown(scene: &Scene) {
    let _volumes = Volumes::provided(scene);
    volumes::class(scene, "verbs", true).await.unwrap();
    let storage = |size: &str| {
        let storage = json!({"size": size, "storageClassName": "verbs"});
        with(shop(), json!({"redis": {"storage": storage}}))
    };
    let claim = "data-kept-hp-redis-0";
    scene.apply("kept", storage("1Gi")).await.unwrap();
    scene.wait("kept", "Ready", "True", SOON).await;
    scene.apply("kept", storage("2Gi")).await.unwrap();
    until(scene, claim, "more asked for", |claim: &PersistentVolumeClaim| {
        check(volumes::asked(claim) == "2Gi", claim)
    })
    .await;
    volumes::resizer_grows(scene, claim).await.unwrap();
    scene.wait("kept", "Ready", "True", SOON).await;
}

async fn a_budget_made_again_and_policies_deleted(scene: &Scene) {
    until(scene, "auto", "a budget", |_: &PodDisruptionBudget| Ok::<_, String>(())).await;
    let theirs = json!({"spec": {"maxUnavailable": null, "minAvailable": 1}});
    scene.merge::<PodDisruptionBudget>("auto", theirs).await.unwrap();
    let ours = |pdb: &PodDisruptionBudget| pdb.spec.as_ref().is_some_and(|spec| spec.min_available.is_none());
    until(scene, "auto", "our budget", |pdb| check(ours(pdb), pdb)).await;
    scene.apply("auto", with(shop(), json!({"networkPolicy": {"enabled": false}}))).await.unwrap();
    eventually("no NetworkPolicy", SOON, async || {
        let found = scene.api::<NetworkPolicy>().get_opt("auto-hp-app").await;
        check(matches!(found, Ok(None)), found.is_ok())
    })
    .await;
}

async fn redis_made_external(scene: &Scene) {
    let url = json!({"metadata": {"name": "url"}, "stringData": {"url": "redis://there"}});
    let url: Secret = serde_json::from_value(url).unwrap();
    scene.api().create(&PostParams::default(), &url).await.unwrap();
    let external = json!({"mode": "External", "external": {"urlSecretRef": {"name": "url", "key": "url"}}});
    let account = serde_json::from_value(json!({"metadata": {"name": "theirs"}})).unwrap();
    scene.api::<ServiceAccount>().create(&PostParams::default(), &account).await.unwrap();
    let spec = json!({"redis": external, "serviceAccount": {"name": "theirs"}});
    scene.apply("auto", with(shop(), spec)).await.unwrap();
    eventually("no account", SOON, async || {
        let found = scene.api::<ServiceAccount>().get_opt("auto-hp-app").await;
        check(matches!(found, Ok(None)), found.is_ok())
    })
    .await;
    eventually("no password", SOON, async || {
        let found = scene.api::<Secret>().get_opt("auto-hp-redis").await;
        check(matches!(found, Ok(None)), found.is_ok())
    })
    .await;
}

async fn the_same_event_twice(server: &ApiServer, scene: &Scene) {
    scene.apply("shop", with(shop(), json!({"replicas": 2}))).await.unwrap();
    for _ in 0..2 {
        until_replicas(scene, "shop", 2).await;
        let before = unquiet(&server.audit().since(server.audit().start(), OPERATOR).unwrap()).len();
        server.kubectl(["scale", "deployment/shop", "--replicas=7", "-n", "t-verbs"]).unwrap();
        eventually("put back", SOON, async || {
            let now = unquiet(&server.audit().since(server.audit().start(), OPERATOR).unwrap()).len();
            check(now > before, now)
        })
        .await;
    }
    until_replicas(scene, "shop", 2).await;
}
