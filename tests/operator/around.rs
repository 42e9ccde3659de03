//! What stands around the pods: the budget of a drain, who may open connections, the Services; kept against
//! what others write into them.

use std::time::Instant;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tests::eventually::{check, eventually};

use crate::world::{SOON, shop, until, with, world};

fn budget(asked: Value) -> Value {
    with(shop(), json!({"podDisruptionBudget": asked}))
}

fn members(pdb: &PodDisruptionBudget) -> Value {
    let spec = serde_json::to_value(pdb).expect("JSON")["spec"].clone();
    json!([spec["maxUnavailable"], spec["minAvailable"], spec["unhealthyPodEvictionPolicy"]])
}

#[tokio::test]
async fn a_budget_is_there_without_asking_and_follows_the_spec() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-budget").await;
    let asked = [
        (shop(), json!([1, null, "AlwaysAllow"])),
        (budget(json!({"minAvailable": 2})), json!([null, 2, "AlwaysAllow"])),
        (budget(json!({"maxUnavailable": "50%"})), json!(["50%", null, "AlwaysAllow"])),
        (shop(), json!([1, null, "AlwaysAllow"])),
    ];
    for (spec, want) in asked {
        scene.apply("shop", spec).await.unwrap();
        until(&scene, "shop", "the budget", |pdb: &PodDisruptionBudget| {
            check(members(pdb) == want, members(pdb))
        })
        .await;
    }
    // Scaling down to what would have to stay is refused with words, not found out by a drain.
    scene.apply("shop", budget(json!({"minAvailable": 2}))).await.unwrap();
    let scaled = world.server.kubectl(["scale", "hp/shop", "--replicas=2", "-n", "t-budget"]);
    let error = scaled.unwrap_err().to_string();
    assert!(error.contains("podDisruptionBudget.minAvailable"), "{error}");
    world.server.kubectl(["scale", "hp/shop", "--replicas=0", "-n", "t-budget"]).unwrap();
}

/// A foreign manager may put the other member of the union in place of ours; both together are never stored, and an
/// apply does not remove what it does not own.
#[tokio::test]
async fn a_foreign_member_of_the_budgets_union_is_repaired() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-union").await;
    for (asked, ours, theirs) in [
        (json!({"minAvailable": 2}), json!([null, 2]), json!({"minAvailable": null, "maxUnavailable": 3})),
        (json!({"maxUnavailable": 2}), json!([2, null]), json!({"maxUnavailable": null, "minAvailable": 1})),
    ] {
        let whole = json!([ours[0], ours[1], "AlwaysAllow"]);
        let is_ours = |pdb: &PodDisruptionBudget| check(members(pdb) == whole, members(pdb));
        scene.apply("shop", budget(asked)).await.unwrap();
        until(&scene, "shop", "our member", is_ours).await;
        let theirs: PodDisruptionBudget = scene.merge("shop", json!({"spec": theirs})).await.unwrap();
        let start = Instant::now();
        let again = until(&scene, "shop", "our member again", |pdb| is_ours(pdb).map(|()| pdb.clone())).await;
        println!("a foreign member of the union repaired in {:?}", start.elapsed());
        assert_ne!(again.uid(), theirs.uid(), "made again");
    }
    // Co-owned by a stranger, the member of yesterday survives a change of the spec.
    let same = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "shop"}, "spec": {"maxUnavailable": 2}});
    let stranger = PatchParams::apply("stranger").force();
    let pdbs = scene.api::<PodDisruptionBudget>();
    pdbs.patch("shop", &stranger, &Patch::Apply(&same)).await.unwrap();
    // The broken variant: the plain apply, as often as it likes.
    let plain = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "shop"}, "spec": {"minAvailable": 1}});
    let wedged = pdbs.patch("shop", &PatchParams::apply("plain").force(), &Patch::Apply(&plain)).await;
    let Err(kube::Error::Api(refusal)) = wedged else { panic!("stored with both: {wedged:?}") };
    assert_eq!(refusal.code, 422, "{refusal:?}");
    scene.apply("shop", budget(json!({"minAvailable": 1}))).await.unwrap();
    let want = json!([null, 1, "AlwaysAllow"]);
    until(&scene, "shop", "the new member", |pdb| check(members(pdb) == want, members(pdb))).await;
    scene.wait("shop", "Stalled", "False", SOON).await;
}

