use std::{collections::BTreeMap, time::Duration};

use super::*;
use crate::{
    children::Live,
    hyperpage::{
        bus::{Waits, rotation::Marks},
        validate::{Access, Defaults, validate},
    },
};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn valid(autoscaled: bool) -> Valid {
    let mut spec = serde_json::json!({"app": {"image": "shop:1"}});
    if autoscaled {
        spec["autoscaling"] = serde_json::json!({"maxReplicas": 9, "targetCPUUtilizationPercentage": 70});
    }
    let hyperpage = serde_json::from_value(serde_json::json!({
        "apiVersion": "hyperpage.dev/v1alpha1", "kind": "Hyperpage",
        "metadata": {"name": "shop", "namespace": "demo", "uid": "u", "generation": 4}, "spec": spec,
    }))
    .unwrap();
    let defaults = Defaults { sidecar_image: "sidecar:9".to_owned(), redis_image: "redis:9".to_owned() };
    validate(&hyperpage, &defaults).unwrap()
}

fn live(kind: Kind, name: &str, detail: Detail) -> (ChildId, Live) {
    (ChildId { kind, name: name.to_owned() }, Live::showing(detail))
}

fn pods(wanted: i32, ready: i32) -> Rollout {
    Rollout {
        generation: 2,
        observed_generation: 2,
        wanted,
        replicas: wanted,
        updated: wanted,
        ready,
        ..Rollout::default()
    }
}

fn family(app: Rollout, redis: i32) -> Family {
    Family::from([
        live(Kind::Deployment, "shop", Detail::Rollout(app)),
        live(Kind::StatefulSet, "shop-hp-redis", Detail::Rollout(pods(1, redis))),
    ])
}

fn autoscaler(active: Option<Result<(), (String, String)>>) -> (ChildId, Live) {
    let target = ("Deployment".to_owned(), "shop".to_owned());
    live(Kind::HorizontalPodAutoscaler, "shop", Detail::Autoscaler(Autoscaler { target, active }))
}

fn sight<'a>(valid: &'a Valid, family: &'a Family) -> Sight<'a> {
    Sight { valid: Some(valid), digest: Some("d".to_owned()), ..Sight::of("shop", Some(4), family) }
}

fn shown(sight: &Sight<'_>) -> BTreeMap<String, String> {
    let status = status(sight, None, NOW);
    assert_eq!(status.conditions.len(), ConditionType::ALL.len(), "all are always present");
    assert!(status.conditions.iter().all(|condition| condition.observed_generation == Some(4)));
    let line = |c: Condition| (c.type_, format!("{} {}: {}", c.status, c.reason, c.message));
    status.conditions.into_iter().map(line).collect()
}

fn trouble(reason: Reason, message: &str) -> Trouble {
    Trouble { reason, message: message.to_owned() }
}

#[test]
fn an_external_redis_is_unknown_until_a_sidecar_has_started() {
    let (mut valid, family) =
        (valid(false), Family::from([live(Kind::Deployment, "shop", Detail::Rollout(pods(3, 0)))]));
    let key = crds::SecretKey { name: "u".to_owned(), key: "k".to_owned() };
    valid.access = Access::External(crds::External { url_secret_ref: key, ca_secret_ref: None });
    let said = |sidecar_started: Option<bool>, waiting: Option<(Reason, String)>| {
        shown(&Sight { sidecar_started, waiting, ..sight(&valid, &family) })["RedisReady"].clone()
    };
    assert!(said(Some(false), None).starts_with("Unknown Progressing: "));
    let started = said(Some(true), None);
    assert!(started.starts_with("True Settled: a sidecar has started; whether "), "{started}");
    assert!(started.contains("kubectl logs deployment/shop -c sidecar"), "{started}");
    let status = status(&Sight { sidecar_started: Some(true), ..sight(&valid, &family) }, None, NOW);
    let redis = status.redis.unwrap();
    assert_eq!(
        (redis.mode.as_deref(), redis.endpoint),
        (Some("External"), None),
        "a URL may hold a password"
    );
}

