//! How long a stranger's edit of a field that the operator owns lasts.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use crds::contract::name;
use futures::{StreamExt, TryStreamExt, stream};
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

/// At most so many in all, of at most so many Hyperpages, so many at a time.
const EDITS: usize = 120;
const HYPERPAGES: usize = 40;
const HANDS: usize = 4;
/// More than ten moves of one child within a minute are a conflict, and left alone.
const ROUNDS: usize = 6;
const PAUSE: Duration = Duration::from_millis(10);
const LIMIT: Duration = Duration::from_secs(60);

struct Edit {
    namespace: String,
    name: String,
    resource: ApiResource,
    field: &'static str,
    patch: Value,
}

/// Times from the answer to the edit until the object is as it was, sorted.
pub(crate) async fn repair(client: &Client, hyperpages: &[(String, String)]) -> Result<Vec<Duration>> {
    let sample = hyperpages.len().min(HYPERPAGES);
    if sample == 0 {
        return Ok(Vec::new());
    }
    // Edits of one Hyperpage follow each other, so that none is repaired along with another's.
    let per_hyperpage = (EDITS / sample).min(ROUNDS * KINDS);
    let step = hyperpages.len() / sample;
    let owners = stream::iter(hyperpages.iter().step_by(step).take(sample)).map(Ok::<_, anyhow::Error>);
    let times = owners.map_ok(|(namespace, name)| async move {
        let mut times = Vec::new();
        for number in 0..per_hyperpage {
            times.push(once(client, edit(namespace, name, number)).await?);
        }
        anyhow::Ok(times)
    });
    let mut times: Vec<_> = times.try_buffer_unordered(HANDS).try_concat().await?;
    times.sort();
    Ok(times)
}

const KINDS: usize = 5;

fn edit(namespace: &str, hyperpage: &str, number: usize) -> Edit {
    let round = number / KINDS;
    let astray = json!({"app.kubernetes.io/instance": format!("x{round}")});
    let grace = json!({"template": {"spec": {"terminationGracePeriodSeconds": 100 + round}}});
    let (group, version, kind, name, field, value) = match number % KINDS {
        0 => ("", "v1", "Service", name::app(hyperpage), "spec", json!({"selector": astray})),
        1 => ("apps", "v1", "Deployment", name::app(hyperpage), "spec", grace),
        2 => (
            "",
            "v1",
            "ConfigMap",
            name::redis(hyperpage),
            "data",
            json!({"redis.conf": format!("# {round}")}),
        ),
        3 => ("apps", "v1", "StatefulSet", name::redis(hyperpage), "spec", grace),
        _ => (
            "policy",
            "v1",
            "PodDisruptionBudget",
            name::app(hyperpage),
            "spec",
            json!({"maxUnavailable": 2 + round}),
        ),
    };
    let kind = kube::api::GroupVersionKind::gvk(group, version, kind);
    Edit {
        namespace: namespace.to_owned(),
        name,
        resource: ApiResource::from_gvk(&kind),
        field,
        patch: json!({field: value}),
    }
}

async fn once(client: &Client, edit: Edit) -> Result<Duration> {
    let Edit { namespace, name, resource, field, patch } = edit;
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
    let whole = api.get(&name).await?.data[field].take();
    let edited = api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
    let start = Instant::now();
    ensure!(edited.data[field] != whole, "{} {name}: the edit changed nothing", resource.kind);
    while api.get(&name).await.context("an edited object")?.data[field] != whole {
        ensure!(start.elapsed() < LIMIT, "{} {name} is not repaired within {LIMIT:?}", resource.kind);
        tokio::time::sleep(PAUSE).await;
    }
    Ok(start.elapsed())
}
