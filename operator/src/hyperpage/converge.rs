//! The apply step: brings the children from what they are to what `build` wants, in an order in which nothing
//! half-made is ever visible.

use std::{collections::BTreeSet, time::Instant};

use crds::contract::name;
use futures::future::join_all;

use super::{
    Problem,
    bus::Kept,
    heal::Cure,
    invalid::Invalid,
    memory::Memory,
    repair,
    scale::{self, Autoscaler, Decision},
    status::complete,
    storage,
    tell::Deed,
};
use crate::{
    apply::{Calls, Error, Wanted},
    children::{ChildId, Family, Kind, Live},
};

/// All that `build` and the spec say.
#[derive(Debug)]
pub struct Plan {
    pub hyperpage: String,
    /// What is next for Redis' volume.
    pub volume: storage::Step,
    pub children: Vec<Wanted>,
    /// What is no longer among them is deleted.
    pub prunes: bool,
    pub replicas: i32,
    pub suspend: bool,
    pub min_replicas: Option<i32>,
    /// Somebody else's autoscaler of our Deployment.
    pub foreign: Option<String>,
}

impl Plan {
    fn deployment(&self) -> ChildId {
        ChildId { kind: Kind::Deployment, name: name::app(&self.hyperpage) }
    }

    fn service(&self) -> ChildId {
        ChildId { kind: Kind::Service, name: name::app(&self.hyperpage) }
    }

    /// Without what would change anything but the number of pods; `None` where nothing runs.
    pub fn as_it_runs(mut self, family: &Family) -> Option<Self> {
        family.get(&self.deployment())?;
        self.children.retain(|wanted| !wanted.is_new_to(family.get(&wanted.id)));
        self.prunes = false;
        self.volume = storage::Step::Apply;
        Some(self)
    }

    fn stateful_set(&self) -> ChildId {
        ChildId { kind: Kind::StatefulSet, name: name::redis(&self.hyperpage) }
    }
}

/// What was done, for status and events.
#[derive(Debug, Default)]
pub struct Report {
    /// The children as they are now.
    pub family: Family,
    /// What stops us until somebody acts.
    pub problem: Option<Problem>,
    /// What we wait for in Kubernetes itself.
    pub waiting: Option<String>,
    pub held: Option<i32>,
    /// Children that were settled, and so cost no request.
    pub settled: usize,
    /// What becomes of a pod of Redis that does not get on.
    pub cure: Cure,
    /// A Secret that has to be there first.
    pub missing: Option<Problem>,
    /// A Secret of ours is still to be deleted.
    pub unused: bool,
    /// What is known of the bus key.
    pub bus: Kept,
}

impl Report {
    pub fn stopped(family: Family, problem: Problem) -> Self {
        Self { family, problem: Some(problem), ..Self::default() }
    }

    pub fn invalid(family: Family, invalid: Invalid) -> Self {
        Self::stopped(family, invalid.into())
    }
}

/// What there is to do.
struct Todo<'a> {
    wanted: Vec<&'a Wanted>,
    fights: Vec<(ChildId, Problem)>,
    waiting: Option<String>,
    settled: usize,
}

/// All that is to be written has been rehearsed.
pub async fn converge(
    calls: &Calls<'_>,
    plan: &Plan,
    family: Family,
    memory: &mut Memory,
) -> Result<Report, Error> {
    let Todo { wanted, fights, waiting, settled } = todo(&plan.children, &family, memory, Instant::now());
    let (service, wanted): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|it| it.id == plan.service());
    let new = service.iter().any(|wanted| wanted.is_new_to(family.get(&wanted.id)));
    let (fought, fights): (_, Vec<_>) = fights.into_iter().unzip();
    let report = Report {
        family,
        waiting,
        settled,
        problem: fights.into_iter().reduce(Problem::and),
        ..Report::default()
    };
    let mut work = Work { calls, memory, fought, report };
    // No rehearsal tells which ports the nodes have: one is asked for before anything else is touched.
    if work.apply(service).await? && new {
        return Ok(work.report);
    }
    let family = &mut work.report.family;
    let volume = storage::act(calls, &plan.volume, &plan.stateful_set(), family, work.memory).await?;
    work.report.waiting = work.report.waiting.or(volume.waiting);
    let stays = |wanted: &&Wanted| !work.report.family.get(&wanted.id).is_some_and(|live| live.deleting);
    let wanted: Vec<_> = wanted.into_iter().filter(stays).collect();
    work.all(plan, &wanted).await?;
    // Said last: a volume that cannot grow is in nobody's way.
    work.report.problem = work.report.problem.or(volume.problem);
    Ok(work.report)
}

