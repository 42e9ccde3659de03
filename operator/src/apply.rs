//! Requests to the API server about children, one function each. Every write is server-side apply or a
//! delete, and says which object it means: one seen under our uid, or none at all.

use std::fmt;

use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, Pod, Secret},
    apimachinery::pkg::api::resource::Quantity,
};
use kube::{
    Api, Client,
    api::{
        DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy,
        ValidationDirective,
    },
    core::{Status, response::StatusCause},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    children::{ChildId, Kind, Live},
    hyperpage::scale::Write,
    metrics::Metrics,
    settled,
};
use crds::contract::{annotation, manager};

/// A child as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    pub id: ChildId,
    /// The whole object, with the annotation that carries `hash`.
    pub body: Value,
    pub hash: String,
}

impl Wanted {
    pub fn new(kind: Kind, object: &impl Serialize) -> Self {
        let mut body = serde_json::to_value(object).expect("Kubernetes objects are JSON");
        let hash = settled::hash(&body);
        body["metadata"]["annotations"][annotation::DESIRED] = json!(hash);
        let name = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        Self { id: ChildId { kind, name }, body, hash }
    }

    /// Another was wanted when the child was last applied.
    pub fn is_new_to(&self, live: Option<&Live>) -> bool {
        live.and_then(|live| live.desired.as_ref()) != Some(&self.hash)
    }
}

/// What the API server said no to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to {verb} {what}: {}", words(source))]
    Call { verb: &'static str, what: String, source: kube::Error },
    #[error("failed to understand the answer about {what}: {source}")]
    Answer { what: String, source: serde_json::Error },
    #[error("{0} changed owners while it was applied; looking again")]
    Owner(ChildId),
    #[error("Secret {0} comes and goes; looking again")]
    Vanished(String),
    #[error("failed to get random bytes for a secret: {0}")]
    Random(String),
}

impl Error {
    /// The server's own words, if it refused the content. Another spec may pass.
    pub fn refusal(&self) -> Option<&str> {
        let status = self.status()?;
        let admission = status.code == 403 && !is_unauthorized(status) && !is_terminating(status);
        (admission || status.code == 422).then_some(status.message.as_str())
    }

    /// Only what can never change in an object of this kind stands in the way.
    pub fn immutable(&self) -> bool {
        let Some(status) = self.status() else { return false };
        let causes = status.details.iter().flat_map(|details| &details.causes);
        let fixed = |cause: &StatusCause| cause.field == "spec" && cause.reason == "FieldValueForbidden";
        status.code == 422 && causes.clone().next().is_some() && causes.clone().all(fixed)
    }

    /// The server cannot store what would come of it. Two ports of a Service at one port of the nodes are an internal
    /// error to it.
    pub fn is_invalid(&self) -> bool {
        let node_port = |status: &Status| status.code == 500 && status.message.contains("duplicate nodePort");
        self.status().is_some_and(|status| status.code == 422 || node_port(status))
    }

    /// The object is not what we thought, or goes away with its namespace: the next look decides, and nobody
    /// needs to hear of it.
    pub fn passes(&self) -> bool {
        self.status().is_some_and(|status| status.code == 409 || is_terminating(status))
    }

    fn status(&self) -> Option<&Status> {
        match self {
            Self::Call { source: kube::Error::Api(status), .. } => Some(status),
            _ => None,
        }
    }
}

/// What the operator's own role lacks; admission says 403 too, but never in these words.
fn is_unauthorized(status: &Status) -> bool {
    let words = &status.message;
    words.contains("User \"") && words.contains("\" cannot ")
        || words.contains("cannot set blockOwnerDeletion")
}

fn is_terminating(status: &Status) -> bool {
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    status.code == 403 && causes.any(|cause| cause.reason == "NamespaceTerminating")
}

/// In the server's words about anything that it did not admit.
pub fn over_quota(words: &str) -> bool {
    words.contains("exceeded quota: ")
}

/// kube prints the whole answer of the server after its message.
fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// The children of one Hyperpage, for asking and writing.
pub struct Calls<'a> {
    pub client: &'a Client,
    pub metrics: &'a Metrics,
    pub namespace: &'a str,
    /// The Hyperpage's.
    pub uid: &'a str,
}

