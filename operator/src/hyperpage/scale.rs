//! Who decides how many pods run, and what the operator writes about it.
//!
//! The field has its own manager, `hyperpage-operator/replicas`, which applies only while the operator
//! decides. It never applies an empty object: giving up the field before an autoscaler has taken it would
//! set it back to Kubernetes' default of one pod.

use crds::contract::{annotation, manager};

use crate::children::Rollout;

/// The autoscaler of this Hyperpage, as far as it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Autoscaler {
    Absent,
    Present,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Input<'a> {
    /// `spec.replicas`.
    pub replicas: i32,
    /// `spec.autoscaling.minReplicas`.
    pub min_replicas: Option<i32>,
    pub autoscaler: Autoscaler,
    /// The live Deployment.
    pub deployment: Option<&'a Rollout>,
}

/// A number of pods kept after autoscaling was removed, for as long as `spec.replicas` stays as it was then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// What `hyperpage-operator/replicas` has to apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    pub replicas: i32,
    pub held: Option<Held>,
    /// Fail when the Deployment has changed since it was looked at: its number may be an autoscaler's newer one.
    pub only_if_unchanged: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub write: Option<Write>,
    /// Number of pods held, for people to see.
    pub held: Option<i32>,
    /// Somebody scaled the Deployment itself: who, and to what number.
    pub undone: Option<(String, i32)>,
}

const NOTHING: Decision = Decision { write: None, held: None, undone: None };

pub fn decide(input: &Input<'_>) -> Decision {
    match (input.min_replicas, input.autoscaler) {
        (Some(min), Autoscaler::Absent) => before_autoscaling(min, input.deployment),
        (Some(min), Autoscaler::Present) => while_autoscaling(min, input.deployment),
        (None, Autoscaler::Present) => before_manual(input.replicas, input.deployment),
        (None, Autoscaler::Absent) => manual(input.replicas, input.deployment),
    }
}

/// The first value is ours; it is never lower than what runs.
fn before_autoscaling(min: i32, deployment: Option<&Rollout>) -> Decision {
    let Some(live) = deployment else { return first(min) };
    let replicas = live.wanted.max(min);
    let needed = replicas != live.wanted || held(live).is_some() || !ours(live);
    let write = needed.then_some(Write { replicas, held: None, only_if_unchanged: true });
    Decision { write, ..NOTHING }
}

/// An autoscaler leaves a Deployment of zero alone for ever, so that number is ours to correct.
fn while_autoscaling(min: i32, deployment: Option<&Rollout>) -> Decision {
    match deployment {
        None => first(min),
        Some(live) if live.wanted == 0 => {
            Decision { write: Some(Write { replicas: min, held: None, only_if_unchanged: true }), ..NOTHING }
        }
        Some(_) => NOTHING,
    }
}

/// The autoscaler is about to be deleted: what it decided last is held from now on.
fn before_manual(spec: i32, deployment: Option<&Rollout>) -> Decision {
    let Some(live) = deployment else { return first(spec) };
    let hold = Held { at: live.wanted, while_spec_is: spec };
    let done = ours(live) && held(live) == Some(hold);
    let write = (!done).then_some(Write { replicas: hold.at, held: Some(hold), only_if_unchanged: true });
    Decision { write, held: Some(hold.at), undone: None }
}

fn manual(spec: i32, deployment: Option<&Rollout>) -> Decision {
    let Some(live) = deployment else { return first(spec) };
    // An autoscaler that is gone has the last word if it wrote after we held, or before we could. While the
    // field is ours too, its word was what we held.
    let autoscaled = !ours(live) && live.scaled_by.iter().any(|by| by == AUTOSCALER);
    let hold = if autoscaled { Some(Held { at: live.wanted, while_spec_is: spec }) } else { held(live) };
    let hold = hold.filter(|held| held.while_spec_is == spec && held.at != spec);
    let replicas = hold.map_or(spec, |hold| hold.at);
    let settled = live.wanted == replicas && ours(live) && held(live) == hold;
    let by = live.scaled_by.iter().find(|by| !is_ours(by) && *by != AUTOSCALER);
    Decision {
        write: (!settled).then_some(Write { replicas, held: hold, only_if_unchanged: false }),
        held: hold.map(|hold| hold.at),
        undone: by.filter(|_| live.wanted != replicas).map(|by| (by.clone(), live.wanted)),
    }
}

fn first(replicas: i32) -> Decision {
    Decision { write: Some(Write { replicas, held: None, only_if_unchanged: false }), ..NOTHING }
}

/// Autoscalers run in the controller manager.
const AUTOSCALER: &str = "kube-controller-manager";

fn is_ours(name: &str) -> bool {
    name == manager::REPLICAS
}

fn ours(live: &Rollout) -> bool {
    live.scaled_by.iter().any(|by| is_ours(by))
}

