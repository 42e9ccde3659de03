//! What the operator reports, from what it sees. Pure: the same sight gives the same status, but for the time
//! at which a condition last changed.

mod parts;

use std::collections::BTreeSet;

use crds::{
    ConditionType, HyperpageStatus, Reason,
    contract::{SIDECAR_CONTAINER, annotation, name},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{
    Problem, build,
    bus::{self, Kept},
    validate::Valid,
};
use crate::{
    apply::over_quota,
    children::{Autoscaler, ChildId, Detail, Family, Kind, Rollout},
    pods::Trouble,
};

/// All that status depends on.
#[derive(Clone, Debug)]
pub struct Sight<'a> {
    pub name: &'a str,
    /// Observed once it has been applied, or cannot be.
    pub generation: Option<i64>,
    /// `None`: the spec is not valid, and what an earlier status said about it stands.
    pub valid: Option<&'a Valid>,
    pub family: &'a Family,
    /// Digest of the children when all were applied.
    pub digest: Option<String>,
    pub app: Option<&'a Trouble>,
    pub redis: Option<&'a Trouble>,
    pub problem: Option<&'a Problem>,
    /// What Kubernetes has to do first, or did not do.
    pub waiting: Option<(Reason, String)>,
    pub held: Option<i32>,
    /// What becomes of a pod of Redis that does not get on.
    pub cure: Option<&'static str>,
    /// Pods of which nothing has started for long.
    pub late: BTreeSet<String>,
    /// Nothing is written until its user says so.
    pub paused: bool,
    /// Whether a sidecar has started with the external Redis; `None`: there is none.
    pub sidecar_started: Option<bool>,
    pub bus: &'a Kept,
}

impl<'a> Sight<'a> {
    /// Nothing but what the watches show, of a spec that nobody has looked at.
    pub fn of(name: &'a str, generation: Option<i64>, family: &'a Family) -> Self {
        Self {
            name,
            generation,
            valid: None,
            family,
            digest: None,
            app: None,
            redis: None,
            problem: None,
            waiting: None,
            held: None,
            cure: None,
            late: BTreeSet::new(),
            paused: false,
            sidecar_started: None,
            bus: &Kept::Unknown,
        }
    }
}

/// One condition, before times.
#[derive(Clone, Debug, PartialEq)]
struct Verdict {
    /// `None`: unknown.
    holds: Option<bool>,
    reason: Reason,
    message: String,
}

impl Verdict {
    fn new(holds: bool, reason: Reason, message: impl Into<String>) -> Self {
        Self { holds: Some(holds), reason, message: message.into() }
    }

    fn is_true(&self) -> bool {
        self.holds == Some(true)
    }
}

pub fn status(sight: &Sight<'_>, previous: Option<&HyperpageStatus>, now: Timestamp) -> HyperpageStatus {
    let none = HyperpageStatus::default();
    let previous = previous.unwrap_or(&none);
    let rollout = rollout(sight, Kind::Deployment, &name::app(sight.name));
    let wanted = rollout.map_or(0, |rollout| rollout.wanted);
    let ready = rollout.map_or(0, |rollout| rollout.ready);
    let valid = sight.valid;
    let observed = observed(sight, previous);
    HyperpageStatus {
        observed_generation: observed,
        replicas: Some(rollout.map_or(0, |rollout| rollout.replicas)),
        ready_replicas: Some(ready),
        app: Some(format!("{ready}/{wanted}")),
        selector: valid.map_or_else(|| previous.selector.clone(), |valid| Some(build::app_selector(valid))),
        sidecar: valid.map_or_else(
            || previous.sidecar.clone(),
            |valid| Some(parts::sidecar(sight, valid, rollout, bus::told(Some(previous)))),
        ),
        redis: valid
            .map_or_else(|| previous.redis.clone(), |valid| Some(parts::redis(sight, valid, previous))),
        applied_digest: sight.digest.clone().or_else(|| previous.applied_digest.clone()),
        conditions: conditions(sight, observed, &previous.conditions, now),
    }
}