/// A port of a Service by its number, which tells one port from another: an apply of ours adds a second one of the
/// same name, and the server refuses.
#[tokio::test]
async fn a_service_port_under_another_number_is_repaired_and_the_address_stays() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-port").await;
    scene.apply("shop", with(shop(), json!({"service": {"type": "NodePort"}}))).await.unwrap();
    // As kubectl edit writes it, then as people do who write the whole list.
    let edited = json!([{"$patch": "delete", "port": 80},
        {"name": "http", "port": 81, "protocol": "TCP", "targetPort": "http", "nodePort": KEPT}]);
    let moves = [
        ("shop", edited, "--type=strategic"),
        ("shop", json!([{"port": 83, "targetPort": "http", "nodePort": KEPT}]), "--type=merge"),
        ("shop-hp-redis", json!([{"name": "redis", "port": 6380}]), "--type=merge"),
        ("shop-hp-redis", json!([{"name": "redis", "port": 6379, "protocol": "UDP"}]), "--type=merge"),
    ];
    for (service, ports, type_) in moves {
        let ours =
            until(&scene, service, "a Service", |service: &Service| Ok::<_, String>(service.clone())).await;
        let node_port = numbers(&ours)[0]["nodePort"].to_string();
        let patch = json!({"spec": {"ports": ports}}).to_string().replace(&format!("\"{KEPT}\""), &node_port);
        let resource = format!("service/{service}");
        world.server.kubectl(["patch", &resource, type_, "-p", &patch, "-n", "t-port"]).unwrap();
        let start = Instant::now();
        let again = until(&scene, service, "our port again", |found: &Service| {
            check(numbers(found) == numbers(&ours), numbers(found)).map(|()| found.clone())
        })
        .await;
        println!("port of Service {service} repaired in {:?} after {patch}", start.elapsed());
        let address = |service: &Service| service.spec.as_ref().and_then(|spec| spec.cluster_ip.clone());
        assert_eq!((again.uid(), address(&again)), (ours.uid(), address(&ours)), "{patch}");
        assert_eq!(updates(&again), Vec::<&ManagedFieldsEntry>::new(), "owned for good");
    }
    scene.wait("shop", "Stalled", "False", SOON).await;
}

/// Stands for the port of the nodes that the Service had before.
const KEPT: &str = "kept";

/// What the operator would own without ever applying it.
fn updates(service: &Service) -> Vec<&ManagedFieldsEntry> {
    let update = |entry: &&ManagedFieldsEntry| {
        let ours = entry.manager.as_deref().is_some_and(|name| name.starts_with("hyperpage-operator"));
        ours && entry.operation.as_deref() == Some("Update")
    };
    service.managed_fields().iter().filter(update).collect()
}

fn port_names(service: &Service) -> Vec<String> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    ports.map(|port| port.name.clone().unwrap_or_default()).collect()
}

/// Everything that a client needs to know of its ports.
fn numbers(service: &Service) -> Value {
    let spec = serde_json::to_value(service).expect("JSON")["spec"].clone();
    spec["ports"].clone()
}

/// The broken variant: what the operator sends, without a repair.
#[tokio::test]
async fn a_plain_apply_cannot_move_a_port_back() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-port-plain").await;
    let services = scene.api::<Service>();
    let ours = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop"}, "spec": {
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}});
    let plain = PatchParams::apply("plain").force();
    services.patch("shop", &plain, &Patch::Apply(&ours)).await.unwrap();
    scene.merge::<Service>("shop", json!({"spec": {"ports": [{"name": "http", "port": 81}]}})).await.unwrap();
    let wedged = services.patch("shop", &plain, &Patch::Apply(&ours)).await;
    let Err(kube::Error::Api(refusal)) = wedged else { panic!("{wedged:?}") };
    assert_eq!(refusal.code, 422, "{refusal:?}");
}

#[tokio::test]
async fn a_foreign_node_port_is_put_back_where_the_spec_names_one_and_kept_where_it_does_not() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-node-port").await;
    let node_port =
        |port: i32| move |service: &Service| check(numbers(service)[0]["nodePort"] == port, numbers(service));
    let edit = |port: i32| json!({"spec": {"ports": [{"name": "http", "port": 80, "targetPort": "http", "nodePort": port}]}});
    scene
        .apply("fixed", with(shop(), json!({"service": {"type": "NodePort", "nodePort": 30180}})))
        .await
        .unwrap();
    until(&scene, "fixed", "our port", node_port(30180)).await;
    scene.merge::<Service>("fixed", edit(30181)).await.unwrap();
    until(&scene, "fixed", "our port again", node_port(30180)).await;
    // Under another name and number, but with the port of the nodes that is ours.
    let elsewhere = json!({"spec": {"ports": [{"name": "web", "port": 8080, "nodePort": 30180}]}});
    scene.merge::<Service>("fixed", elsewhere).await.unwrap();
    until(&scene, "fixed", "our port alone", |service: &Service| {
        check(port_names(service) == ["http"], port_names(service))
    })
    .await;
    until(&scene, "fixed", "our port again", node_port(30180)).await;

    scene.apply("free", with(shop(), json!({"service": {"type": "NodePort"}}))).await.unwrap();
    until(&scene, "free", "a Service", |_: &Service| Ok::<_, String>(())).await;
    scene.merge::<Service>("free", edit(30190)).await.unwrap();
    scene.apply("free", with(shop(), json!({"service": {"type": "NodePort", "port": 8081}}))).await.unwrap();
    until(&scene, "free", "the new port", |service: &Service| {
        check(numbers(service)[0]["port"] == 8081, numbers(service))
    })
    .await;
    until(&scene, "free", "the foreign node port", node_port(30190)).await;
}