/// Pure: settled children need nothing, and a child that somebody fights for is left alone for a while.
fn todo<'a>(children: &'a [Wanted], family: &Family, memory: &mut Memory, now: Instant) -> Todo<'a> {
    let mut todo = Todo { wanted: Vec::new(), fights: Vec::new(), waiting: None, settled: 0 };
    for wanted in children {
        let Some(live) = family.get(&wanted.id) else {
            todo.wanted.push(wanted);
            continue;
        };
        if live.deleting {
            todo.waiting = Some(format!("{} is being deleted; it is made again when it is gone", wanted.id));
        } else if memory.settled(&wanted.id, live, &wanted.hash) {
            todo.settled += 1;
        } else {
            memory.note_move(&wanted.id, live, now);
            match memory.fight(&wanted.id, now) {
                Some(by) => todo.fights.push((wanted.id.clone(), Problem::fight(&wanted.id, by))),
                None => todo.wanted.push(wanted),
            }
        }
    }
    todo
}

fn runs_pods(kind: Kind) -> bool {
    matches!(kind, Kind::Deployment | Kind::StatefulSet)
}

struct Work<'a> {
    calls: &'a Calls<'a>,
    memory: &'a mut Memory,
    /// Children that are left alone for a while.
    fought: BTreeSet<ChildId>,
    report: Report,
}

/// Answers of one child, in the order of the writes; the error, if any, ended them.
type Answers = (ChildId, Vec<Live>, Option<Error>);

impl Work<'_> {
    async fn all(&mut self, plan: &Plan, wanted: &[&Wanted]) -> Result<(), Error> {
        let of = |pick: fn(Kind) -> bool| wanted.iter().filter(move |wanted| pick(wanted.id.kind)).copied();
        // Pods need their account, configuration and names first.
        self.apply(of(|kind| !runs_pods(kind) && kind != Kind::HorizontalPodAutoscaler).collect()).await?;
        // One that is refused does not keep the others from being repaired.
        self.workloads(plan, wanted).await?;
        // An autoscaler starts from the number that the Deployment has by now.
        self.apply(of(|kind| kind == Kind::HorizontalPodAutoscaler).collect()).await?;
        if self.report.problem.as_ref().is_none_or(Problem::concerns_one_child_alone) {
            if plan.prunes {
                self.prune(plan).await?;
            }
            let foreign = plan.foreign.as_deref().map(|by| Problem::foreign(by, plan));
            self.report.problem = self.report.problem.take().into_iter().chain(foreign).reduce(Problem::and);
        }
        Ok(())
    }

    /// Whether one was refused.
    async fn apply(&mut self, wanted: Vec<&Wanted>) -> Result<bool, Error> {
        let (calls, family) = (self.calls, &self.report.family);
        let answers =
            join_all(wanted.into_iter().map(|wanted| apply_one(calls, wanted, family.get(&wanted.id)))).await;
        self.note(answers)
    }

    async fn workloads(&mut self, plan: &Plan, wanted: &[&Wanted]) -> Result<(), Error> {
        let (calls, family, id) = (self.calls, &self.report.family, plan.deployment());
        let find = |kind: Kind| wanted.iter().copied().find(|wanted| wanted.id.kind == kind);
        let autoscaler = family.keys().any(|id| id.kind == Kind::HorizontalPodAutoscaler);
        let autoscaler = if autoscaler { Autoscaler::Present } else { Autoscaler::Absent };
        let seen = family.get(&id);
        let leave = self.fought.contains(&id) || seen.is_some_and(|live| live.deleting);
        let app = async {
            let mut lives = Vec::new();
            let done = match leave {
                true => Ok(None),
                false => deploy(calls, plan, autoscaler, find(Kind::Deployment), seen, &mut lives).await,
            };
            (lives, done)
        };
        let redis = async {
            let wanted = find(Kind::StatefulSet)?;
            Some(apply_one(calls, wanted, family.get(&wanted.id)).await)
        };
        let ((lives, done), redis) = futures::join!(app, redis);
        if lives.first().is_some_and(|live| is_new(seen, live)) {
            self.memory.did(Deed::Created);
        }
        let error = match done {
            Ok(Some(Decision { write: _, held, told })) => {
                self.report.held = held;
                told.into_iter().for_each(|told| self.memory.did(Deed::Scaled(told)));
                None
            }
            Ok(None) => None,
            Err(error) => Some(error),
        };
        self.note([(id, lives, error)].into_iter().chain(redis).collect())?;
        Ok(())
    }

    async fn prune(&mut self, plan: &Plan) -> Result<(), Error> {
        for (id, live) in leftovers(plan, &self.report.family, &self.fought) {
            self.calls.delete(&id, &live).await?;
            self.memory.wrote(&id, Some(&live), None, Instant::now());
            self.report.family.remove(&id);
            self.memory.did(Deed::Deleted(id));
        }
        Ok(())
    }

    /// Remembers what succeeded before it speaks of what did not. Whether one was refused.
    fn note(&mut self, answers: Vec<Answers>) -> Result<bool, Error> {
        let (mut failure, mut refused) = (None, false);
        for (id, lives, error) in answers {
            for live in lives {
                let before = self.report.family.insert(id.clone(), live.clone());
                self.memory.wrote(&id, before.as_ref(), Some(live), Instant::now());
            }
            let Some(error) = error else { continue };
            match error.refusal() {
                Some(words) => {
                    self.report.problem = Some(Problem::refused(&id, words));
                    refused = true;
                }
                None => failure = Some(error),
            }
        }
        failure.map_or(Ok(refused), Err)
    }
}

