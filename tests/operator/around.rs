//! What stands around the pods: the budget of a drain, who may open connections, the Services; kept against
//! what others write into them.

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::{Value, json};
use tests::eventually::check;

use crate::world::{shop, until, with, world};

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
