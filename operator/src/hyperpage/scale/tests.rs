use super::*;

fn live(wanted: i32, by: &str, notes: Notes) -> Rollout {
    let annotations = notes.annotations().into_iter().map(|(name, value)| (name.to_owned(), value));
    Rollout {
        wanted,
        scaled_by: vec![by.to_owned()],
        annotations: annotations.collect(),
        ..Rollout::default()
    }
}

fn decided(replicas: i32, min: Option<i32>, autoscaler: Autoscaler, live: Option<&Rollout>) -> Decision {
    decide(&input(replicas, min, autoscaler, live))
}

fn input(replicas: i32, min: Option<i32>, autoscaler: Autoscaler, live: Option<&Rollout>) -> Input<'_> {
    Input { replicas, min_replicas: min, suspend: false, autoscaler, foreign: false, deployment: live }
}

fn written(decision: &Decision) -> Option<i32> {
    decision.write.map(|write| write.replicas)
}

fn noted(at: i32, spec: i32) -> Option<Held> {
    Some(Held { at, while_spec_is: spec })
}

fn held(at: i32, spec: i32) -> Notes {
    Notes::held(noted(at, spec))
}

fn suspended(at: i32, spec: i32) -> Notes {
    Notes { suspended: noted(at, spec), ..Notes::default() }
}

fn put_back(by: &str, replicas: i32, suspended: bool) -> Option<Told> {
    Some(Told::PutBack { by: by.to_owned(), replicas, suspended })
}

const NONE: Notes = Notes { held: None, suspended: None, autoscaled: false };
use Autoscaler::{Absent, Present};

#[test]
fn manual_applies_spec_replicas_once() {
    let absent = decided(3, None, Absent, None);
    assert_eq!(written(&absent), Some(3));
    let settled = decided(3, None, Absent, Some(&live(3, manager::REPLICAS, NONE)));
    assert_eq!(settled, NOTHING);
    let changed = decided(5, None, Absent, Some(&live(3, manager::REPLICAS, NONE)));
    assert_eq!(written(&changed), Some(5));
    assert_eq!(changed.told, None, "our own old number is nobody's fault");
}

#[test]
fn a_scaled_deployment_is_put_back_and_who_did_it_is_named() {
    let decision = decided(3, None, Absent, Some(&live(9, "kubectl", NONE)));
    assert_eq!((written(&decision), decision.told), (Some(3), put_back("kubectl", 9, false)));
}

#[test]
fn a_field_of_the_right_value_that_is_not_ours_is_taken() {
    let decision = decided(3, None, Absent, Some(&live(3, "kubectl", NONE)));
    assert_eq!((written(&decision), decision.told), (Some(3), None));
    let both =
        Rollout { scaled_by: vec!["kubectl".to_owned(), manager::REPLICAS.to_owned()], ..live(3, "", NONE) };
    assert_eq!(decided(5, None, Absent, Some(&both)).told, None, "it wrote what we had written");
}

#[test]
fn the_first_number_with_an_autoscaler_is_never_lower_than_what_runs() {
    for (running, first) in [(1, 3), (3, 3), (8, 8)] {
        let decision = decided(1, Some(3), Absent, Some(&live(running, manager::REPLICAS, NONE)));
        let write = decision.write.unwrap();
        assert_eq!((write.replicas, write.notes), (first, Notes::AUTOSCALED), "{running} run");
    }
    assert_eq!(written(&decided(1, Some(3), Absent, None)), Some(3));
    let handed = live(3, manager::REPLICAS, Notes::AUTOSCALED);
    assert_eq!(decided(1, Some(3), Absent, Some(&handed)), NOTHING);
}

#[test]
fn while_an_autoscaler_decides_nothing_is_written() {
    for by in [AUTOSCALER, manager::REPLICAS, "kubectl"] {
        let decision = decided(3, Some(3), Present, Some(&live(7, by, Notes::AUTOSCALED)));
        assert_eq!(decision, NOTHING, "{by}");
    }
}

#[test]
fn an_autoscaler_is_woken_from_zero() {
    let decision = decided(3, Some(4), Present, Some(&live(0, "kubectl", Notes::AUTOSCALED)));
    assert_eq!(written(&decision), Some(4));
    assert_eq!(decision.told, Some(Told::Woken { by: "kubectl".to_owned(), to: 4 }));
}