fn policy(asked: Value) -> Value {
    with(shop(), json!({"networkPolicy": asked}))
}

/// From whom to which port, of the policy with this name.
fn allowed(policy: &NetworkPolicy) -> Value {
    let spec = serde_json::to_value(policy).expect("JSON")["spec"].clone();
    let rules = spec["ingress"].as_array().cloned().unwrap_or_default();
    rules.iter().map(|rule| json!([rule["ports"][0]["port"], rule["from"]])).collect()
}

#[tokio::test]
async fn network_policies_open_what_the_spec_says_and_go_when_they_are_disabled() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-network").await;
    let metrics = json!([4101, [{"podSelector": {}},
        {"namespaceSelector": {"matchLabels": {"hyperpage.dev/metrics": "true"}}}]]);
    let ingress = json!([{"namespaceSelector": {"matchLabels": {"team": "edge"}}, "podSelector": {}}]);
    let lan = json!([{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]);
    let asked = [
        (shop(), json!([[3000, null], metrics])),
        (policy(json!({"appFrom": ingress, "metricsFrom": lan})), json!([[3000, ingress], [4101, lan]])),
        (policy(json!({"enabled": true})), json!([[3000, null], metrics])),
    ];
    for (spec, want) in asked {
        scene.apply("shop", spec).await.unwrap();
        until(&scene, "shop-hp-app", "the policy", |policy: &NetworkPolicy| {
            check(allowed(policy) == want, allowed(policy))
        })
        .await;
    }
    until(&scene, "shop-hp-redis", "the policy", |policy: &NetworkPolicy| {
        let app = json!({"app.kubernetes.io/component": "app", "app.kubernetes.io/instance": "shop"});
        let want = json!([[6379, [{"podSelector": {"matchLabels": app}}]]]);
        check(allowed(policy) == want, allowed(policy))
    })
    .await;
    scene.apply("shop", policy(json!({"enabled": false}))).await.unwrap();
    eventually("no policy is left", SOON, async || {
        let left = scene.api::<NetworkPolicy>().list(&Default::default()).await?.items;
        anyhow::ensure!(left.is_empty(), "{left:?}");
        let events = scene.events("shop").await?;
        for policy in ["NetworkPolicy shop-hp-app", "NetworkPolicy shop-hp-redis"] {
            let deleted = format!("deleted {policy}");
            anyhow::ensure!(events.iter().any(|it| it.contains(&deleted)), "{policy}: {events:#?}");
        }
        anyhow::Ok(())
    })
    .await;
    let empty = scene.apply("shop", policy(json!({"appFrom": []}))).await.unwrap_err().to_string();
    assert!(empty.contains("spec.networkPolicy.appFrom"), "{empty}");
    let address = json!({"metricsFrom": [{"ipBlock": {"cidr": "10.0.0.1"}}]});
    let error = scene.apply("shop", policy(address)).await.unwrap_err().to_string();
    assert!(error.contains("spec.networkPolicy.metricsFrom[0].ipBlock.cidr"), "{error}");
}

/// Where the spec itself asks for what Kubernetes refuses, what is there stays, and the words are in the status.
#[tokio::test]
async fn a_policy_that_cannot_be_is_named_and_the_old_one_stays() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-network-bad").await;
    scene.apply("shop", shop()).await.unwrap();
    let before =
        until(&scene, "shop-hp-app", "the policy", |it: &NetworkPolicy| Ok::<_, String>(it.uid())).await;
    let outside = json!([{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["192.168.0.0/16"]}}]);
    scene.apply("shop", policy(json!({"appFrom": outside}))).await.unwrap();
    let stalled = scene.wait("shop", "Stalled", "True", SOON).await;
    assert_eq!(stalled.reason, "InvalidSpec", "{}", stalled.message);
    assert!(stalled.message.contains("192.168.0.0/16"), "{}", stalled.message);
    let after = scene.api::<NetworkPolicy>().get("shop-hp-app").await.unwrap();
    assert_eq!(after.uid(), before, "it was deleted for nothing");
    scene.apply("shop", shop()).await.unwrap();
    scene.wait("shop", "Stalled", "False", SOON).await;
}
