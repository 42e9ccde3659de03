//! What one Hyperpage becomes.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tests::eventually::{check, eventually};

use crate::world::{SOON, World, shop, with, world};

/// Kinds that others make of a Hyperpage's children, or that nobody makes.
const OTHERS: [&str; 8] =
    ["ControllerRevision", "EndpointSlice", "Endpoints", "Event", "Hyperpage", "Lease", "Pod", "ReplicaSet"];

/// `Kind/name` of every object of every namespaced kind but `OTHERS`, with the uid of its controller.
fn objects(world: &World, namespace: &str) -> Result<BTreeMap<String, String>> {
    let kinds = world.server.kubectl(["api-resources", "--namespaced", "--verbs=list", "-o", "name"])?;
    let kinds = kinds.lines().collect::<Vec<_>>().join(",");
    let all: Value =
        serde_json::from_str(&world.server.kubectl(["get", &kinds, "-n", namespace, "-o", "json"])?)?;
    let mut found = BTreeMap::new();
    for object in all["items"].as_array().context("a list")? {
        let kind = object["kind"].as_str().context("a kind")?;
        let (meta, none) = (&object["metadata"], Vec::new());
        let owners = meta["ownerReferences"].as_array().unwrap_or(&none);
        let controller = owners.iter().find(|owner| owner["controller"] == true);
        let uid = controller.and_then(|owner| owner["uid"].as_str()).unwrap_or("nobody");
        let object = format!("{kind}/{}", meta["name"].as_str().context("a name")?);
        if !OTHERS.contains(&kind) && object != "ServiceAccount/default" {
            found.insert(object, uid.to_owned());
        }
    }
    Ok(found)
}

#[tokio::test]
async fn the_first_reconcile_makes_exactly_the_documented_children() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-children").await;
    let autoscaling = json!({"minReplicas": 2, "maxReplicas": 4, "targetCPUUtilizationPercentage": 70});
    let hyperpage = scene.apply("shop", with(shop(), json!({"autoscaling": autoscaling}))).await.unwrap();
    let uid = hyperpage.metadata.uid.unwrap();
    let documented = [
        "ConfigMap/shop-hp-redis",
        "Deployment/shop",
        "HorizontalPodAutoscaler/shop",
        "NetworkPolicy/shop-hp-app",
        "NetworkPolicy/shop-hp-redis",
        "PodDisruptionBudget/shop",
        "Secret/shop-hp-bus",
        "Secret/shop-hp-redis",
        "Service/shop",
        "Service/shop-hp-redis",
        "ServiceAccount/shop-hp-app",
        "StatefulSet/shop-hp-redis",
    ];
    let want: BTreeMap<_, _> = documented.map(|child| (child.to_owned(), uid.clone())).into();
    eventually("the documented children, all ours", SOON, async || {
        let seen = objects(&world, "t-children").map_err(|error| error.to_string())?;
        check(seen == want, seen)
    })
    .await;
}

/// By their owner references alone: there is no finalizer that could hang.
#[tokio::test]
async fn children_go_with_their_hyperpage() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-gone").await;
    scene.apply("shop", shop()).await.unwrap();
    eventually("children", SOON, async || {
        let seen = objects(&world, "t-gone").map_err(|error| error.to_string())?;
        check(seen.len() == 11, seen)
    })
    .await;
    scene.hyperpages().delete("shop", &Default::default()).await.unwrap();
    eventually("nothing is left", SOON, async || {
        let seen = objects(&world, "t-gone").map_err(|error| error.to_string())?;
        check(seen.is_empty(), seen)
    })
    .await;
}
