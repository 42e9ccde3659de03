//! The one kind: five steps from what somebody asked for to what they are told about it.

pub mod build;
pub mod bus;
pub mod converge;
pub mod fetch;
pub mod heal;
pub mod invalid;
pub mod memory;
pub mod password;
pub mod pause;
pub mod pod_template;
mod problem;
pub mod rehearse;
pub mod repair;
pub mod report;
pub mod rules;
pub mod scale;
pub mod schema;
pub mod secrets;
pub mod status;
pub mod sticky;
pub mod storage;
pub mod stored;
pub mod tell;
pub mod validate;
pub mod whose;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crds::{Hyperpage, HyperpageStatus, Reason, contract::name};
use jiff::Timestamp;
use kube::{
    Resource, ResourceExt,
    runtime::{controller::Action, reflector::ObjectRef},
};

use crate::{
    apply::{self, Calls, Wanted},
    children::{ChildId, Family, Kind, Rollout},
    claims::Claim,
    context::Context,
    metrics::Outcome,
    pods::{Trouble, Unready},
};
use build::{Children, RedisChildren};
use bus::Kept;
use converge::{Plan, Report};
use fetch::{Fetched, Secrets};
use invalid::Invalid;
use memory::Memory;
use password::Password;
use rehearse::Rehearsal;
use status::Sight;
use validate::Valid;

pub use problem::Problem;
pub use stored::Stored;

/// Longer than the longest call, and far below a person's patience.
const LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Apply(#[from] apply::Error),
    #[error("failed to write status: {0}")]
    Report(#[source] kube::Error),
    #[error("took longer than {} s", LIMIT.as_secs())]
    Late,
}

/// An error with the time after which it is worth another try.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Failure {
    #[source]
    error: Error,
    retry: Duration,
}

/// How a reconcile ended that could say all it had to say.
#[derive(Debug)]
pub struct End {
    problem: Option<Problem>,
    /// When to come back for a status that could wait.
    later: Option<Duration>,
    /// Another try may help, though nobody changed the spec.
    again: bool,
}

pub async fn reconcile(stored: Arc<Stored>, context: Arc<Context>) -> Result<Action, Failure> {
    let began = Instant::now();
    if stored.meta().deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let mut memory = context.memories.of(&stored.uid().unwrap_or_default()).await;
    let steps = tokio::time::timeout(LIMIT, steps(&stored, &context, &mut memory)).await;
    let (outcome, answer) = match steps.unwrap_or(Err(Error::Late)) {
        Ok(End { problem: None, later, again: _ }) => {
            memory.succeeded();
            let outcome = if pause::is_asked(&stored) { Outcome::Paused } else { Outcome::Done };
            (outcome, Ok(later.map_or_else(Action::await_change, Action::requeue)))
        }
        Ok(End { problem: Some(_), later, again }) => {
            let retry = again.then(|| memory.failed());
            let next = later.into_iter().chain(retry).min();
            (Outcome::Stalled, Ok(next.map_or_else(Action::await_change, Action::requeue)))
        }
        // Somebody wrote between our look and our write: no failure, only a reason to look again.
        Err(Error::Apply(error)) if error.passes() => {
            tracing::debug!(%error, "looking again");
            (Outcome::Conflicted, Ok(Action::requeue(memory.failed() / 4)))
        }
        Err(error) => (Outcome::Failed, Err(Failure { error, retry: memory.failed() })),
    };
    context.metrics.reconciled(outcome, began.elapsed());
    answer
}

pub fn retry(stored: Arc<Stored>, failure: &Failure, _: Arc<Context>) -> Action {
    let object = ObjectRef::from_obj(stored.as_ref());
    tracing::warn!(%object, error = %failure.error, retry_s = failure.retry.as_secs(), "failed to reconcile");
    Action::requeue(failure.retry)
}