#[test]
fn a_pod_that_is_not_made_and_one_that_does_not_start_say_where_to_look() {
    let (valid, mut all) = (valid(false), family(pods(3, 2), 0));
    let late = BTreeSet::from(["shop-1".to_owned(), "shop-hp-redis-0".to_owned()]);
    let said = shown(&Sight { late, ..sight(&valid, &all) });
    assert!(said["AppReady"].contains("`kubectl describe pod shop-1`"), "{said:?}");
    assert!(said["RedisReady"].contains("`kubectl describe pod shop-hp-redis-0`"), "{said:?}");
    let soon = shown(&sight(&valid, &all));
    assert!(!soon["AppReady"].contains("describe") && !soon["RedisReady"].contains("describe"), "{soon:?}");
    let describe = "`kubectl describe statefulset shop-hp-redis`";
    let none = Rollout { replicas: 0, ..pods(1, 0) };
    for (unseen, says) in [(0, true), (1, false)] {
        let rollout = Rollout { observed_generation: 2 - unseen, ..none.clone() };
        all.extend([live(Kind::StatefulSet, "shop-hp-redis", Detail::Rollout(rollout))]);
        let said = shown(&sight(&valid, &all));
        assert_eq!(said["RedisReady"].contains(describe), says, "{said:?}");
    }
}

#[test]
fn a_missing_secret_is_named_wherever_something_waits_for_it() {
    let (valid, none) = (valid(false), Family::new());
    let waiting = Some((Reason::SecretMissing, "Secret s (key k) does not exist".to_owned()));
    let status = status(&Sight { waiting: waiting.clone(), ..sight(&valid, &none) }, None, NOW);
    for type_ in ["Ready", "AppReady", "RedisReady", "Reconciling"] {
        let found = status.conditions.iter().find(|it| it.type_ == type_).unwrap();
        assert_eq!(
            (found.reason.as_str(), found.message.contains("Secret s (key k)")),
            ("SecretMissing", true),
            "{found:?}"
        );
    }
    let running = family(pods(3, 3), 1);
    let status = super::status(&Sight { waiting, ..sight(&valid, &running) }, None, NOW);
    let app = status.conditions.iter().find(|it| it.type_ == "AppReady").unwrap();
    assert_eq!(app.message, "3 of 3 pods are ready", "what runs, runs");
}

#[test]
fn all_well() {
    let image = Some("sidecar:9".to_owned());
    let (valid, family) = (valid(false), family(Rollout { image, ..pods(3, 3) }, 1));
    let status = status(&sight(&valid, &family), None, NOW);
    assert_eq!(status.app.as_deref(), Some("3/3"));
    assert_eq!((status.replicas, status.ready_replicas), (Some(3), Some(3)));
    assert_eq!(status.sidecar.unwrap().image.as_deref(), Some("sidecar:9"));
    assert_eq!(status.redis.unwrap().endpoint.as_deref(), Some("shop-hp-redis.demo:6379"));
    assert!(status.selector.unwrap().contains("app.kubernetes.io/instance=shop"));
    let shown = shown(&sight(&valid, &family));
    assert_eq!(shown["Ready"], "True Settled: 3 of 3 pods are ready");
    assert_eq!(shown["Reconciling"], "False Settled: all is as the spec wants it");
    assert!(shown["AutoscalingReady"].starts_with("True NotConfigured"));
    assert!(shown["Stalled"].starts_with("False"));
}

#[test]
fn nothing_exists_yet() {
    let shown = shown(&sight(&valid(false), &Family::new()));
    assert_eq!(shown["Ready"], "False Progressing: Deployment shop does not exist yet");
    assert!(shown["Reconciling"].starts_with("True"));
    assert!(shown["RedisReady"].starts_with("False"));
}