/// A spec of which something is still to be applied is not observed: whoever waits for it waits on.
fn observed(sight: &Sight<'_>, previous: &HyperpageStatus) -> Option<i64> {
    match sight.waiting.is_some() || sight.paused {
        true => previous.observed_generation,
        false => sight.generation,
    }
}

fn conditions(
    sight: &Sight<'_>,
    observed: Option<i64>,
    previous: &[Condition],
    now: Timestamp,
) -> Vec<Condition> {
    let (app, redis) = (for_want_of_a_secret(sight, app(sight)), for_want_of_a_secret(sight, redis(sight)));
    let autoscaling = autoscaling(sight);
    let stalled = stalled(sight, &app);
    let ready = match &sight.waiting {
        Some((reason, message)) if observed != sight.generation && !stalled.is_true() => {
            Verdict::new(false, *reason, message)
        }
        // While no pod runs, nobody can tell of an external Redis.
        _ if redis.holds.is_none() && suspended(sight) => ready(&stalled, &app, &[&autoscaling]),
        _ => ready(&stalled, &app, &[&redis, &autoscaling]),
    };
    let reconciling = reconciling(sight, &stalled, &ready);
    ConditionType::ALL
        .into_iter()
        .map(|type_| {
            let verdict = match type_ {
                ConditionType::Ready => &ready,
                ConditionType::Reconciling => &reconciling,
                ConditionType::Stalled => &stalled,
                ConditionType::AppReady => &app,
                ConditionType::RedisReady => &redis,
                ConditionType::AutoscalingReady => &autoscaling,
            };
            condition(type_, verdict, observed, previous, now)
        })
        .collect()
}

fn condition(
    type_: ConditionType,
    verdict: &Verdict,
    generation: Option<i64>,
    previous: &[Condition],
    now: Timestamp,
) -> Condition {
    let status = match verdict.holds {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let before = previous.iter().find(|before| before.type_ == type_.as_str() && before.status == status);
    Condition {
        type_: type_.as_str().to_owned(),
        status: status.to_owned(),
        reason: verdict.reason.as_str().to_owned(),
        message: verdict.message.clone(),
        observed_generation: generation,
        // Status stores whole seconds; a finer time here would differ from what comes back.
        last_transition_time: before
            .map_or_else(|| Time(whole_seconds(now)), |before| before.last_transition_time.clone()),
    }
}

fn whole_seconds(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

fn rollout<'a>(sight: &Sight<'a>, kind: Kind, name: &str) -> Option<&'a Rollout> {
    sight.family.get(&ChildId { kind, name: name.to_owned() })?.rollout()
}

fn app(sight: &Sight<'_>) -> Verdict {
    let name = name::app(sight.name);
    let Some(rollout) = rollout(sight, Kind::Deployment, &name) else {
        return Verdict::new(false, Reason::Progressing, format!("Deployment {name} does not exist yet"));
    };
    let (ready, wanted) = (rollout.ready.min(rollout.updated), rollout.wanted);
    if complete(rollout) && wanted == 0 && suspended(sight) {
        return Verdict::new(true, Reason::Suspended, "suspended: no pod runs until spec.suspend is false");
    }
    if complete(rollout) {
        let held = sight
            .held
            .map(|at| format!("; held at {at} since autoscaling was removed, until spec.replicas changes"));
        let message = format!("{ready} of {wanted} pods are ready{}", held.unwrap_or_default());
        return Verdict::new(true, Reason::Settled, message);
    }
    let progress = format!("{ready} of {wanted} new pods are ready");
    if let Some(words) = &rollout.refused {
        let reason = if over_quota(words) { Reason::QuotaExceeded } else { Reason::PodsRefused };
        return Verdict::new(false, reason, format!("pods of {name} are refused: {words}"));
    }
    if let Some(trouble) = sight.app {
        return Verdict::new(false, trouble.reason, format!("{progress}: {}", trouble.message));
    }
    if let Some(words) = &rollout.overdue {
        return Verdict::new(false, Reason::ProgressDeadlineExceeded, format!("{progress}: {words}"));
    }
    let late = sight.late.iter().find(|pod| **pod != name::redis_pod(sight.name));
    Verdict::new(false, Reason::RollingOut, format!("{progress}{}", late.map(describe).unwrap_or_default()))
}