impl Calls<'_> {
    /// Whatever has this name now, whoever it belongs to.
    pub async fn find(&self, id: &ChildId) -> Result<Option<Live>, Error> {
        self.metrics.call("get", id.kind.as_str());
        let found = self.api(id.kind).get_opt(&id.name).await.map_err(|e| failed("read", id, e))?;
        found.map(|found| live(id, found)).transpose()
    }

    /// Asks the server what it would say, admission included. The answer is whether there is such an object.
    pub async fn rehearse(&self, wanted: &Wanted, seen: Option<&Live>) -> Result<bool, Error> {
        self.metrics.call("dry-run", wanted.id.kind.as_str());
        let params = PatchParams { dry_run: true, ..params(manager::OPERATOR) };
        let body = with_uid(wanted.body.clone(), seen);
        let answer = self.api(wanted.id.kind).patch(&wanted.id.name, &params, &Patch::Apply(&body)).await;
        let answer = answer.map_err(|error| failed("rehearse", &wanted.id, error))?;
        // One that was never stored has no version.
        Ok(answer.metadata.resource_version.is_some_and(|version| !version.is_empty()))
    }

    /// Asks the same about a new object, whatever is there under its name.
    pub async fn rehearse_new(&self, wanted: &Wanted) -> Result<(), Error> {
        let id = &wanted.id;
        self.metrics.call("dry-run", id.kind.as_str());
        let mut body = wanted.body.clone();
        body["metadata"]["name"] = Value::Null;
        body["metadata"]["generateName"] = json!(format!("{}-", id.name));
        let object =
            serde_json::from_value(body).map_err(|source| Error::Answer { what: id.to_string(), source })?;
        let params = PostParams { dry_run: true, field_manager: Some(manager::OPERATOR.to_owned()) };
        let answer = self.api(id.kind).create(&params, &object).await;
        answer.map(drop).map_err(|error| failed("rehearse", id, error))
    }

    pub async fn apply(&self, wanted: &Wanted, seen: Option<&Live>) -> Result<Live, Error> {
        let (params, body) = request(wanted, seen);
        self.patch(&wanted.id, params, body).await
    }

    /// Creates a Deployment that starts without a single pod, which `apply` alone could not: it never sends
    /// replicas, and Kubernetes' default is one. The manager gives up all but replicas with its next write.
    pub async fn create_empty(&self, wanted: &Wanted) -> Result<Live, Error> {
        // Not by force: should it exist after all, somebody else decides how many pods it has.
        let params = PatchParams { force: false, ..params(manager::REPLICAS) };
        self.patch(&wanted.id, params, empty(wanted)).await
    }

    pub async fn scale(&self, id: &ChildId, write: Write, seen: &Live) -> Result<Live, Error> {
        let Write { replicas, notes, only_if_unchanged } = write;
        let resource = id.kind.resource();
        let mut body = json!({
            "apiVersion": resource.api_version, "kind": resource.kind,
            "metadata": {"name": id.name, "uid": seen.uid, "annotations": notes.annotations()},
            "spec": {"replicas": replicas},
        });
        if only_if_unchanged {
            body["metadata"]["resourceVersion"] = json!(seen.version);
        }
        self.patch(id, params(manager::REPLICAS), body).await
    }

    pub async fn delete(&self, id: &ChildId, seen: &Live) -> Result<(), Error> {
        self.remove(id, seen, PropagationPolicy::Background).await
    }

    /// Deletes it and leaves all that it owns, pods and claims, where it is.
    pub async fn orphan(&self, id: &ChildId, seen: &Live) -> Result<(), Error> {
        self.remove(id, seen, PropagationPolicy::Orphan).await
    }

    /// A merge and no apply: it never makes a claim, and takes nothing from the StatefulSet controller, which made
    /// this one.
    pub async fn grow(&self, name: &str, uid: &str, size: &Quantity) -> Result<(), Error> {
        self.metrics.call("patch", "PersistentVolumeClaim");
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), self.namespace);
        let body = json!({"metadata": {"uid": uid}, "spec": {"resources": {"requests": {"storage": size}}}});
        match claims.patch_metadata(name, &merging(), &Patch::Merge(&body)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(source) => {
                Err(Error::Call { verb: "grow", what: format!("PersistentVolumeClaim {name}"), source })
            }
        }
    }

    pub async fn delete_pod(&self, name: &str, uid: &str) -> Result<(), Error> {
        self.metrics.call("delete", "Pod");
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), self.namespace);
        match delete(&pods, name, uid, None).await {
            // A successor of its name is what the deletion is for.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            answer => {
                answer.map_err(|source| Error::Call { verb: "delete", what: format!("Pod {name}"), source })
            }
        }
    }

    async fn remove(&self, id: &ChildId, seen: &Live, policy: PropagationPolicy) -> Result<(), Error> {
        self.metrics.call("delete", id.kind.as_str());
        let answer = delete(&self.api(id.kind), &id.name, &seen.uid, Some(policy)).await;
        answer.map_err(|error| failed("delete", id, error))
    }

    /// The object with all that its watch leaves out.
    pub async fn whole(&self, id: &ChildId) -> Result<Value, Error> {
        self.metrics.call("get", id.kind.as_str());
        let found = self.api(id.kind).get(&id.name).await.map_err(|error| failed("read", id, error))?;
        serde_json::to_value(found).map_err(|source| Error::Answer { what: id.to_string(), source })
    }

    /// Says anew who owns which field. The object's version is a condition: another one is a conflict.
    pub async fn own(&self, id: &ChildId, metadata: Value) -> Result<(), Error> {
        self.metrics.call("patch", id.kind.as_str());
        let body = json!({"metadata": metadata});
        let answer = self.api(id.kind).patch(&id.name, &merging(), &Patch::Merge(&body)).await;
        answer.map(drop).map_err(|error| failed("patch", id, error))
    }

    pub async fn secret(&self, name: &str) -> Result<Option<Secret>, Error> {
        self.metrics.call("get", "Secret");
        self.secrets().get_opt(name).await.map_err(|source| secret_failed("read", name, source))
    }

    /// `None` when somebody was faster. A POST, because an apply would overwrite theirs.
    pub async fn create_secret(&self, name: &str, secret: &Secret) -> Result<Option<Secret>, Error> {
        self.metrics.call("create", "Secret");
        let params = PostParams { dry_run: false, field_manager: Some(manager::OPERATOR.to_owned()) };
        match self.secrets().create(&params, secret).await {
            Ok(created) => Ok(Some(created)),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
            Err(source) => Err(secret_failed("create", name, source)),
        }
    }

    pub async fn delete_secret(&self, name: &str, uid: &str) -> Result<(), Error> {
        self.metrics.call("delete", "Secret");
        delete(&self.secrets(), name, uid, None).await.map_err(|source| secret_failed("delete", name, source))
    }

    /// A merge; the answer is without content. `false` when it is gone.
    pub async fn patch_secret(&self, name: &str, verb: &'static str, body: &Value) -> Result<bool, Error> {
        self.metrics.call("patch", "Secret");
        match self.secrets().patch_metadata(name, &merging(), &Patch::Merge(body)).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            Err(source) => Err(secret_failed(verb, name, source)),
        }
    }

    async fn patch(&self, id: &ChildId, params: PatchParams, body: Value) -> Result<Live, Error> {
        self.metrics.call("apply", id.kind.as_str());
        let answer = self.api(id.kind).patch(&id.name, &params, &Patch::Apply(&body)).await;
        let live = live(id, answer.map_err(|error| failed("apply", id, error))?)?;
        if live.controlled_by(self.uid) { Ok(live) } else { Err(Error::Owner(id.clone())) }
    }

    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), self.namespace, &kind.resource())
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), self.namespace)
    }
}