#[test]
fn it_says_what_it_waits_for() {
    let (valid, waiting) = (valid(false), family(pods(3, 1), 1));
    let shown_of = |family: &Family| shown(&sight(&valid, family));
    assert_eq!(shown_of(&waiting)["Reconciling"], "True Progressing: 1 of 3 new pods are ready");
    let redis = family(pods(3, 3), 0);
    assert_eq!(
        shown_of(&redis)["Reconciling"],
        "True Progressing: waiting for the pod of StatefulSet shop-hp-redis"
    );
}

#[test]
fn a_change_that_the_controller_has_not_seen_is_not_ready() {
    let unseen = Rollout { generation: 3, ..pods(3, 3) };
    let surplus = Rollout { replicas: 4, ..pods(3, 3) };
    for rollout in [unseen, surplus] {
        let family = family(rollout, 1);
        assert!(shown(&sight(&valid(false), &family))["AppReady"].starts_with("False RollingOut"));
    }
}

#[test]
fn a_pods_trouble_is_named_and_goes_away() {
    let (valid, family) = (valid(false), family(pods(3, 0), 1));
    let image = trouble(Reason::ImagePullFailed, "container app: image shop:1 cannot be pulled");
    let mut sight = sight(&valid, &family);
    sight.app = Some(&image);
    let line = &shown(&sight)["Ready"];
    assert_eq!(
        line,
        "False ImagePullFailed: 0 of 3 new pods are ready: container app: image shop:1 cannot be pulled"
    );
    sight.app = None;
    assert!(shown(&sight)["Ready"].starts_with("False RollingOut"));
}

#[test]
fn refused_pods_and_a_missed_deadline() {
    let valid = valid(false);
    for (words, reason) in [
        ("pods \"shop-a\" is forbidden: exceeded quota: q", "QuotaExceeded"),
        ("violates PodSecurity", "PodsRefused"),
    ] {
        let refused = family(Rollout { refused: Some(words.to_owned()), ..pods(3, 0) }, 1);
        let line = &shown(&sight(&valid, &refused))["AppReady"];
        assert_eq!(*line, format!("False {reason}: pods of shop are refused: {words}"));
    }
    let overdue = family(Rollout { overdue: Some("timed out".to_owned()), ..pods(3, 0) }, 1);
    let shown = shown(&sight(&valid, &overdue));
    assert!(
        shown["Stalled"].starts_with("True ProgressDeadlineExceeded: 0 of 3 new pods are ready: timed out")
    );
    assert!(shown["Reconciling"].starts_with("False"), "kstatus: stalled is not under way");
}

#[test]
fn a_problem_stalls_even_what_runs() {
    let (valid, family) = (valid(false), family(pods(3, 3), 1));
    let problem =
        Problem { reason: Reason::NameTaken, message: "Service shop is not ours".to_owned(), child: None };
    let mut sight = sight(&valid, &family);
    sight.problem = Some(&problem);
    let shown = shown(&sight);
    assert_eq!(shown["Stalled"], "True NameTaken: Service shop is not ours");
    assert_eq!(shown["Ready"], "False NameTaken: Service shop is not ours");
    assert!(shown["AppReady"].starts_with("True"), "the pods know nothing of it");
}

#[test]
fn an_autoscaler_counts_once_it_reads_its_metrics() {
    let valid = valid(true);
    let line = |active: Option<Option<Result<(), (String, String)>>>| {
        let mut family = family(pods(3, 3), 1);
        family.extend(active.map(autoscaler));
        let shown = shown(&sight(&valid, &family));
        (shown["AutoscalingReady"].clone(), shown["Ready"].starts_with("True"))
    };
    let failed = Some(Some(Err(("FailedGetResourceMetric".to_owned(), "no metrics".to_owned()))));
    assert!(!line(None).1);
    assert!(line(Some(None)).0.starts_with("Unknown"));
    assert!(
        line(failed)
            .0
            .contains("MetricsUnavailable: the HorizontalPodAutoscaler says FailedGetResourceMetric")
    );
    assert!(line(Some(Some(Ok(())))).1);
}