#[test]
fn going_back_to_manual_holds_what_runs_until_spec_replicas_changes() {
    let before = decided(3, None, Present, Some(&live(40, AUTOSCALER, Notes::AUTOSCALED)));
    let write = before.write.unwrap();
    assert_eq!(write.notes, held(40, 3));
    assert!(write.only_if_unchanged, "the autoscaler may be raising the number right now");
    let kept = live(40, manager::REPLICAS, held(40, 3));
    assert_eq!(decided(3, None, Present, Some(&kept)).write, None);
    let after = decided(3, None, Absent, Some(&kept));
    assert_eq!((after.write, after.held), (None, Some(40)));
    // Holding the number that the autoscaler wrote leaves both as its managers.
    let both = Rollout { scaled_by: vec![AUTOSCALER.to_owned(), manager::REPLICAS.to_owned()], ..kept };
    let changed = decided(5, None, Absent, Some(&both));
    let write = changed.write.unwrap();
    assert_eq!((write.replicas, write.notes, changed.told), (5, NONE, None));
}

#[test]
fn the_autoscalers_last_word_after_the_hold_counts() {
    let raised = live(45, AUTOSCALER, held(40, 3));
    let decision = decided(3, None, Absent, Some(&raised));
    assert_eq!(decision.write.unwrap().notes, held(45, 3));
    let unheld = live(45, AUTOSCALER, Notes::AUTOSCALED);
    assert_eq!(decided(3, None, Absent, Some(&unheld)).held, Some(45));
    let scaled = live(9, "kubectl", held(40, 3));
    let decision = decided(3, None, Absent, Some(&scaled));
    assert_eq!((written(&decision), decision.told), (Some(40), put_back("kubectl", 9, false)));
}

#[test]
fn what_a_foreign_autoscaler_left_is_held_until_spec_replicas_changes() {
    let theirs = live(7, AUTOSCALER, NONE);
    let foreign = Input { foreign: true, ..input(3, None, Absent, Some(&theirs)) };
    assert_eq!(decide(&foreign), NOTHING);
    let gone = decided(3, None, Absent, Some(&theirs));
    assert_eq!((gone.held, gone.told), (Some(7), None));
    let write = gone.write.unwrap();
    assert_eq!((write.replicas, write.notes), (7, held(7, 3)));
    let kept = live(7, manager::REPLICAS, write.notes);
    assert_eq!(decided(3, None, Absent, Some(&kept)).write, None);
    assert_eq!(written(&decided(4, None, Absent, Some(&kept))), Some(4));
    let absent = Input { deployment: None, ..foreign };
    assert_eq!(written(&decide(&absent)), Some(3), "it starts from something");
    let asleep = live(0, manager::REPLICAS, suspended(7, 3));
    let woken = decide(&Input { deployment: Some(&asleep), ..foreign }).write.unwrap();
    assert_eq!(woken.replicas, 7, "no autoscaler wakes it");
    let unmoved = live(7, manager::REPLICAS, woken.notes);
    assert_eq!(decided(3, None, Absent, Some(&unmoved)).held, Some(7), "it left the number as it was woken");
}

#[test]
fn an_autoscaler_that_is_late_is_put_back_without_advice() {
    let late = live(2, AUTOSCALER, suspended(3, 3));
    let decision = decide(&Input { suspend: true, ..input(3, None, Absent, Some(&late)) });
    assert_eq!((written(&decision), decision.told), (Some(0), None));
}

#[test]
fn a_suspension_remembers_what_would_run_and_a_resume_returns_to_it() {
    let suspend = |input: Input<'_>| decide(&Input { suspend: true, ..input });
    for (replicas, min, autoscaler, running, before) in [
        (3, None, Absent, live(3, manager::REPLICAS, NONE), 3),
        (5, None, Absent, live(3, manager::REPLICAS, NONE), 5),
        (3, None, Absent, live(40, manager::REPLICAS, held(40, 3)), 40),
        (3, Some(2), Present, live(8, AUTOSCALER, Notes::AUTOSCALED), 8),
        (3, None, Present, live(8, AUTOSCALER, Notes::AUTOSCALED), 8),
    ] {
        let awake = input(replicas, min, autoscaler, Some(&running));
        let decision = suspend(awake);
        let write = decision.write.unwrap();
        assert_eq!((write.replicas, write.notes), (0, suspended(before, replicas)), "{awake:?}");
        assert_eq!(decision.told, Some(Told::Suspended { from: running.wanted }));
        let asleep = live(0, manager::REPLICAS, write.notes);
        assert_eq!(suspend(Input { deployment: Some(&asleep), ..awake }), NOTHING);
        let resumed = decide(&Input { deployment: Some(&asleep), ..awake });
        assert_eq!(resumed.told, Some(Told::Resumed { to: before }), "{awake:?}");
    }
    let scaled = live(2, "kubectl", suspended(3, 3));
    let decision = suspend(input(3, None, Absent, Some(&scaled)));
    assert_eq!((written(&decision), decision.told), (Some(0), put_back("kubectl", 2, true)));
}

