use serde_json::json;

use super::*;

impl Live {
    /// For tests of what depends on the detail alone.
    pub(crate) fn showing(detail: Detail) -> Self {
        Self {
            uid: "u".to_owned(),
            version: "1".to_owned(),
            controller: None,
            deleting: false,
            desired: None,
            fingerprint: String::new(),
            mover: None,
            detail,
        }
    }
}

fn service(name: &str, owner: Option<&str>, desired: &str) -> PartialObjectMeta<Service> {
    let owners = owner.map(|owner| {
        json!([{"apiVersion": "hyperpage.dev/v1alpha1", "kind": "Hyperpage", "name": owner,
                "uid": format!("uid-{owner}"), "controller": true}])
    });
    serde_json::from_value(json!({"metadata": {
        "namespace": "shop", "name": name, "uid": name, "ownerReferences": owners,
        "annotations": {"hyperpage.dev/desired": desired},
    }}))
    .unwrap()
}

fn wake(name: &str) -> Vec<Wake> {
    vec![("shop".to_owned(), name.to_owned())]
}

fn names(children: &Children, uid: &str) -> Vec<String> {
    children.family("shop", uid).into_keys().map(|id| id.name).collect()
}

#[test]
fn a_change_wakes_the_owner_and_an_echo_does_not() {
    let children = Children::default();
    assert_eq!(children.take(Event::Apply(service("a", Some("a"), "1"))), wake("a"));
    let mut echo = service("a", Some("a"), "1");
    echo.metadata.resource_version = Some("2".to_owned());
    assert_eq!(children.take(Event::Apply(echo)), []);
    assert_eq!(children.take(Event::Apply(service("a", Some("a"), "2"))), wake("a"));
}

#[test]
fn an_owner_that_loses_a_child_is_woken() {
    let children = Children::default();
    children.take(Event::Apply(service("a", Some("a"), "1")));
    assert_eq!(children.take(Event::Apply(service("a", None, "1"))), wake("a"));
    assert_eq!(names(&children, "uid-a"), [""; 0]);
    children.take(Event::Apply(service("b", Some("b"), "1")));
    assert_eq!(children.take(Event::Delete(service("b", Some("b"), "1"))), wake("b"));
}

#[test]
fn what_a_new_list_does_not_name_is_gone() {
    let children = Children::default();
    for name in ["a", "b"] {
        children.take(Event::Apply(service(name, Some(name), "1")));
    }
    children.take::<PartialObjectMeta<Service>>(Event::Init);
    assert_eq!(children.take(Event::InitApply(service("a", Some("a"), "1"))), []);
    assert_eq!(names(&children, "uid-b"), ["b"], "until the list is complete nothing is known to be gone");
    assert_eq!(children.take::<PartialObjectMeta<Service>>(Event::InitDone), wake("b"));
    assert_eq!(names(&children, "uid-b"), [""; 0]);
    assert_eq!(names(&children, "uid-a"), ["a"]);
}

#[test]
fn an_autoscalers_tick_leaves_its_shape_alone() {
    let tick = |message: &str, replicas: i32| -> HorizontalPodAutoscaler {
        serde_json::from_value(json!({
            "metadata": {"name": "a", "namespace": "shop"},
            "spec": {"maxReplicas": 5, "scaleTargetRef": {"kind": "Deployment", "name": "a"}},
            "status": {"currentReplicas": replicas, "desiredReplicas": replicas, "conditions": [
                {"type": "AbleToScale", "status": "True", "reason": "ReadyForNewScale", "message": message},
                {"type": "ScalingActive", "status": "True", "reason": "ValidMetricFound", "message": message},
                {"type": "ScalingLimited", "status": "True", "reason": "TooFewReplicas", "message": message},
            ]},
        }))
        .unwrap()
    };
    assert_eq!(tick("one", 3).detail(), tick("two", 4).detail());
}