#[test]
fn a_spec_that_is_not_applied_yet_is_neither_observed_nor_ready() {
    let (valid, family) = (valid(false), family(pods(3, 3), 1));
    let old = status(&Sight { generation: Some(3), ..sight(&valid, &family) }, None, NOW);
    let waiting = Some((Reason::ApiError, "failed to apply Service shop: timed out".to_owned()));
    let unapplied = Sight { digest: None, waiting, ..sight(&valid, &family) };
    for previous in [None, Some(&old)] {
        let now = status(&unapplied, previous, NOW);
        let observed = previous.and(Some(3));
        assert_eq!(now.observed_generation, observed);
        assert!(now.conditions.iter().all(|condition| condition.observed_generation == observed));
        let of = |type_| now.conditions.iter().find(|condition| condition.type_ == type_).unwrap();
        for (type_, holds) in [("Ready", "False"), ("Reconciling", "True"), ("Stalled", "False")] {
            assert_eq!(of(type_).status, holds, "{type_}");
        }
        assert_eq!((of("Ready").reason.as_str(), of("AppReady").status.as_str()), ("ApiError", "True"));
    }
    let applied = status(&sight(&valid, &family), Some(&old), NOW);
    assert_eq!(applied.observed_generation, Some(4));
}

/// A repair that has to wait takes nothing from what runs for the spec as it is.
#[test]
fn waiting_for_a_repair_of_an_observed_spec_leaves_it_ready() {
    let (valid, family) = (valid(false), family(pods(3, 3), 1));
    let before = status(&sight(&valid, &family), None, NOW);
    let waiting = Some((Reason::Progressing, "Service shop is being deleted".to_owned()));
    let after = status(&Sight { waiting, ..sight(&valid, &family) }, Some(&before), NOW);
    let of = |type_| &after.conditions.iter().find(|condition| condition.type_ == type_).unwrap().status;
    assert_eq!((of("Ready").as_str(), of("Reconciling").as_str()), ("True", "True"));
}

#[test]
fn held_pods_are_told() {
    let (valid, family) = (valid(false), family(pods(40, 40), 1));
    let mut sight = sight(&valid, &family);
    sight.held = Some(40);
    assert!(shown(&sight)["AppReady"].contains("held at 40"));
}

#[test]
fn an_invalid_spec_leaves_what_an_earlier_one_said() {
    let (valid, family) = (valid(false), family(pods(3, 3), 1));
    let before = status(&sight(&valid, &family), None, NOW);
    let mut sight = sight(&valid, &family);
    (sight.valid, sight.digest) = (None, None);
    let after = status(&sight, Some(&before), NOW);
    assert_eq!(
        (after.selector, after.sidecar, after.redis, after.applied_digest),
        (before.selector, before.sidecar, before.redis, before.applied_digest)
    );
}

#[test]
fn times_move_only_when_a_condition_turns() {
    let (valid, well) = (valid(false), family(pods(3, 3), 1));
    let first = status(&sight(&valid, &well), None, NOW);
    let later = NOW + jiff::SignedDuration::from_mins(5);
    assert_eq!(status(&sight(&valid, &well), Some(&first), later), first, "the same sight, the same status");
    let broken = family(pods(3, 1), 1);
    let second = status(&sight(&valid, &broken), Some(&first), later);
    let time = |status: &HyperpageStatus, type_: &str| {
        status.conditions.iter().find(|c| c.type_ == type_).unwrap().last_transition_time.0
    };
    assert_eq!((time(&second, "Ready"), time(&second, "RedisReady")), (later, NOW));
}

#[test]
fn a_suspended_one_is_ready_and_says_so() {
    let line = |autoscaled: bool, running: i32, redis: i32| {
        let mut valid = valid(autoscaled);
        valid.suspend = true;
        let shown = shown(&sight(&valid, &family(Rollout { wanted: 0, ..pods(running, running) }, redis)));
        ["Ready", "AppReady", "AutoscalingReady"].map(|type_| shown[type_].clone())
    };
    let [ready, app, autoscaling] = line(true, 0, 1);
    assert!(ready.starts_with("True Suspended") && app == ready, "{ready} {app}");
    assert!(autoscaling.starts_with("True Suspended"), "{autoscaling}");
    assert!(line(false, 0, 1)[2].starts_with("True NotConfigured"));
    assert!(line(false, 2, 1)[0].starts_with("False RollingOut"), "two still run");
    assert!(line(false, 0, 0)[0].starts_with("False RedisUnavailable"), "Redis stays");
}