async fn steps(stored: &Stored, context: &Context, memory: &mut Memory) -> Result<End, Error> {
    let (namespace, uid) = (stored.namespace().unwrap_or_default(), stored.uid().unwrap_or_default());
    let calls = Calls { client: &context.calls, metrics: &context.metrics, namespace: &namespace, uid: &uid };
    let hyperpage = match &stored.0 {
        Ok(hyperpage) => hyperpage,
        Err(invalid) => return report::unreadable(stored, invalid, context, memory).await,
    };
    if pause::is_asked(stored) {
        return pause::report(hyperpage, context, memory).await;
    }
    let valid = validate::validate(hyperpage, &context.defaults);
    let Fetched {
        family,
        foreign,
        status: before,
        secrets,
        app,
        redis,
        unready,
        claim,
        patience,
        late,
        sidecar_started,
    } = fetch::fetch(hyperpage, valid.as_ref().ok(), context, &calls, memory).await;
    let converged = match (&valid, secrets) {
        (Err(invalid), _) => Ok(Report::invalid(family.clone(), invalid.clone())),
        (Ok(valid), Ok(secrets)) => {
            let redis_image = before.as_ref().and_then(HyperpageStatus::redis_image);
            let others = Others { claim: claim.as_ref(), foreign: foreign.as_deref(), redis_image };
            let report = apply(valid, &calls, secrets, others, family.clone(), memory).await;
            heal(valid, &calls, unready.as_ref(), report, memory).await
        }
        (Ok(_), Err(error)) => Err(error),
    };
    let (report, failure) = match converged {
        Ok(report) => (report, None),
        // Another look first: most often the next one succeeds and nobody needs to hear of it.
        Err(error) if error.passes() => return Err(error.into()),
        Err(error) => (Report { family, ..Report::default() }, Some(error)),
    };
    context.metrics.skipped(report.settled);
    let pods = [app.as_ref(), redis.as_ref()];
    let sight = Sight {
        late,
        sidecar_started,
        ..sight(hyperpage, valid.as_ref().ok(), pods, &report, failure.as_ref())
    };
    let status = status::status(&sight, before.as_ref(), Timestamp::now());
    let watched = hyperpage.status.as_ref();
    let written = report::write(hyperpage.meta(), status, watched, context, memory).await;
    tell::tell(context, &hyperpage.object_ref(&()), &report, memory).await;
    let later = report::unless_refused(written, report.problem.as_ref())?;
    match failure {
        Some(error) => Err(error.into()),
        None => {
            let rotation = report.bus.waits().map(|waits| waits.rest);
            let later = later.into_iter().chain(report.cure.after()).chain(patience).chain(rotation).min();
            Ok(End { problem: report.problem.or(report.missing), later, again: valid.is_ok() })
        }
    }
}

/// By the StatefulSet as it is after the writes.
async fn heal(
    valid: &Valid,
    calls: &Calls<'_>,
    pod: Option<&Unready>,
    report: Result<Report, apply::Error>,
    memory: &mut Memory,
) -> Result<Report, apply::Error> {
    let mut report = report?;
    let id = ChildId { kind: Kind::StatefulSet, name: name::redis(&valid.name) };
    report.cure = heal::cure(pod, report.family.get(&id), Timestamp::now());
    heal::act(calls, &report.cure, memory).await?;
    Ok(report)
}

/// What others made, or an earlier reconcile found, that decides what is built.
#[derive(Clone, Copy)]
struct Others<'a> {
    claim: Option<&'a Claim>,
    /// An autoscaler of our Deployment.
    foreign: Option<&'a str>,
    /// By an earlier status: what Redis runs, or ran.
    redis_image: Option<&'a str>,
}

/// Build, rehearse and apply; before the last stand our Secrets, which must exist to be named. Rehearsed without a
/// password, the templates lack nothing that the server would judge.
async fn apply(
    valid: &Valid,
    calls: &Calls<'_>,
    Secrets { password, bus }: Secrets,
    others: Others<'_>,
    mut family: Family,
    memory: &mut Memory,
) -> Result<Report, apply::Error> {
    let known = password.known().map(str::to_owned);
    let seen = family.len();
    // Before the first write, so that a podTemplate that does not fit changes nothing.
    let mut plan = match self::plan(valid, known.as_deref().unwrap_or_default(), others, &family) {
        Ok(plan) => plan,
        Err(invalid) => return Ok(Report::invalid(family, invalid)),
    };
    if let Some(problem) = bus.problem() {
        return Ok(Report::stopped(family, problem.clone()));
    }
    let fixed = match rehearse::rehearse(calls, &plan.children, &mut family, memory).await? {
        Rehearsal::Stopped(problem) => return Ok(Report::stopped(family, problem)),
        Rehearsal::Fixed => true,
        Rehearsal::Passed => false,
    };
    let password = password::settle(calls, valid, password, &family, memory).await?;
    // What was not seen before may say which image runs.
    if password.known() != known.as_deref() || family.len() != seen {
        plan = match self::plan(valid, password.known().unwrap_or_default(), others, &family) {
            Ok(plan) => plan,
            Err(invalid) => return Ok(Report::invalid(family, invalid)),
        };
    }
    if fixed {
        plan.volume = storage::Step::Renew;
    }
    let mut unused: Vec<_> =
        bus.unused().map(|uid| (name::bus(&valid.name), uid.clone())).into_iter().collect();
    if let Password::Theirs { unused: Some(uid) } = &password {
        unused.push((name::redis(&valid.name), uid.clone()));
    }
    let bus = bus::settle(calls, valid, bus, memory).await?;
    let report = Report { bus, ..carry_out(valid, calls, password, plan, family, memory).await? };
    drop_unused(calls, &unused, report, memory).await
}