/// That object and no successor of its name. One that is gone already is no error.
async fn delete<K>(
    api: &Api<K>,
    name: &str,
    uid: &str,
    policy: Option<PropagationPolicy>,
) -> Result<(), kube::Error>
where
    K: Clone + fmt::Debug + DeserializeOwned,
{
    let params = DeleteParams {
        preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
        propagation_policy: policy,
        ..DeleteParams::default()
    };
    match api.delete(name, &params).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        answer => answer.map(drop),
    }
}

/// Of a merge, under our name.
fn merging() -> PatchParams {
    PatchParams { field_manager: Some(manager::OPERATOR.to_owned()), ..PatchParams::default() }
}

fn params(manager: &str) -> PatchParams {
    PatchParams {
        field_manager: Some(manager.to_owned()),
        force: true,
        field_validation: Some(ValidationDirective::Strict),
        dry_run: false,
    }
}

/// By force only into what was seen as ours, and into no successor of its name. In what somebody made since we looked,
/// their fields stand against ours: a conflict, and another look.
fn request(wanted: &Wanted, seen: Option<&Live>) -> (PatchParams, Value) {
    let params = PatchParams { force: seen.is_some(), ..params(manager::OPERATOR) };
    (params, with_uid(wanted.body.clone(), seen))
}

/// Without the hash: that says what the operator's own manager has applied, which is yet to come.
fn empty(wanted: &Wanted) -> Value {
    let mut body = wanted.body.clone();
    body["spec"]["replicas"] = json!(0);
    if let Some(annotations) = body["metadata"]["annotations"].as_object_mut() {
        annotations.remove(annotation::DESIRED);
    }
    body
}

fn live(id: &ChildId, answer: DynamicObject) -> Result<Live, Error> {
    Live::of_answer(id.kind, answer).map_err(|source| Error::Answer { what: id.to_string(), source })
}

/// An apply that names a uid fails when the object has been replaced by another of that name.
fn with_uid(mut body: Value, seen: Option<&Live>) -> Value {
    if let Some(seen) = seen {
        body["metadata"]["uid"] = json!(seen.uid);
    }
    body
}

fn failed(verb: &'static str, id: &ChildId, source: kube::Error) -> Error {
    Error::Call { verb, what: id.to_string(), source }
}

fn secret_failed(verb: &'static str, name: &str, source: kube::Error) -> Error {
    Error::Call { verb, what: format!("Secret {name}"), source }
}

#[cfg(test)]
mod tests;
