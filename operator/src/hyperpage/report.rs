//! The one write of status, and only when it says something new.

use std::time::{Duration, Instant};

use crds::{Hyperpage, HyperpageStatus, Reason, contract::manager};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Resource,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{
    End, Error, Problem, Stored,
    converge::Report,
    memory::{Memory, News},
    status::{self, Sight},
    stored::Unreadable,
    tell,
};
use crate::context::Context;

/// The time after which to come back, when it can wait.
pub async fn write(
    meta: &ObjectMeta,
    status: HyperpageStatus,
    watched: Option<&HyperpageStatus>,
    context: &Context,
    memory: &mut Memory,
) -> Result<Option<Duration>, Error> {
    let params = PatchParams::apply(manager::STATUS).force();
    send(meta, status, watched, context, memory, |body| (params, Patch::Apply(body))).await
}

async fn send(
    meta: &ObjectMeta,
    status: HyperpageStatus,
    watched: Option<&HyperpageStatus>,
    context: &Context,
    memory: &mut Memory,
    patch: impl FnOnce(Value) -> (PatchParams, Patch<Value>),
) -> Result<Option<Duration>, Error> {
    match memory.news(&status, watched, Instant::now()) {
        News::None => return Ok(None),
        News::Later(wait) => return Ok(Some(wait)),
        News::Now => {}
    }
    let (name, namespace) = (meta.name.as_deref().unwrap_or_default(), meta.namespace.as_deref());
    let resource = ApiResource::erase::<Hyperpage>(&());
    let body = json!({
        "apiVersion": resource.api_version, "kind": resource.kind,
        // The uid keeps the news of a deleted Hyperpage from the next one of that name.
        "metadata": {"name": name, "uid": meta.uid}, "status": status,
    });
    // Untyped: the answer may be as unreadable as what was stored.
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.calls.clone(), namespace.unwrap_or_default(), &resource);
    let (params, patch) = patch(body);
    context.metrics.call("patch", "Hyperpage/status");
    match api.patch_status(name, &params, &patch).await {
        Ok(_) => {
            memory.wrote_status(status, Instant::now());
            Ok(None)
        }
        // Deleted, or replaced by another: nobody is left to read it.
        Err(kube::Error::Api(refusal)) if matches!(refusal.code, 404 | 409) => Ok(None),
        Err(error) => Err(Error::Report(error)),
    }
}

/// A Hyperpage that does not fit the types is told so, and the others go on.
pub async fn unreadable(
    stored: &Stored,
    unreadable: &Unreadable,
    context: &Context,
    memory: &mut Memory,
) -> Result<End, Error> {
    let meta = &unreadable.metadata;
    let (namespace, uid) =
        (meta.namespace.as_deref().unwrap_or_default(), meta.uid.as_deref().unwrap_or_default());
    let family = context.children.family(namespace, uid);
    let message = format!("the stored object does not fit the CRD: {}", unreadable.why);
    let problem = Problem { reason: Reason::InvalidSpec, message, child: None };
    let name = meta.name.as_deref().unwrap_or_default();
    let sight = Sight { problem: Some(&problem), ..Sight::of(name, meta.generation, &family) };
    let previous = memory.last_status().cloned();
    let status = status::status(&sight, previous.as_ref(), Timestamp::now());
    // Server-side apply would answer 500: it cannot type what is stored.
    let params = PatchParams { field_manager: Some(manager::STATUS.to_owned()), ..PatchParams::default() };
    let merge = |body| (params, Patch::Merge(body));
    let report = Report { problem: Some(problem), ..Report::default() };
    tell::tell(context, &stored.object_ref(&()), &report, memory).await;
    let written = send(meta, status, previous.as_ref(), context, memory, merge).await;
    let later = unless_refused(written, report.problem.as_ref())?;
    Ok(End { problem: report.problem, later, again: false })
}

/// Where a rule of the schema looks at more than the spec, or at a field of another type, the server takes no status
/// at all for an object that is older than the rule: the event has to do.
pub fn unless_refused(
    written: Result<Option<Duration>, Error>,
    problem: Option<&Problem>,
) -> Result<Option<Duration>, Error> {
    match written {
        Err(Error::Report(kube::Error::Api(refusal))) if refusal.code == 422 && problem.is_some() => Ok(None),
        written => written,
    }
}
