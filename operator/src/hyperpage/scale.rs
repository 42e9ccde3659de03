//! Who decides how many pods run, and what the operator writes about it.
//!
//! The field has its own manager, `hyperpage-operator/replicas`, which applies only while the operator
//! decides. It never applies an empty object: giving up the field before an autoscaler has taken it would
//! set it back to Kubernetes' default of one pod. What must outlive this process stands in annotations of the
//! Deployment, written together with the number.

use std::collections::BTreeMap;

use crds::contract::{annotation, manager};

use crate::children::Rollout;

/// The autoscaler of this Hyperpage, as far as it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Autoscaler {
    Absent,
    Present,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Input<'a> {
    /// `spec.replicas`.
    pub replicas: i32,
    /// `spec.autoscaling.minReplicas`.
    pub min_replicas: Option<i32>,
    pub suspend: bool,
    pub autoscaler: Autoscaler,
    /// Somebody else's autoscaler scales the Deployment.
    pub foreign: bool,
    /// The live Deployment.
    pub deployment: Option<&'a Rollout>,
}

/// A number of pods that counts for as long as `spec.replicas` stays as it was then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    pub at: i32,
    pub while_spec_is: i32,
}

impl Held {
    pub fn parse(annotation: &str) -> Option<Self> {
        let (at, spec) = annotation.split_once('/')?;
        Some(Self { at: at.parse().ok()?, while_spec_is: spec.parse().ok()? })
    }

    pub fn annotation(self) -> String {
        format!("{}/{}", self.at, self.while_spec_is)
    }
}

/// What is kept beside the number, in annotations of the Deployment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Notes {
    /// Kept after autoscaling was removed.
    pub held: Option<Held>,
    /// What a resume returns to; none ran before when it is zero.
    pub suspended: Option<Held>,
    /// The number was handed to an autoscaler.
    pub autoscaled: bool,
}

impl Notes {
    const AUTOSCALED: Self = Self { held: None, suspended: None, autoscaled: true };

    fn of(live: &Rollout) -> Self {
        let read = |name: &str| Held::parse(live.annotations.get(name)?);
        Self {
            held: read(annotation::HELD_REPLICAS),
            suspended: read(annotation::SUSPENDED_REPLICAS),
            autoscaled: live.annotations.contains_key(annotation::AUTOSCALED),
        }
    }

    fn held(held: Option<Held>) -> Self {
        Self { held, ..Self::default() }
    }

    pub fn annotations(self) -> BTreeMap<&'static str, String> {
        let Self { held, suspended, autoscaled } = self;
        let held = held.map(|held| (annotation::HELD_REPLICAS, held.annotation()));
        let suspended = suspended.map(|before| (annotation::SUSPENDED_REPLICAS, before.annotation()));
        let autoscaled = autoscaled.then(|| (annotation::AUTOSCALED, true.to_string()));
        [held, suspended, autoscaled].into_iter().flatten().collect()
    }
}

/// What `hyperpage-operator/replicas` has to apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    pub replicas: i32,
    pub notes: Notes,
    /// Fail when the Deployment has changed since it was looked at: its number may be an autoscaler's newer one.
    pub only_if_unchanged: bool,
}

/// What a person should hear of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Somebody scaled the Deployment itself: who, and to what number.
    PutBack {
        by: String,
        replicas: i32,
        suspended: bool,
    },
    Suspended {
        from: i32,
    },
    Resumed {
        to: i32,
    },
    /// Somebody scaled what an autoscaler scales to nothing.
    Woken {
        by: String,
        to: i32,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub write: Option<Write>,
    /// Number of pods held, for people to see.
    pub held: Option<i32>,
    pub told: Option<Told>,
}

const NOTHING: Decision = Decision { write: None, held: None, told: None };

pub fn decide(input: &Input<'_>) -> Decision {
    let awake = awake(input);
    let resumed = input.deployment.is_some_and(|live| Notes::of(live).suspended.is_some());
    match (input.suspend, awake.write) {
        (true, _) => asleep(input, &awake),
        (false, Some(write)) if resumed => {
            Decision { told: Some(Told::Resumed { to: write.replicas }), ..awake }
        }
        (false, _) => awake,
    }
}

fn awake(input: &Input<'_>) -> Decision {
    let Input { replicas, min_replicas, suspend: _, autoscaler, foreign, deployment } = *input;
    let Some(live) = deployment else {
        let notes = Notes { autoscaled: min_replicas.is_some(), ..Notes::default() };
        return write(min_replicas.unwrap_or(replicas), notes);
    };
    match (min_replicas, autoscaler) {
        _ if foreign => beside_a_foreign_autoscaler(min_replicas.unwrap_or(replicas), live),
        (Some(min), Autoscaler::Absent) => before_autoscaling(min, live),
        (Some(min), Autoscaler::Present) => while_autoscaling(min, live),
        (None, Autoscaler::Present) => before_manual(replicas, live),
        (None, Autoscaler::Absent) => manual(replicas, live),
    }
}

