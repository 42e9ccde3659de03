//! How Redis' volume follows the spec. A claim can grow; the StatefulSet that made it is fixed for ever, so it is
//! deleted without its pods and made again once the volume is as large as asked.

use std::{fmt, time::Instant};

use crds::{Reason, Storage};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{Problem, memory::Memory, validate::Valid};
use crate::{
    apply::{Calls, Error},
    children::{ChildId, Family, Live},
    claims::Claim,
};

/// What is next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The StatefulSet is applied as it is built.
    Apply,
    /// The claim is asked to grow.
    Grow { claim: Claim, size: Quantity },
    /// Kubernetes is at it, for this reason.
    Wait(String),
    /// The StatefulSet is made again around its pods.
    Renew,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Apply => write!(f, "apply the StatefulSet"),
            Self::Grow { claim, size } => {
                write!(
                    f,
                    "PersistentVolumeClaim {} is asked to grow from {} to {}",
                    claim.name, claim.asked.0, size.0
                )
            }
            Self::Wait(reason) => write!(f, "{reason}"),
            Self::Renew => write!(f, "the StatefulSet of Redis is made again; its pod runs on"),
        }
    }
}

/// Looks at the claim before the StatefulSet: a claim that was kept from an earlier Hyperpage may be too small too.
pub fn step(wanted: Option<&Storage>, claim: Option<&Claim>, stateful_set: Option<&Live>) -> Step {
    let Some(Storage { size, storage_class_name: _, retention_policy: _ }) = wanted else {
        return Step::Apply;
    };
    if let Some(claim) = claim.filter(|claim| !claim.deleting) {
        let small = less(&claim.asked, size);
        if small && claim.bound {
            return Step::Grow { claim: claim.clone(), size: size.clone() };
        }
        if small {
            return Step::Wait(format!(
                "PersistentVolumeClaim {} has no volume yet, and grows to {} once it has one",
                claim.name, size.0
            ));
        }
        if claim.capacity.as_ref().is_some_and(|capacity| less(capacity, size)) {
            let says = claim.resize.as_deref().unwrap_or("the resizer of its class has not answered yet");
            return Step::Wait(format!("PersistentVolumeClaim {} grows to {}: {says}", claim.name, size.0));
        }
    }
    match template(stateful_set) {
        Some(has) if less(has, size) => Step::Renew,
        _ => Step::Apply,
    }
}

/// Until the StatefulSet is made again, it is applied with the size that it was made with.
pub fn hold(valid: &Valid, step: &Step, stateful_set: Option<&Live>) -> Valid {
    let mut held = valid.clone();
    let waits = matches!(step, Step::Grow { .. } | Step::Wait(_));
    if let (true, Some(storage), Some(has)) = (waits, &mut held.redis.storage, template(stateful_set))
        && less(has, &storage.size)
    {
        storage.size = has.clone();
    }
    held
}

/// What a StatefulSet that stays would make a claim with.
fn template(stateful_set: Option<&Live>) -> Option<&Quantity> {
    stateful_set.filter(|live| !live.deleting)?.rollout()?.claim_size.as_ref()
}

fn less(one: &Quantity, other: &Quantity) -> bool {
    matches!((crds::bytes(one), crds::bytes(other)), (Ok(one), Ok(other)) if one < other)
}

/// What came of a step, for the report.
#[derive(Debug, Default)]
pub struct Outcome {
    pub waiting: Option<String>,
    pub problem: Option<Problem>,
}

/// Takes the step. Nothing is remembered of it: whoever looks next sees how far it got.
pub async fn act(
    calls: &Calls<'_>,
    step: &Step,
    id: &ChildId,
    family: &mut Family,
    memory: &mut Memory,
) -> Result<Outcome, Error> {
    match step {
        Step::Apply => return Ok(Outcome::default()),
        Step::Wait(_) => {}
        Step::Grow { claim, size } => match calls.grow(&claim.name, &claim.uid, size).await {
            Ok(()) => {}
            Err(error) => match error.refusal() {
                Some(words) => {
                    return Ok(Outcome { waiting: None, problem: Some(refused(claim, size, words)) });
                }
                None => return Err(error),
            },
        },
        Step::Renew => {
            if let Some(live) = family.get_mut(id) {
                calls.orphan(id, live).await?;
                let going = Live { deleting: true, ..live.clone() };
                memory.wrote(id, Some(live), Some(going.clone()), Instant::now());
                *live = going;
            }
        }
    }
    Ok(Outcome { waiting: Some(step.to_string()), problem: None })
}

fn refused(claim: &Claim, size: &Quantity, words: &str) -> Problem {
    let class = claim.class.as_deref().unwrap_or("of the claim");
    let message = format!(
        "PersistentVolumeClaim {} cannot grow from {} to {}: {words}; set allowVolumeExpansion in StorageClass \
         {class} if its volumes can grow, or move the data to a Hyperpage with a larger volume",
        claim.name, claim.asked.0, size.0
    );
    Problem { reason: Reason::InvalidSpec, message, child: None }
}

#[cfg(test)]
mod tests;
