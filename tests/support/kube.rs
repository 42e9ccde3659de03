//! What tests ask of objects: Hyperpages as plain JSON (so that wrong ones can be written too), their conditions,
//! and who owns which field.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ManagedFieldsEntry};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
    PostParams,
};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::eventually::eventually;

/// The team's own field manager, as `kubectl apply` would be.
const TEAM: &str = "team";

/// One namespace, as the administrator sees it.
#[derive(Clone)]
pub struct Scene {
    pub client: Client,
    pub namespace: String,
}

impl Scene {
    /// A namespace in which pods must be restricted.
    pub async fn open(client: Client, namespace: &str) -> Result<Self> {
        let enforce = "pod-security.kubernetes.io/enforce";
        let object: Namespace = serde_json::from_value(json!({
            "metadata": {"name": namespace, "labels": {enforce: "restricted"}},
        }))?;
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &object).await?;
        Ok(Self { client, namespace: namespace.to_owned() })
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn hyperpages(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &hyperpage_resource())
    }

    /// `kubectl apply` of a Hyperpage.
    pub async fn apply(&self, name: &str, spec: Value) -> Result<DynamicObject> {
        self.apply_with(name, json!({}), spec).await
    }

    pub async fn apply_with(&self, name: &str, annotations: Value, spec: Value) -> Result<DynamicObject> {
        let object = hyperpage(&self.namespace, name, &annotations, &spec);
        Ok(self.hyperpages().patch(name, &PatchParams::apply(TEAM).force(), &Patch::Apply(&object)).await?)
    }

    pub async fn merge<K>(&self, name: &str, patch: Value) -> Result<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        Ok(self.api::<K>().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?)
    }

    pub async fn condition(&self, name: &str, type_: &str) -> Result<Condition> {
        let object = self.hyperpages().get(name).await?;
        let found = conditions(&object).into_iter().find(|c| c.type_ == type_);
        found.with_context(|| format!("{name} has no condition {type_} yet: {}", object.data["status"]))
    }

    /// Waits until the condition has this status for the generation that is stored now, and gives it.
    pub async fn wait(&self, name: &str, type_: &str, status: &str, within: Duration) -> Condition {
        let what = format!("{}/{name} {type_}={status}", self.namespace);
        eventually(&what, within, async || {
            let object = self.hyperpages().get(name).await?;
            let all = conditions(&object);
            let seen = all.iter().find(|c| c.type_ == type_ && c.status == status);
            let fresh = seen.filter(|c| c.observed_generation == object.metadata.generation);
            fresh.cloned().with_context(|| summary(&all))
        })
        .await
    }

    pub async fn delete<K>(&self, name: &str) -> Result<()>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        self.api::<K>().delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// The app's pods of a Hyperpage (`component` is `app` or `redis`).
    pub async fn pods(&self, name: &str, component: &str) -> Result<Vec<Pod>> {
        use crds::contract::label::{COMPONENT, INSTANCE};
        let selector = format!("{INSTANCE}={name},{COMPONENT}={component}");
        let pods = self.api::<Pod>().list(&ListParams::default().labels(&selector)).await?.items;
        Ok(pods.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect())
    }

    /// `Warning ForeignChange put back …` of every event that regards `name`.
    pub async fn events(&self, name: &str) -> Result<Vec<String>> {
        let all = self.api::<Event>().list(&ListParams::default()).await?.items;
        let mut lines = Vec::new();
        for event in all {
            if event.regarding.as_ref().and_then(|it| it.name.as_deref()) == Some(name) {
                let parts = [event.type_, event.reason, event.action, event.note];
                lines.push(parts.into_iter().flatten().collect::<Vec<_>>().join(" "));
            }
        }
        Ok(lines)
    }
}

pub fn hyperpage_resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("hyperpage.dev", "v1alpha1", "Hyperpage"),
        "hyperpages",
    )
}

pub fn hyperpage(namespace: &str, name: &str, annotations: &Value, spec: &Value) -> Value {
    json!({
        "apiVersion": "hyperpage.dev/v1alpha1",
        "kind": "Hyperpage",
        "metadata": {"name": name, "namespace": namespace, "annotations": annotations},
        "spec": spec,
    })
}

pub fn conditions(object: &DynamicObject) -> Vec<Condition> {
    serde_json::from_value(object.data["status"]["conditions"].clone()).unwrap_or_default()
}

/// `Ready=False/Progressing "2 of 3 pods are ready"; …`
pub fn summary(conditions: &[Condition]) -> String {
    let line = |c: &Condition| format!("{}={}/{} {:?}", c.type_, c.status, c.reason, c.message);
    conditions.iter().map(line).collect::<Vec<_>>().join("; ")
}

/// Managers with an entry that contains the field `path`, such as `["f:spec", "f:replicas"]`.
pub fn owners(object: &impl ResourceExt, path: &[&str]) -> Vec<String> {
    let holds = |entry: &&ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        path.iter().try_fold(fields, |at, step| at.map(|at| at.get(step))).flatten().is_some()
    };
    object.managed_fields().iter().filter(holds).filter_map(|entry| entry.manager.clone()).collect()
}
