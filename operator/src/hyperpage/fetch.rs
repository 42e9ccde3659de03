//! The fetch step: what the watches show, corrected by our own last writes, and the password Secret where
//! there is a reason to read it.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use crds::{
    ConditionType, Hyperpage, HyperpageStatus, Reason, RedisMode,
    contract::{label, name},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

use super::{
    bus::{self, Bus},
    memory::{self, Memory},
    password::{self, Password},
    validate::{Access, Valid},
};
use crate::{
    apply::{Calls, Error},
    children::Family,
    claims::Claim,
    context::Context,
    pods::{Trouble, Unready},
};

pub struct Fetched {
    pub family: Family,
    /// Somebody else's autoscaler of our Deployment.
    pub foreign: Option<String>,
    /// The last status we know of.
    pub status: Option<HyperpageStatus>,
    /// An error is told in status, as those of writes are.
    pub secrets: Result<Secrets, Error>,
    pub app: Option<Trouble>,
    pub redis: Option<Trouble>,
    /// Redis' pod, while it is not ready.
    pub unready: Option<Unready>,
    /// Of Redis' volume.
    pub claim: Option<Claim>,
    /// After which a pod that has not started is a reason to look again.
    pub patience: Option<Duration>,
    /// Pods that have not started for long.
    pub late: BTreeSet<String>,
    /// Whether a sidecar has started with the external Redis; `None`: there is none.
    pub sidecar_started: Option<bool>,
}

pub struct Secrets {
    pub password: Password,
    pub bus: Bus,
}

pub fn sidecar_started(
    hyperpage: &Hyperpage,
    status: Option<&HyperpageStatus>,
    context: &Context,
) -> Option<bool> {
    let external = Access::of(&hyperpage.spec.redis).mode() == RedisMode::External;
    let (namespace, name) = (hyperpage.namespace().unwrap_or_default(), hyperpage.name_any());
    external.then(|| said_before(status) || context.pods.sidecar_started(&namespace, &name))
}

/// Once is enough: later outages are the sidecars' to tell.
fn said_before(status: Option<&HyperpageStatus>) -> bool {
    let Some(HyperpageStatus { redis: Some(redis), conditions, .. }) = status else { return false };
    let ready = |it: &Condition| it.type_ == ConditionType::RedisReady.as_str() && it.status == "True";
    redis.mode.as_deref() == Some(RedisMode::External.as_str()) && conditions.iter().any(ready)
}

/// `None` for `valid`: no Secret is needed.
pub async fn fetch(
    hyperpage: &Hyperpage,
    valid: Option<&Valid>,
    context: &Context,
    calls: &Calls<'_>,
    memory: &mut Memory,
) -> Fetched {
    let (namespace, name, uid) = (calls.namespace, hyperpage.name_any(), calls.uid);
    let family = memory.correct(context.children.family(namespace, uid), Instant::now());
    let foreign = context.children.foreign_autoscaler(namespace, &name::app(&name));
    let status = memory.last_status().or(hyperpage.status.as_ref()).cloned();
    memory.recall(&family, status.as_ref().and_then(|status| status.applied_digest.as_deref()));
    let app = context.pods.trouble(namespace, &name, label::COMPONENT_APP);
    let redis = context.pods.trouble(namespace, &name, label::COMPONENT_REDIS);
    let unready = context.pods.unready(namespace, &name);
    let claim = context.claims.of(namespace, &name).pop();
    let access = valid.map(|valid| &valid.access);
    let missing = [&app, &redis].into_iter().flatten().any(|t| t.reason == Reason::ContainerConfigError);
    // Of a password in somebody's Secret, Redis may have made something else than a password.
    let crashes = redis.as_ref().is_some_and(|trouble| trouble.reason == Reason::CrashLoop);
    let unfit = crashes && matches!(access, Some(Access::Given(_)));
    let (unstarted, now) = (context.pods.unstarted(namespace, &name), Timestamp::now());
    let (overdue, patience) = memory.patience(&unstarted, now);
    let late = memory::late(&unstarted, now);
    let doubt = missing || unfit || overdue || memory.refused || moved(hyperpage, status.as_ref(), &family);
    let password = match access.map(|access| (access, password::in_use(access, &family))) {
        None => Ok(Password::Absent),
        Some((_, Some(known))) if !doubt => Ok(known),
        Some((access, _)) => {
            password::read(calls, access, &name).await.inspect(|_| memory.looked(unstarted, now))
        }
    };
    let (told, pace) = (bus::told(status.as_ref()), context.bus_key_pace);
    let bus = match valid {
        Some(valid) => bus::look(calls, valid, told, doubt, pace, memory).await,
        None => Ok(Bus::default()),
    };
    memory.refused = matches!(password, Ok(Password::Missing(_) | Password::Unusable(_)))
        || bus.as_ref().is_ok_and(|bus| bus.problem().is_some());
    let secrets = password.and_then(|password| Ok(Secrets { password, bus: bus? }));
    let sidecar_started = sidecar_started(hyperpage, status.as_ref(), context);
    Fetched { family, foreign, status, secrets, app, redis, unready, claim, patience, late, sidecar_started }
}

/// The spec, or anything we applied, is not as it was when status was written.
fn moved(hyperpage: &Hyperpage, status: Option<&HyperpageStatus>, family: &Family) -> bool {
    let Some(status) = status else { return true };
    status.observed_generation != hyperpage.metadata.generation
        || status.applied_digest.as_deref() != Some(&memory::digest(family))
}