fn autoscaler(name: &str, owner: Option<&str>, kind: &str, target: &str) -> HorizontalPodAutoscaler {
    let meta = service(name, owner, "1").metadata;
    serde_json::from_value(json!({
        "metadata": meta, "spec": {"maxReplicas": 5, "scaleTargetRef": {"kind": kind, "name": target}},
    }))
    .unwrap()
}

fn deployment(name: &str) -> Deployment {
    serde_json::from_value(json!({"metadata": service(name, Some(name), "1").metadata})).unwrap()
}

#[test]
fn a_strangers_autoscaler_wakes_whose_deployment_it_targets() {
    let children = Children::default();
    for name in ["a", "b"] {
        children.take(Event::Apply(deployment(name)));
    }
    let foreign = |name: &str| children.foreign_autoscaler("shop", name);
    assert_eq!(children.take(Event::Apply(autoscaler("x", None, "Deployment", "a"))), wake("a"));
    assert_eq!((foreign("a").as_deref(), foreign("b")), (Some("x"), None));
    assert_eq!(children.take(Event::Apply(autoscaler("x", None, "Deployment", "a"))), [], "a tick");
    let moved = [wake("a"), wake("b")].concat();
    assert_eq!(children.take(Event::Apply(autoscaler("x", None, "Deployment", "b"))), moved);
    assert_eq!((foreign("a"), foreign("b").as_deref()), (None, Some("x")));
    children.take::<HorizontalPodAutoscaler>(Event::Init);
    assert_eq!(children.take::<HorizontalPodAutoscaler>(Event::InitDone), wake("b"), "gone unseen");
    assert_eq!(foreign("b"), None);
    children.take(Event::Apply(autoscaler("x", None, "Deployment", "b")));
    assert_eq!(children.take(Event::Delete(autoscaler("x", None, "Deployment", "b"))), wake("b"));
    assert!(children.lock().foreign.is_empty());
}

#[test]
fn an_autoscaler_of_ours_or_of_a_hyperpage_or_of_a_stranger_is_not_foreign() {
    let children = Children::default();
    children.take(Event::Apply(deployment("a")));
    let foreign = || children.foreign_autoscaler("shop", "a");
    assert_eq!(children.take(Event::Apply(autoscaler("a", Some("a"), "Deployment", "a"))), wake("a"));
    assert_eq!(children.take(Event::Apply(autoscaler("x", None, "Hyperpage", "a"))), []);
    assert_eq!(children.take(Event::Apply(autoscaler("y", None, "Deployment", "theirs"))), []);
    assert_eq!(foreign(), None);
    // Disowned, it is.
    let woken = children.take(Event::Apply(autoscaler("a", None, "Deployment", "a")));
    assert_eq!((woken, foreign().as_deref()), ([wake("a"), wake("a")].concat(), Some("a")));
    assert_eq!(names(&children, "uid-a"), ["a"], "the Deployment alone");
    children.take(Event::Apply(autoscaler("a", Some("a"), "Deployment", "a")));
    assert_eq!((names(&children, "uid-a"), foreign()), (vec!["a".to_owned(); 2], None));
}

#[test]
fn a_deployment_in_trouble_says_so() {
    let deployment: Deployment = serde_json::from_value(json!({
        "metadata": {"name": "a", "namespace": "shop", "generation": 2},
        "spec": {"replicas": 3, "selector": {}, "template": {"metadata": {"annotations": {
            "hyperpage.dev/x": "1", "other": "2"}}}},
        "status": {"observedGeneration": 2, "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1, "conditions": [
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: q"},
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "late"},
        ]},
    }))
    .unwrap();
    let Detail::Rollout(rollout) = deployment.detail() else { panic!("not a rollout") };
    assert_eq!(rollout.refused.as_deref(), Some("exceeded quota: q"));
    assert_eq!(rollout.overdue.as_deref(), Some("late"));
    assert_eq!((rollout.wanted, rollout.ready, rollout.generation), (3, 1, 2));
    assert_eq!(rollout.template_annotations.keys().collect::<Vec<_>>(), ["hyperpage.dev/x"]);
}
