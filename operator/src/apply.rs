//! Requests to the API server about children, one function each. Every write is server-side apply or a
//! delete, and says which object it means: one seen under our uid, or none at all.

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{
        DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy,
        ValidationDirective,
    },
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    children::{ChildId, Kind, Live, Owner},
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
}

/// What the API server said no to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to {verb} {what}: {source}")]
    Call { verb: &'static str, what: String, source: kube::Error },
    #[error("failed to understand the answer about {what}: {source}")]
    Answer { what: String, source: serde_json::Error },
    #[error("{0} changed owners while it was applied; looking again")]
    Owner(ChildId),
    #[error("failed to get random bytes for a password: {0}")]
    Random(String),
}

impl Error {
    /// The server's own words, if it refused the content.
    pub fn refusal(&self) -> Option<&str> {
        let Self::Call { source: kube::Error::Api(status), .. } = self else { return None };
        matches!(status.code, 403 | 422).then_some(status.message.as_str())
    }

    /// The object is not what we thought; the next look decides.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Call { source: kube::Error::Api(status), .. } if status.code == 409)
    }
}

/// Whose a name is, by a live read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    Nobody,
    Us,
    /// Its controller, or nobody in particular.
    Another(Option<Owner>),
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
    pub async fn holder(&self, id: &ChildId) -> Result<Holder, Error> {
        self.metrics.call("get", id.kind.as_str());
        let found = self.api(id.kind).get_metadata_opt(&id.name).await.map_err(|e| failed("read", id, e))?;
        let Some(found) = found else { return Ok(Holder::Nobody) };
        let owners = found.metadata.owner_references.into_iter().flatten();
        let controller = owners
            .filter(|owner| owner.controller == Some(true))
            .map(|owner| Owner { kind: owner.kind, name: owner.name, uid: owner.uid })
            .next();
        Ok(match controller {
            Some(owner) if owner.uid == self.uid => Holder::Us,
            other => Holder::Another(other),
        })
    }

    /// Asks the server what it would say, admission included.
    pub async fn rehearse(&self, wanted: &Wanted, seen: Option<&Live>) -> Result<(), Error> {
        self.metrics.call("dry-run", wanted.id.kind.as_str());
        let params = PatchParams { dry_run: true, ..params(manager::OPERATOR) };
        let body = with_uid(wanted.body.clone(), seen);
        let answer = self.api(wanted.id.kind).patch(&wanted.id.name, &params, &Patch::Apply(&body)).await;
        answer.map(drop).map_err(|error| failed("rehearse", &wanted.id, error))
    }

    pub async fn apply(&self, wanted: &Wanted, seen: Option<&Live>) -> Result<Live, Error> {
        self.patch(&wanted.id, manager::OPERATOR, with_uid(wanted.body.clone(), seen)).await
    }

    /// Creates a Deployment that starts without a single pod, which `apply` alone could not: it never sends
    /// replicas, and Kubernetes' default is one. The manager gives up all but replicas with its next write.
    pub async fn create_empty(&self, wanted: &Wanted) -> Result<Live, Error> {
        let mut body = wanted.body.clone();
        body["spec"]["replicas"] = json!(0);
        self.patch(&wanted.id, manager::REPLICAS, body).await
    }

    pub async fn scale(&self, id: &ChildId, write: Write, seen: &Live) -> Result<Live, Error> {
        let Write { replicas, held, only_if_unchanged } = write;
        let resource = id.kind.resource();
        let mut body = json!({
            "apiVersion": resource.api_version, "kind": resource.kind,
            "metadata": {"name": id.name, "uid": seen.uid}, "spec": {"replicas": replicas},
        });
        if let Some(held) = held {
            body["metadata"]["annotations"] = json!({annotation::HELD_REPLICAS: held.annotation()});
        }
        if only_if_unchanged {
            body["metadata"]["resourceVersion"] = json!(seen.version);
        }
        self.patch(id, manager::REPLICAS, body).await
    }

    pub async fn delete(&self, id: &ChildId, seen: &Live) -> Result<(), Error> {
        self.metrics.call("delete", id.kind.as_str());
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: Some(seen.uid.clone()), resource_version: None }),
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteParams::default()
        };
        match self.api(id.kind).delete(&id.name, &params).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(failed("delete", id, error)),
        }
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

    async fn patch(&self, id: &ChildId, manager: &str, body: Value) -> Result<Live, Error> {
        self.metrics.call("apply", id.kind.as_str());
        let answer = self.api(id.kind).patch(&id.name, &params(manager), &Patch::Apply(&body)).await;
        let answer = answer.map_err(|error| failed("apply", id, error))?;
        let live = Live::of_answer(id.kind, answer)
            .map_err(|source| Error::Answer { what: id.to_string(), source })?;
        if live.controlled_by(self.uid) { Ok(live) } else { Err(Error::Owner(id.clone())) }
    }

    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), self.namespace, &kind.resource())
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), self.namespace)
    }
}

fn params(manager: &str) -> PatchParams {
    PatchParams {
        field_manager: Some(manager.to_owned()),
        force: true,
        field_validation: Some(ValidationDirective::Strict),
        dry_run: false,
    }
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