#[test]
fn a_suspended_one_is_ready_though_no_pod_can_tell_of_an_external_redis() {
    let mut valid = valid(false);
    valid.suspend = true;
    let family =
        Family::from([live(Kind::Deployment, "shop", Detail::Rollout(Rollout { wanted: 0, ..pods(0, 0) }))]);
    let shown = shown(&Sight { sidecar_started: Some(false), ..sight(&valid, &family) });
    assert!(shown["Ready"].starts_with("True Suspended"), "{shown:?}");
    assert!(shown["RedisReady"].starts_with("Unknown "), "{shown:?}");
}

#[test]
fn a_number_that_autoscaling_leaves_unused_is_told() {
    let mut valid = valid(true);
    valid.replicas = 7;
    let mut family = family(pods(3, 3), 1);
    family.extend([autoscaler(Some(Ok(())))]);
    let shown = shown(&sight(&valid, &family));
    assert!(shown["AutoscalingReady"].ends_with("; spec.replicas (7) is not used"), "{shown:?}");
}

#[test]
fn a_pause_says_how_to_resume_and_goes_on_telling_the_truth_about_pods() {
    let (valid, family) = (valid(false), family(pods(3, 2), 1));
    let paused = Sight { paused: true, digest: None, ..sight(&valid, &family) };
    let before = HyperpageStatus { observed_generation: Some(3), ..HyperpageStatus::default() };
    let status = status(&paused, Some(&before), NOW);
    let find = |type_: &str| status.conditions.iter().find(|it| it.type_ == type_).unwrap();
    let reconciling = find("Reconciling");
    assert_eq!((reconciling.status.as_str(), reconciling.reason.as_str()), ("False", "Paused"));
    assert!(reconciling.message.ends_with("kubectl annotate hp/shop hyperpage.dev/reconcile-"));
    assert_eq!((find("Ready").status.as_str(), find("Ready").reason.as_str()), ("False", "RollingOut"));
    assert_eq!(status.observed_generation, Some(3), "the new spec has not been looked at");
}

#[test]
fn a_newer_default_image_is_offered_where_none_is_named() {
    let (mut valid, mut family) = (valid(false), family(pods(3, 3), 1));
    for live in family.values_mut() {
        let Detail::Rollout(rollout) = &mut live.detail else { continue };
        rollout.image = Some("older".to_owned());
    }
    let shown = |valid: &Valid| {
        let status = status(&sight(valid, &family), None, NOW);
        (status.sidecar.unwrap(), status.redis.unwrap())
    };
    let (sidecar, redis) = shown(&valid);
    assert_eq!(
        (sidecar.image.as_deref(), sidecar.update_available.as_deref()),
        (Some("older"), Some("sidecar:9"))
    );
    assert_eq!((redis.image.as_deref(), redis.update_available.as_deref()), (Some("older"), Some("redis:9")));
    valid.images.sidecar.named = true;
    assert_eq!(shown(&valid).0.update_available, None);
}

#[test]
fn a_rotation_is_waited_for_in_words_and_keeps_nobody_from_being_ready() {
    let (valid, family) = (valid(false), family(pods(3, 3), 1));
    let waits = Some(Waits { rest: Duration::from_secs(9), words: "bus key rotation".to_owned() });
    let rotating = Kept::Key { marks: Marks::default(), waits };
    let said = shown(&Sight { bus: &rotating, ..sight(&valid, &family) });
    assert_eq!(said["Reconciling"], "True Progressing: bus key rotation");
    assert_eq!(said["Ready"], "True Settled: 3 of 3 pods are ready");
}