#[test]
fn one_made_suspended_starts_with_no_pod() {
    for min in [None, Some(2)] {
        let decision = decide(&Input { suspend: true, ..input(3, min, Absent, None) });
        let write = decision.write.unwrap();
        assert_eq!((write.replicas, write.notes), (0, suspended(0, 3)));
        let asleep = live(0, manager::REPLICAS, write.notes);
        assert_eq!(written(&decided(3, min, Present, Some(&asleep))), Some(min.unwrap_or(3)));
    }
}

/// Who has the field `spec.replicas`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum By {
    Nobody,
    Ours,
    Autoscaler,
    Both,
}

/// A Hyperpage, its Deployment and its autoscaler, in numbers small enough to try everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    replicas: i32,
    min: Option<i32>,
    suspend: bool,
    /// minReplicas of the autoscaler that there is.
    autoscaler: Option<i32>,
    deployment: Option<(i32, By, Notes)>,
    /// Pods that ran when it last was awake, or fewer if fewer were asked for since.
    ran: i32,
    /// `spec.replicas` was changed since.
    moved: bool,
}

type Rule = fn(&Input<'_>) -> Decision;

impl State {
    const NEW: Self = Self {
        replicas: 1,
        min: None,
        suspend: false,
        autoscaler: None,
        deployment: None,
        ran: 0,
        moved: false,
    };

    fn decide(&self, rule: Rule, new: bool) -> Decision {
        let rollout = self.deployment.filter(|_| !new).map(|(wanted, by, notes)| {
            let by: &[&str] = match by {
                By::Nobody => &[],
                By::Ours => &[manager::REPLICAS],
                By::Autoscaler => &[AUTOSCALER],
                By::Both => &[AUTOSCALER, manager::REPLICAS],
            };
            Rollout { scaled_by: by.iter().map(|by| (*by).to_owned()).collect(), ..live(wanted, "", notes) }
        });
        rule(&Input {
            replicas: self.replicas,
            min_replicas: self.min,
            suspend: self.suspend,
            autoscaler: if self.autoscaler.is_some() { Present } else { Absent },
            foreign: false,
            deployment: rollout.as_ref(),
        })
    }

    /// One reconcile; the operator may end after each of the states.
    fn reconcile(self, rule: Rule) -> Result<Vec<Self>, String> {
        let (mut now, mut steps) = (self, Vec::new());
        let new = now.deployment.is_none();
        if new {
            let empty = written(&now.decide(rule, true)) == Some(0);
            now.deployment = Some((if empty { 0 } else { 1 }, By::Nobody, NONE));
            steps.push(now);
        }
        if let Some(Write { replicas, notes, only_if_unchanged: _ }) = now.decide(rule, new).write {
            let (wanted, by, _) = now.deployment.unwrap();
            let shared = wanted == replicas && matches!(by, By::Autoscaler | By::Both);
            now.deployment = Some((replicas, if shared { By::Both } else { By::Ours }, notes));
            now.allowed(replicas).map_err(|error| format!("{error}, from {self:?}"))?;
            if !now.suspend {
                (now.ran, now.moved) = (replicas, false);
            } else if now.moved && now.min.is_none() {
                // Awake, it might run no more than these by now.
                (now.ran, now.moved) = (now.ran.min(now.replicas), false);
            }
            steps.push(now);
        }
        now.autoscaler = now.min;
        steps.push(now);
        Ok(steps)
    }

    /// No step shows fewer pods than before unless a suspension or a changed `spec.replicas` asked for it.
    fn allowed(&self, shown: i32) -> Result<(), String> {
        let Self { replicas, min, suspend, ran, moved, .. } = *self;
        let asked = moved && shown >= replicas.max(min.unwrap_or(0));
        let fits = match (suspend, min) {
            (true, _) => shown == 0,
            (false, Some(min)) => shown >= min && (shown >= ran || asked),
            (false, None) => shown >= ran || asked,
        };
        if fits { Ok(()) } else { Err(format!("{shown} pods of {ran}")) }
    }

    /// All that people and the autoscaler may do next.
    fn others(self) -> Vec<Self> {
        let mut next = vec![Self { suspend: !self.suspend, ..self }];
        next.extend([None, Some(2)].map(|min| Self { min, ..self }));
        next.extend([0, 1, 4].map(|replicas| Self {
            replicas,
            moved: self.moved || replicas != self.replicas,
            ..self
        }));
        if let (Some(min), Some((wanted, _, notes))) = (self.autoscaler, self.deployment)
            && wanted > 0
        {
            next.extend([min, min + 3].into_iter().filter(|to| *to != wanted).map(|to| Self {
                deployment: Some((to, By::Autoscaler, notes)),
                ran: to,
                moved: false,
                ..self
            }));
        }
        next
    }

    /// Left alone, the operator comes to rest at a number that the spec allows.
    fn comes_to_rest(self, rule: Rule) -> Result<(), String> {
        let mut now = self;
        for _ in 0..4 {
            now = *now.reconcile(rule)?.last().unwrap();
        }
        let decision = now.decide(rule, false);
        let (wanted, _, notes) = now.deployment.unwrap();
        let right = match (now.suspend, now.min) {
            (true, _) => wanted == 0,
            // The autoscaler raises it to its least by itself.
            (false, Some(_)) => wanted > 0,
            (false, None) => wanted == notes.held.map_or(now.replicas, |held| held.at),
        };
        let rest = decision.write.is_none() && right && (now.suspend || notes.suspended.is_none());
        if rest { Ok(()) } else { Err(format!("{self:?} comes to {now:?}, which wants {decision:?}")) }
    }
}

/// Every state that can be reached from a new Hyperpage, suspended or not, by anything in any order.
fn explore(rule: Rule) -> Result<usize, String> {
    let starts = [false, true].into_iter().flat_map(|suspend| {
        [None, Some(2)]
            .into_iter()
            .flat_map(move |min| [0, 1, 4].map(|replicas| State { suspend, min, replicas, ..State::NEW }))
    });
    let mut open: Vec<_> = starts.collect();
    let mut seen: std::collections::BTreeSet<_> = open.iter().copied().collect();
    while let Some(state) = open.pop() {
        state.comes_to_rest(rule)?;
        let next = [state.others(), state.reconcile(rule)?].concat();
        open.extend(next.into_iter().filter(|next| seen.insert(*next)));
    }
    Ok(seen.len())
}

#[test]
fn no_sequence_of_changes_shows_fewer_pods_than_allowed() {
    let states = explore(decide).unwrap();
    assert!(states > 1000, "{states}");
    println!("{states} states");
}

#[test]
fn rules_that_forget_are_caught() {
    /// Does not remember what ran before a suspension.
    fn forgets_the_count(input: &Input<'_>) -> Decision {
        let mut decision = decide(input);
        if let Some(before) = decision.write.as_mut().and_then(|write| write.notes.suspended.as_mut()) {
            before.at = 0;
        }
        decision
    }
    /// Believes that an autoscaler wakes what it scales.
    fn leaves_waking_to_the_autoscaler(input: &Input<'_>) -> Decision {
        let left = !input.suspend && input.autoscaler == Present && input.min_replicas.is_some();
        if left { NOTHING } else { decide(input) }
    }
    /// Goes back to `spec.replicas` as soon as autoscaling is removed.
    fn holds_nothing(input: &Input<'_>) -> Decision {
        let at_once = input.min_replicas.is_none() && !input.suspend;
        if at_once { write(input.replicas, NONE) } else { decide(input) }
    }
    /// Makes the Deployment first and looks at `suspend` later.
    fn starts_before_it_suspends(input: &Input<'_>) -> Decision {
        decide(&Input { suspend: input.suspend && input.deployment.is_some(), ..*input })
    }
    for rule in [forgets_the_count, leaves_waking_to_the_autoscaler, holds_nothing, starts_before_it_suspends]
    {
        assert!(explore(rule).is_err());
    }
}