fn held(live: &Rollout) -> Option<Held> {
    Held::parse(live.annotations.get(annotation::HELD_REPLICAS)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(wanted: i32, by: &str, held: Option<&str>) -> Rollout {
        let annotations = held.map(|held| (annotation::HELD_REPLICAS.to_owned(), held.to_owned()));
        Rollout {
            wanted,
            scaled_by: vec![by.to_owned()],
            annotations: annotations.into_iter().collect(),
            ..Rollout::default()
        }
    }

    fn decided(replicas: i32, min: Option<i32>, autoscaler: Autoscaler, live: Option<&Rollout>) -> Decision {
        decide(&Input { replicas, min_replicas: min, autoscaler, deployment: live })
    }

    fn written(decision: &Decision) -> Option<i32> {
        decision.write.map(|write| write.replicas)
    }

    #[test]
    fn manual_applies_spec_replicas_once() {
        let absent = decided(3, None, Autoscaler::Absent, None);
        assert_eq!(written(&absent), Some(3));
        let settled = decided(3, None, Autoscaler::Absent, Some(&live(3, manager::REPLICAS, None)));
        assert_eq!(settled, NOTHING);
        let changed = decided(5, None, Autoscaler::Absent, Some(&live(3, manager::REPLICAS, None)));
        assert_eq!(written(&changed), Some(5));
        assert_eq!(changed.undone, None, "our own old number is nobody's fault");
    }

    #[test]
    fn a_scaled_deployment_is_put_back_and_who_did_it_is_named() {
        let decision = decided(3, None, Autoscaler::Absent, Some(&live(9, "kubectl", None)));
        assert_eq!(written(&decision), Some(3));
        assert_eq!(decision.undone, Some(("kubectl".to_owned(), 9)));
    }

    #[test]
    fn a_field_of_the_right_value_that_is_not_ours_is_taken() {
        let decision = decided(3, None, Autoscaler::Absent, Some(&live(3, "kubectl", None)));
        assert_eq!((written(&decision), decision.undone), (Some(3), None));
    }

    #[test]
    fn the_first_number_with_an_autoscaler_is_never_lower_than_what_runs() {
        for (running, first) in [(1, Some(3)), (3, None), (8, None)] {
            let decision =
                decided(1, Some(3), Autoscaler::Absent, Some(&live(running, manager::REPLICAS, None)));
            assert_eq!(written(&decision), first, "{running} run");
        }
        assert_eq!(written(&decided(1, Some(3), Autoscaler::Absent, None)), Some(3));
    }

    #[test]
    fn while_an_autoscaler_decides_nothing_is_written() {
        for by in [AUTOSCALER, manager::REPLICAS, "kubectl"] {
            let decision = decided(3, Some(3), Autoscaler::Present, Some(&live(7, by, None)));
            assert_eq!(decision, NOTHING, "{by}");
        }
    }

    #[test]
    fn an_autoscaler_is_woken_from_zero() {
        let decision = decided(3, Some(4), Autoscaler::Present, Some(&live(0, "kubectl", None)));
        assert_eq!(written(&decision), Some(4));
    }

    #[test]
    fn going_back_to_manual_holds_what_runs_until_spec_replicas_changes() {
        let before = decided(3, None, Autoscaler::Present, Some(&live(40, AUTOSCALER, None)));
        let write = before.write.unwrap();
        assert_eq!(write.held, Some(Held { at: 40, while_spec_is: 3 }));
        assert!(write.only_if_unchanged, "the autoscaler may be raising the number right now");
        let held = live(40, manager::REPLICAS, Some("40/3"));
        assert_eq!(decided(3, None, Autoscaler::Present, Some(&held)).write, None);
        let after = decided(3, None, Autoscaler::Absent, Some(&held));
        assert_eq!((after.write, after.held), (None, Some(40)));
        // Holding the number that the autoscaler wrote leaves both as its managers.
        let both = Rollout { scaled_by: vec![AUTOSCALER.to_owned(), manager::REPLICAS.to_owned()], ..held };
        let changed = decided(5, None, Autoscaler::Absent, Some(&both)).write.unwrap();
        assert_eq!((changed.replicas, changed.held), (5, None));
    }

    #[test]
    fn the_autoscalers_last_word_after_the_hold_counts() {
        let raised = live(45, AUTOSCALER, Some("40/3"));
        let decision = decided(3, None, Autoscaler::Absent, Some(&raised));
        assert_eq!(decision.write.unwrap().held, Some(Held { at: 45, while_spec_is: 3 }));
        let unheld = live(45, AUTOSCALER, None);
        assert_eq!(decided(3, None, Autoscaler::Absent, Some(&unheld)).held, Some(45));
        let scaled = live(9, "kubectl", Some("40/3"));
        let decision = decided(3, None, Autoscaler::Absent, Some(&scaled));
        assert_eq!((written(&decision), decision.undone), (Some(40), Some(("kubectl".to_owned(), 9))));
    }

    /// Every order of the four inputs: no step between manual and autoscaled ever lowers the number of pods.
    #[test]
    fn no_hand_over_shows_fewer_pods() {
        for running in 1..12 {
            for (spec, min) in [(1, 1), (3, 2), (5, 8)] {
                for by in [manager::REPLICAS, AUTOSCALER] {
                    let deployment = live(running, by, None);
                    for (min, autoscaler) in [
                        (Some(min), Autoscaler::Absent),
                        (Some(min), Autoscaler::Present),
                        (None, Autoscaler::Present),
                    ] {
                        let decision = decided(spec, min, autoscaler, Some(&deployment));
                        assert!(written(&decision).is_none_or(|n| n >= running), "{decision:?} at {running}");
                    }
                }
            }
        }
    }
}