/// Children that the spec no longer asks for, and nothing uses.
fn leftovers(plan: &Plan, family: &Family, fought: &BTreeSet<ChildId>) -> Vec<(ChildId, Live)> {
    let deployment = plan.deployment();
    let rolled = family.get(&deployment).and_then(Live::rollout).is_some_and(complete);
    let left = rolled && !fought.contains(&deployment);
    // The app's old pods use the old Redis until the last of them is gone, and those that replace one of them
    // meanwhile cannot be made without their account.
    let redis_goes = !plan.children.iter().any(|wanted| wanted.id == plan.stateful_set());
    let used = |id: &ChildId| match id.kind {
        Kind::ServiceAccount => true,
        _ => redis_goes && id.name == name::redis(&plan.hyperpage),
    };
    let needed = |id: &ChildId| used(id) && !left;
    let kept = |id: &ChildId| plan.children.iter().any(|wanted| wanted.id == *id) || needed(id);
    let goes = family.iter().filter(|(id, live)| !kept(id) && !live.deleting);
    goes.map(|(id, live)| (id.clone(), live.clone())).collect()
}

async fn apply_one(calls: &Calls<'_>, wanted: &Wanted, seen: Option<&Live>) -> Answers {
    match repair::apply(calls, wanted, seen).await {
        Ok(live) => (wanted.id.clone(), vec![live], None),
        Err(error) => (wanted.id.clone(), Vec::new(), Some(error)),
    }
}

/// The Deployment by its two managers: its shape by one, how many by the other.
async fn deploy(
    calls: &Calls<'_>,
    plan: &Plan,
    autoscaler: Autoscaler,
    wanted: Option<&Wanted>,
    seen: Option<&Live>,
    lives: &mut Vec<Live>,
) -> Result<Option<Decision>, Error> {
    let decide = |live: Option<&Live>| {
        scale::decide(&scale::Input {
            replicas: plan.replicas,
            min_replicas: plan.min_replicas,
            suspend: plan.suspend,
            autoscaler,
            foreign: plan.foreign.is_some(),
            deployment: live.and_then(Live::rollout),
        })
    };
    if let Some(wanted) = wanted {
        if seen.is_none() && decide(None).write.is_some_and(|write| write.replicas == 0) {
            lives.push(calls.create_empty(wanted).await?);
        }
        let live = calls.apply(wanted, lives.last().or(seen)).await?;
        lives.push(live);
    }
    // Decided by the newest answer: an autoscaler may have written since.
    let Some(now) = lives.last().or(seen).cloned() else { return Ok(None) };
    let decision = decide((!is_new(seen, &now)).then_some(&now));
    if let Some(write) = decision.write {
        lives.push(calls.scale(&plan.deployment(), write, &now).await?);
    }
    Ok(Some(decision))
}

/// We made it just now. One that somebody gave a number of pods existed, whatever we had seen.
fn is_new(seen: Option<&Live>, answer: &Live) -> bool {
    seen.is_none() && answer.rollout().is_some_and(|rollout| rollout.scaled_by.is_empty())
}

#[cfg(test)]
mod tests;