async fn carry_out(
    valid: &Valid,
    calls: &Calls<'_>,
    password: Password,
    plan: Plan,
    family: Family,
    memory: &mut Memory,
) -> Result<Report, apply::Error> {
    match password {
        Password::Known(_) | Password::Theirs { unused: _ } => {
            converge::converge(calls, &plan, family, memory).await
        }
        Password::Missing(message) => {
            let problem = Some(Problem { reason: Reason::SecretMissing, message, child: None });
            // What runs is kept in order and in number; nothing is made or rolled that could not start.
            let report = match plan.as_it_runs(&family) {
                Some(plan) => converge::converge(calls, &plan, family, memory).await?,
                None => Report { family, ..Report::default() },
            };
            Ok(Report { missing: problem, ..report })
        }
        Password::Unusable(problem) => Ok(Report::stopped(family, problem)),
        // Nobody watches Secrets: only another try brings it back.
        Password::Absent | Password::Orphan(_) => Err(apply::Error::Vanished(name::redis(&valid.name))),
    }
}

/// Of ours, by name and uid, once all else is as the spec wants it.
async fn drop_unused(
    calls: &Calls<'_>,
    unused: &[(String, String)],
    mut report: Report,
    memory: &mut Memory,
) -> Result<Report, apply::Error> {
    for (name, uid) in unused {
        let asked = report.problem.is_none() && report.missing.is_none();
        report.unused |= !asked || !whose::drop_unused(calls, name, uid, &report.family, memory).await?;
    }
    if !unused.is_empty() && !report.unused && report.bus == Kept::Unknown {
        report.bus = Kept::Nothing;
    }
    Ok(report)
}

/// `password` is the uid of its Secret.
fn plan(valid: &Valid, password: &str, others: Others<'_>, family: &Family) -> Result<Plan, Invalid> {
    let Others { claim, foreign, redis_image } = others;
    let stateful_set = ChildId { kind: Kind::StatefulSet, name: name::redis(&valid.name) };
    let live = family.get(&stateful_set);
    let volume = storage::step(valid.redis.storage.as_ref(), claim, live);
    let held = storage::hold(valid, &volume, live);
    let Children { service_account, service, deployment, hpa, pdb, network_policy, redis } =
        build::build(&held, password)?;
    let deployment = sticky::sidecar(deployment, &valid.images.sidecar, runs(family, Kind::Deployment));
    let in_use = runs(family, Kind::StatefulSet);
    let redis = redis.map(|redis| RedisChildren {
        stateful_set: sticky::redis(redis.stateful_set, &valid.images.redis, in_use, redis_image),
        ..redis
    });
    let redis_policy = redis.as_ref().and_then(|redis| redis.network_policy.as_ref());
    let children = [
        service_account.as_ref().map(|account| Wanted::new(Kind::ServiceAccount, account)),
        redis.as_ref().map(|redis| Wanted::new(Kind::ConfigMap, &redis.config_map)),
        Some(Wanted::new(Kind::Service, &service)),
        redis.as_ref().map(|redis| Wanted::new(Kind::Service, &redis.service)),
        Some(Wanted::new(Kind::PodDisruptionBudget, &pdb)),
        redis.as_ref().map(|redis| Wanted::new(Kind::StatefulSet, &redis.stateful_set)),
        Some(Wanted::new(Kind::Deployment, &deployment)),
        hpa.as_ref().map(|hpa| Wanted::new(Kind::HorizontalPodAutoscaler, hpa)),
        network_policy.as_ref().map(|policy| Wanted::new(Kind::NetworkPolicy, policy)),
        redis_policy.map(|policy| Wanted::new(Kind::NetworkPolicy, policy)),
    ];
    Ok(Plan {
        hyperpage: valid.name.clone(),
        volume,
        children: children.into_iter().flatten().collect(),
        prunes: true,
        replicas: valid.replicas,
        suspend: valid.suspend,
        min_replicas: valid.autoscaling.as_ref().map(|autoscaling| autoscaling.min_replicas),
        foreign: foreign.map(str::to_owned),
    })
}

/// There is one of either kind.
fn runs(family: &Family, kind: Kind) -> Option<&Rollout> {
    family.iter().find(|(id, _)| id.kind == kind)?.1.rollout()
}

fn sight<'a>(
    hyperpage: &'a Hyperpage,
    valid: Option<&'a Valid>,
    [app, redis]: [Option<&'a Trouble>; 2],
    report: &'a Report,
    failure: Option<&apply::Error>,
) -> Sight<'a> {
    let failed = failure.map(|error| (Reason::ApiError, error.to_string()));
    let missing = report.missing.as_ref().map(|missing| (missing.reason, missing.message.clone()));
    let waiting = missing.or(report.waiting.clone().map(|message| (Reason::Progressing, message)));
    let applied = report.problem.as_ref().is_none_or(Problem::concerns_scaling_alone);
    let complete = failure.is_none() && applied && waiting.is_none() && !report.unused;
    let name = hyperpage.metadata.name.as_deref().unwrap_or_default();
    Sight {
        valid,
        digest: complete.then(|| memory::digest(&report.family)),
        app,
        redis,
        problem: report.problem.as_ref(),
        waiting: failed.or(waiting),
        held: report.held,
        cure: report.cure.words(),
        bus: &report.bus,
        ..Sight::of(name, hyperpage.metadata.generation, &report.family)
    }
}
