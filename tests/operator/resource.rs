//! The generated resource, judged by a real API server: no operator runs here.

use kube::api::DynamicObject;
use serde_json::{Value, json};
use tests::apiserver::ApiServer;
use tests::binaries::workspace;
use tests::eventually::eventually;
use tests::kube::{Scene, hyperpage};

use crate::world::{SOON, machine, scene, shop};

/// The same examples that the client's CEL judges in the unit tests of `crds`.
#[path = "../../crds/src/tests/examples.rs"]
mod examples;

mod rules {
    pub(super) struct Example {
        pub(super) at: &'static str,
        pub(super) message: &'static str,
        pub(super) accepts: &'static str,
        pub(super) rejects: &'static str,
    }

    pub(super) struct Transition {
        pub(super) at: &'static str,
        pub(super) message: &'static str,
        pub(super) before: &'static str,
        pub(super) accepts: &'static str,
        pub(super) rejects: &'static str,
    }
}

#[tokio::test]
async fn the_generated_resource_is_established_and_judges_as_its_examples_say() {
    let _machine = machine().await;
    let Some(server) = ApiServer::start("resource", &[]).await else { return };
    let file = workspace().join("crds/hyperpages.hyperpage.dev.yaml");
    let crd = std::fs::read_to_string(file).unwrap();
    server.apply(&crd, "crd.yaml").unwrap();
    let wait = ["wait", "--for=condition=Established", "--timeout=20s", "crd/hyperpages.hyperpage.dev"];
    server.kubectl(wait).unwrap();
    let path = "jsonpath={.status.conditions[?(@.type==\"NonStructuralSchema\")].message}";
    assert_eq!(server.kubectl(["get", "crd", "hyperpages.hyperpage.dev", "-o", path]).unwrap(), "");
    eventually("kubectl explain", SOON, async || {
        let explained = server.kubectl(["explain", "hp.spec.autoscaling.targetCPUUtilizationPercentage"])?;
        anyhow::ensure!(explained.contains("DESCRIPTION"), "{explained}");
        anyhow::Ok(())
    })
    .await;
    let scene = scene(&server, "t-resource").await;
    defaults(&scene).await;
    for rules::Example { at, message, accepts, rejects } in examples::EXAMPLES {
        if let Err(error) = judge(&scene, accepts).await {
            panic!("refused at {at}: {accepts}\n{error}");
        }
        let error = judge(&scene, rejects).await.expect_err(rejects);
        assert!(error.contains(message), "{at}: {rejects}\n{error}");
    }
    for (index, transition) in examples::TRANSITIONS.iter().enumerate() {
        judge_update(&scene, &format!("before-{index}"), transition).await;
    }
    println!(
        "{} rules and {} transitions judged by the server",
        examples::EXAMPLES.len(),
        examples::TRANSITIONS.len()
    );
}

async fn defaults(scene: &Scene) {
    let stored = scene.apply("shop", shop()).await.unwrap();
    let spec = &stored.data["spec"];
    assert_eq!(spec["replicas"], 3);
    assert_eq!(spec["app"]["port"], 3000);
    assert_eq!(spec["service"]["port"], 80);
    assert_eq!(spec["redis"]["mode"], "Standalone");
}

async fn judge_update(scene: &Scene, name: &str, transition: &rules::Transition) {
    let rules::Transition { at, message, before, accepts, rejects } = transition;
    let post = kube::api::PostParams::default();
    let stored = scene.hyperpages().create(&post, &over_the_least(scene, name, before)).await.unwrap();
    let replace = async |with: &str| {
        let mut object = over_the_least(scene, name, with);
        object.metadata.resource_version.clone_from(&stored.metadata.resource_version);
        let dry = kube::api::PostParams { dry_run: true, ..Default::default() };
        scene.hyperpages().replace(name, &dry, &object).await.map(drop).map_err(|error| error.to_string())
    };
    if let Err(error) = replace(accepts).await {
        panic!("refused at {at}: {before} -> {accepts}\n{error}");
    }
    let error = replace(rejects).await.expect_err(rejects);
    assert!(error.contains(message), "{at}: {before} -> {rejects}\n{error}");
}

fn over_the_least(scene: &Scene, name: &str, example: &str) -> DynamicObject {
    let mut whole = hyperpage(&scene.namespace, name, &json!({}), &shop());
    merge(&mut whole, serde_yaml::from_str(example).unwrap());
    serde_json::from_value(whole).unwrap()
}

/// The example over the least Hyperpage, sent as a dry run.
async fn judge(scene: &Scene, example: &str) -> Result<(), String> {
    let object = over_the_least(scene, "probe", example);
    let dry = kube::api::PostParams { dry_run: true, ..Default::default() };
    scene.hyperpages().create(&dry, &object).await.map(drop).map_err(|error| error.to_string())
}

fn merge(target: &mut Value, patch: Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (target, patch) => *target = patch,
    }
}