/// No pods, and what a resume returns to: what would run by now, if anything ran.
fn asleep(input: &Input<'_>, awake: &Decision) -> Decision {
    let nothing = Held { at: 0, while_spec_is: input.replicas };
    let Some(live) = input.deployment else {
        return write(0, Notes { suspended: Some(nothing), ..Notes::default() });
    };
    let (seen, known) = (Notes::of(live), Notes::of(live).suspended);
    let before = match known {
        Some(before) if input.min_replicas.is_some() || before.while_spec_is == input.replicas => before,
        Some(_) => Held { at: input.replicas, ..nothing },
        None if live.wanted == 0 => nothing,
        None => Held { at: awake.write.map_or(live.wanted, |write| write.replicas), ..nothing },
    };
    let notes = Notes { suspended: Some(before), ..Notes::default() };
    if live.wanted == 0 && ours(live) && seen == notes {
        return NOTHING;
    }
    let told = match known {
        None => (live.wanted > 0).then_some(Told::Suspended { from: live.wanted }),
        Some(_) => put_back(live, true),
    };
    // What is remembered must be the last number, not one that an autoscaler has since changed.
    let only_if_unchanged = known.is_none();
    Decision { write: Some(Write { replicas: 0, notes, only_if_unchanged }), held: None, told }
}

/// Only what no autoscaler does is ours to do: to wake it from the zero of a suspension.
fn beside_a_foreign_autoscaler(least: i32, live: &Rollout) -> Decision {
    match Notes::of(live).suspended {
        Some(before) if before.at > 0 => write(before.at.max(live.wanted), Notes::AUTOSCALED),
        Some(_) => write(least, Notes::AUTOSCALED),
        None => NOTHING,
    }
}

/// The first value is ours; it is never lower than what runs, or ran before a suspension.
fn before_autoscaling(min: i32, live: &Rollout) -> Decision {
    let replicas = running(live).max(min);
    let needed = replicas != live.wanted || Notes::of(live) != Notes::AUTOSCALED || !ours(live);
    let write = Write { replicas, notes: Notes::AUTOSCALED, only_if_unchanged: true };
    Decision { write: needed.then_some(write), ..NOTHING }
}

/// An autoscaler leaves a Deployment of zero alone for ever, so that number is ours to correct.
fn while_autoscaling(min: i32, live: &Rollout) -> Decision {
    let needed = live.wanted == 0 || Notes::of(live).suspended.is_some();
    let replicas = running(live).max(min);
    let write = Write { replicas, notes: Notes::AUTOSCALED, only_if_unchanged: true };
    let by = scaled_by_another(live).filter(|_| needed);
    let told = by.map(|by| Told::Woken { by, to: replicas });
    Decision { write: needed.then_some(write), held: None, told }
}

/// The autoscaler is about to be deleted: what it decided last is held from now on.
fn before_manual(spec: i32, live: &Rollout) -> Decision {
    let seen = Notes::of(live);
    let hold = match seen.suspended {
        Some(before) => worth_holding(before, spec),
        None => (live.wanted > 0).then_some(Held { at: live.wanted, while_spec_is: spec }),
    };
    let (replicas, notes) = (hold.map_or(spec, |hold| hold.at), Notes::held(hold));
    let done = live.wanted == replicas && ours(live) && seen == notes;
    let write = Write { replicas, notes, only_if_unchanged: true };
    Decision { write: (!done).then_some(write), held: hold.map(|hold| hold.at), told: None }
}

fn manual(spec: i32, live: &Rollout) -> Decision {
    let seen = Notes::of(live);
    // An autoscaler that is gone, whosever it was, has the last word if it wrote after we held, or before we could.
    // While the field is ours too, its word was what we held.
    let after_hold = !ours(live) && live.scaled_by.iter().any(|by| by == AUTOSCALER);
    let autoscaled = seen.autoscaled || after_hold;
    let hold = match seen.suspended {
        Some(before) => Some(before),
        None if autoscaled => Some(Held { at: live.wanted, while_spec_is: spec }),
        None => seen.held,
    };
    let hold = hold.and_then(|hold| worth_holding(hold, spec));
    let (replicas, notes) = (hold.map_or(spec, |hold| hold.at), Notes::held(hold));
    let settled = live.wanted == replicas && ours(live) && seen == notes;
    let undone = !autoscaled && live.wanted != replicas;
    Decision {
        write: (!settled).then_some(Write { replicas, notes, only_if_unchanged: false }),
        held: hold.map(|hold| hold.at),
        told: undone.then(|| put_back(live, false)).flatten(),
    }
}

fn worth_holding(hold: Held, spec: i32) -> Option<Held> {
    (hold.while_spec_is == spec && hold.at != spec && hold.at > 0).then_some(hold)
}

fn put_back(live: &Rollout, suspended: bool) -> Option<Told> {
    let by = scaled_by_another(live)?;
    Some(Told::PutBack { by, replicas: live.wanted, suspended })
}

/// Whoever writes another number than ours takes the field from us. An autoscaler needs no advice.
fn scaled_by_another(live: &Rollout) -> Option<String> {
    let mut people = live.scaled_by.iter().filter(|by| *by != AUTOSCALER && !ours(live));
    people.next().cloned()
}

/// What runs, or ran before a suspension.
fn running(live: &Rollout) -> i32 {
    Notes::of(live).suspended.map_or(live.wanted, |before| before.at.max(live.wanted))
}

fn write(replicas: i32, notes: Notes) -> Decision {
    Decision { write: Some(Write { replicas, notes, only_if_unchanged: false }), ..NOTHING }
}

/// Autoscalers run in the controller manager.
const AUTOSCALER: &str = "kube-controller-manager";

fn ours(live: &Rollout) -> bool {
    live.scaled_by.iter().any(|by| by == manager::REPLICAS)
}

#[cfg(test)]
mod tests;