/// Its events alone say what it waits for, such as a volume's Secret or ConfigMap that does not exist.
fn describe(pod: &String) -> String {
    format!("; pod {pod} starts nothing yet: `kubectl describe pod {pod}` says what it waits for")
}

/// Where a Secret is missing, that is what whatever does not run waits for.
fn for_want_of_a_secret(sight: &Sight<'_>, verdict: Verdict) -> Verdict {
    let waits = matches!(verdict.reason, Reason::Progressing | Reason::RollingOut | Reason::RedisUnavailable);
    match &sight.waiting {
        Some((reason @ Reason::SecretMissing, message)) if waits => Verdict::new(false, *reason, message),
        Some(_) | None => verdict,
    }
}

/// A sidecar starts without Redis, too, when it has waited for long.
fn external(sidecar_started: bool, name: &str) -> Verdict {
    match sidecar_started {
        true => Verdict::new(
            true,
            Reason::Settled,
            format!(
                "a sidecar has started; whether the external Redis answers it is in its log and metrics: \
                 kubectl logs deployment/{name} -c {SIDECAR_CONTAINER}"
            ),
        ),
        false => Verdict {
            holds: None,
            reason: Reason::Progressing,
            message: "no sidecar has started with the external Redis yet".to_owned(),
        },
    }
}

fn redis(sight: &Sight<'_>) -> Verdict {
    if let Some(sidecar_started) = sight.sidecar_started {
        return external(sidecar_started, &name::app(sight.name));
    }
    let name = name::redis(sight.name);
    let Some(rollout) = rollout(sight, Kind::StatefulSet, &name) else {
        return Verdict::new(false, Reason::Progressing, format!("StatefulSet {name} does not exist yet"));
    };
    if complete(rollout) {
        return Verdict::new(true, Reason::Settled, "Redis is ready");
    }
    let cure = sight.cure.map(|words| format!("; {words}")).unwrap_or_default();
    let late = sight.late.get(&name::redis_pod(sight.name)).map(describe).unwrap_or_default();
    match sight.redis {
        Some(trouble) => Verdict::new(false, trouble.reason, format!("Redis: {}{cure}", trouble.message)),
        None => Verdict::new(
            false,
            Reason::RedisUnavailable,
            match rollout.replicas {
                // No condition of a StatefulSet says that a quota or a policy keeps it from making one.
                0 if rollout.observed_generation >= rollout.generation => format!(
                    "StatefulSet {name} has made no pod yet; if it stays so, \
                     `kubectl describe statefulset {name}` says why{cure}"
                ),
                _ => format!("waiting for the pod of StatefulSet {name}{late}{cure}"),
            },
        ),
    }
}

fn suspended(sight: &Sight<'_>) -> bool {
    sight.valid.is_some_and(|valid| valid.suspend)
}

pub(super) fn complete(rollout: &Rollout) -> bool {
    rollout.observed_generation >= rollout.generation
        && [rollout.replicas, rollout.updated, rollout.ready].iter().all(|pods| *pods == rollout.wanted)
}

