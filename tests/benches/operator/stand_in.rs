//! What controllers and kubelets would do, without their cost: workloads are said to run as soon as they are there, and
//! pods are made of their templates once all of them do. The real ones, on one machine with the operator, would be what
//! is measured.

use std::fmt::Debug;

use anyhow::{Context, Result};
use futures::{Stream, StreamExt, TryStreamExt, future, stream};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec, ServiceAccount};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tests::kube::Scene;
use tests::nodes;
use tokio::task::JoinSet;

const REVISION: &str = "r-1";
/// Requests at a time.
const HANDS: usize = 8;

/// Answers every workload and autoscaler until it is dropped.
pub(crate) fn controllers(client: &Client) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(answer::<Deployment>(client.clone(), |deployment| {
        let meta = &deployment.metadata;
        let wanted = deployment.spec.as_ref()?.replicas?;
        let status = deployment.status.as_ref();
        let said = status.and_then(|status| status.observed_generation) == meta.generation
            && status.and_then(|status| status.ready_replicas).unwrap_or(0) == wanted;
        (!said).then(|| running(meta.generation, wanted))
    }));
    tasks.spawn(answer::<StatefulSet>(client.clone(), |set| {
        let (generation, wanted) = (set.metadata.generation, set.spec.as_ref()?.replicas?);
        if set.status.as_ref().and_then(|status| status.observed_generation) == generation {
            return None;
        }
        let mut status = running(generation, wanted);
        status["currentReplicas"] = json!(wanted);
        (status["currentRevision"], status["updateRevision"]) = (json!(REVISION), json!(REVISION));
        Some(status)
    }));
    tasks.spawn(answer::<HorizontalPodAutoscaler>(client.clone(), |hpa| {
        let said = hpa.status.as_ref().is_some_and(|status| status.conditions.is_some());
        let condition = |type_: &str| json!({"type": type_, "status": "True"});
        (!said).then(|| {
            json!({"currentReplicas": 2, "desiredReplicas": 2,
                   "conditions": [condition("AbleToScale"), condition("ScalingActive")]})
        })
    }));
    tasks
}

fn running(generation: Option<i64>, replicas: i32) -> Value {
    json!({"observedGeneration": generation, "replicas": replicas, "updatedReplicas": replicas,
           "readyReplicas": replicas, "availableReplicas": replicas})
}

async fn answer<K>(client: Client, judge: impl Fn(&K) -> Option<Value>)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    let answers = objects(Api::<K>::all(client.clone())).for_each_concurrent(HANDS, |object| {
        let (client, status) = (client.clone(), judge(&object));
        async move {
            let Some(status) = status else { return };
            let api: Api<K> = Api::namespaced(client, &object.namespace().unwrap_or_default());
            let patch = Patch::Merge(json!({"status": status}));
            if let Err(error) = api.patch_status(&object.name_any(), &PatchParams::default(), &patch).await {
                eprintln!("{}: {error}", object.name_any());
            }
        }
    });
    answers.await;
}

/// As they are and become. A watch that ends begins again.
pub(crate) fn objects<K>(api: Api<K>) -> impl Stream<Item = K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let events = watcher(api, watcher::Config::default()).default_backoff();
    events.applied_objects().filter_map(|object| future::ready(object.ok()))
}

/// Without which a namespace takes no pod.
pub(crate) async fn default_account(scene: &Scene) -> Result<()> {
    let mut account = ServiceAccount::default();
    account.metadata.name = Some("default".to_owned());
    scene.api().create(&PostParams::default(), &account).await?;
    Ok(())
}

/// All pods of all workloads, ready; how many.
pub(crate) async fn pods(client: &Client) -> Result<usize> {
    let all = ListParams::default();
    let mut pods = Vec::new();
    for it in Api::<Deployment>::all(client.clone()).list(&all).await?.items {
        let (meta, spec) = (it.metadata, it.spec.context("a spec")?);
        pods.extend((0..spec.replicas.unwrap_or(1)).map(|number| pod(&meta, &spec.template, number)));
    }
    for it in Api::<StatefulSet>::all(client.clone()).list(&all).await?.items {
        let (meta, spec) = (it.metadata, it.spec.context("a spec")?);
        pods.extend((0..spec.replicas.unwrap_or(1)).map(|number| pod(&meta, &spec.template, number)));
    }
    let count = pods.len();
    let made =
        stream::iter(pods).map(Ok::<_, anyhow::Error>).try_for_each_concurrent(HANDS, |pod| async move {
            let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
            let pod = api.create(&PostParams::default(), &pod).await?;
            let status = Patch::Merge(json!({"status": nodes::ready(&pod)}));
            api.patch_status(&pod.name_any(), &PatchParams::default(), &status).await?;
            Ok(())
        });
    made.await?;
    Ok(count)
}

fn pod(owner: &kube::api::ObjectMeta, template: &PodTemplateSpec, number: i32) -> Pod {
    let mut metadata = template.metadata.clone().unwrap_or_default();
    metadata.name = Some(format!("{}-{number}", owner.name.as_deref().unwrap_or_default()));
    metadata.namespace.clone_from(&owner.namespace);
    let label = ("controller-revision-hash".to_owned(), REVISION.to_owned());
    metadata.labels.get_or_insert_default().extend([label]);
    Pod { metadata, spec: template.spec.clone(), status: None }
}