fn autoscaling(sight: &Sight<'_>) -> Verdict {
    if let Some(foreign) = sight.problem.filter(|problem| problem.reason == Reason::ForeignAutoscaler) {
        return Verdict::new(false, foreign.reason, foreign.message.as_str());
    }
    let wanted = match sight.valid {
        Some(valid) => valid.autoscaling.is_some(),
        None => autoscaler(sight).is_some(),
    };
    if !wanted {
        return Verdict::new(true, Reason::NotConfigured, "spec.replicas decides the number of pods");
    }
    let verdict = autoscaler_at_work(sight);
    let unused = sight.valid.map(|valid| format!("; spec.replicas ({}) is not used", valid.replicas));
    Verdict { message: format!("{}{}", verdict.message, unused.unwrap_or_default()), ..verdict }
}

fn autoscaler_at_work(sight: &Sight<'_>) -> Verdict {
    if suspended(sight) {
        return Verdict::new(true, Reason::Suspended, "the HorizontalPodAutoscaler waits for a resume");
    }
    match autoscaler(sight).map(|autoscaler| &autoscaler.active) {
        None => Verdict::new(false, Reason::Progressing, "the HorizontalPodAutoscaler does not exist yet"),
        Some(None) => Verdict {
            holds: None,
            reason: Reason::Progressing,
            message: "the HorizontalPodAutoscaler has not looked at the pods yet".to_owned(),
        },
        Some(Some(Ok(()))) => {
            Verdict::new(true, Reason::Autoscaling, "the HorizontalPodAutoscaler decides the number of pods")
        }
        Some(Some(Err((reason, words)))) => Verdict::new(
            false,
            Reason::MetricsUnavailable,
            format!("the HorizontalPodAutoscaler says {reason}: {words}"),
        ),
    }
}

fn autoscaler<'a>(sight: &Sight<'a>) -> Option<&'a Autoscaler> {
    sight.family.values().find_map(|live| match &live.detail {
        Detail::Autoscaler(autoscaler) => Some(autoscaler),
        Detail::Plain | Detail::Rollout(_) => None,
    })
}

fn stalled(sight: &Sight<'_>, app: &Verdict) -> Verdict {
    if let Some(Problem { reason, message, child: _ }) = sight.problem {
        return Verdict::new(true, *reason, message);
    }
    let overdue =
        rollout(sight, Kind::Deployment, &name::app(sight.name)).is_some_and(|r| r.overdue.is_some());
    match overdue && !app.is_true() {
        true => Verdict::new(true, Reason::ProgressDeadlineExceeded, app.message.as_str()),
        false => Verdict::new(false, Reason::Settled, "nothing stands in the way"),
    }
}

/// The app speaks for all when all is well.
fn ready(stalled: &Verdict, app: &Verdict, others: &[&Verdict]) -> Verdict {
    let broken = stalled.is_true().then_some(stalled);
    match broken.or_else(|| [app].iter().chain(others).copied().find(|part| !part.is_true())) {
        Some(part) => Verdict { holds: Some(false), ..part.clone() },
        None => app.clone(),
    }
}

fn reconciling(sight: &Sight<'_>, stalled: &Verdict, ready: &Verdict) -> Verdict {
    if sight.paused {
        let (annotation, value) = (annotation::RECONCILE, annotation::DISABLED);
        let message = format!(
            "paused by the annotation {annotation}: {value}; to resume: kubectl annotate hp/{} {annotation}-",
            sight.name
        );
        return Verdict::new(false, Reason::Paused, message);
    }
    if let Some((reason, message)) = &sight.waiting {
        return Verdict::new(true, *reason, message);
    }
    match (stalled.is_true(), ready.is_true()) {
        (true, _) => Verdict::new(false, stalled.reason, "waiting for somebody to act; see Stalled"),
        (false, true) => match sight.bus.waits() {
            Some(rotation) => Verdict::new(true, Reason::Progressing, rotation.words.as_str()),
            None => Verdict::new(false, Reason::Settled, "all is as the spec wants it"),
        },
        (false, false) => Verdict::new(true, Reason::Progressing, ready.message.as_str()),
    }
}

#[cfg(test)]
mod tests;
