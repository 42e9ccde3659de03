use super::*;
use serde_json::{Value, json};

fn pod(name: &str, waiting: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"namespace": "shop", "name": name, "labels": {
            "app.kubernetes.io/instance": "shop", "app.kubernetes.io/component": "app"}},
        "status": {"containerStatuses": [{"name": "app", "image": "shop:1", "imageID": "", "ready": false,
            "restartCount": 4, "state": {"waiting": waiting},
            "lastState": {"terminated": {"exitCode": 3}}}]},
    }))
    .unwrap()
}

fn waits(reason: &str, message: &str) -> Pod {
    pod("p", json!({"reason": reason, "message": message}))
}

#[test]
fn a_person_can_act_on_the_message() {
    let image = trouble(&waits("ErrImagePull", "access denied")).unwrap();
    assert_eq!(image.reason, Reason::ImagePullFailed);
    assert_eq!(image.message, "container app: image shop:1 cannot be pulled: ErrImagePull: access denied");
    let secret = trouble(&waits("CreateContainerConfigError", "secret \"s\" not found")).unwrap();
    assert_eq!(secret.reason, Reason::ContainerConfigError);
    assert!(secret.message.contains("secret \"s\" not found"), "{}", secret.message);
    let crash = trouble(&waits("CrashLoopBackOff", "back-off 10s restarting")).unwrap();
    assert_eq!(crash.message, "container app ends again and again with code 3; see its log");
    assert_eq!(trouble(&waits("ContainerCreating", "")), None);
}

#[test]
fn the_two_words_for_a_failed_pull_are_one_trouble() {
    let pods = Pods::default();
    let wake = [("shop".to_owned(), "shop".to_owned())];
    assert_eq!(pods.take(Event::Apply(waits("ErrImagePull", "denied"))), wake);
    assert_eq!(
        pods.take(Event::Apply(waits(
            "ImagePullBackOff",
            "Back-off pulling image \"shop:1\": ErrImagePull: denied"
        ))),
        []
    );
}

#[test]
fn trouble_ends_when_the_pod_gets_on_or_goes() {
    let pods = Pods::default();
    let wake = vec![("shop".to_owned(), "shop".to_owned())];
    let find = || pods.trouble("shop", "shop", "app").map(|trouble| trouble.reason);
    pods.take(Event::Apply(waits("ErrImagePull", "denied")));
    assert_eq!(find(), Some(Reason::ImagePullFailed));
    assert_eq!(pods.take(Event::Apply(waits("PodInitializing", ""))), wake);
    assert_eq!(find(), None);
    pods.take(Event::Apply(waits("ErrImagePull", "denied")));
    assert_eq!(pods.take(Event::Delete(waits("ErrImagePull", "denied"))), wake);
    pods.take(Event::Apply(waits("ErrImagePull", "denied")));
    pods.take(Event::Init);
    assert_eq!(pods.take(Event::InitDone), wake);
    assert_eq!(find(), None);
}

#[test]
fn only_an_unready_pod_of_redis_is_kept_and_only_while_it_stays() {
    let pod = |component: &str, ready: &str, deleted: Option<&str>| -> Pod {
        serde_json::from_value(json!({
            "metadata": {"namespace": "shop", "name": "shop-hp-redis-0", "uid": "u", "deletionTimestamp": deleted,
                "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"controller-revision-hash": "r-1",
                "app.kubernetes.io/instance": "shop", "app.kubernetes.io/component": component}},
            "status": {"conditions": [
                {"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:07Z"}]},
        }))
        .unwrap()
    };
    let pods = Pods::default();
    let since = |pod: Pod| {
        pods.take(Event::Apply(pod));
        pods.unready("shop", "shop").map(|unready| unready.since.to_string())
    };
    assert_eq!(since(pod("redis", "False", None)).as_deref(), Some("2026-01-01T00:00:07Z"));
    assert_eq!(since(pod("redis", "True", None)), None);
    assert_eq!(since(pod("redis", "False", Some("2026-01-01T00:00:09Z"))), None);
    assert_eq!(since(pod("app", "False", None)), None);
    let mut young = pod("redis", "False", None);
    young.status = None;
    assert_eq!(since(young).as_deref(), Some("2026-01-01T00:00:00Z"));
    // A stranger's with copied labels.
    let mut copied = pod("redis", "False", None);
    copied.metadata.name = Some("shop-a-copy".to_owned());
    pods.take(Event::Apply(copied));
    assert_eq!(since(pod("redis", "True", None)), None);
}

#[test]
fn a_pod_of_which_nothing_starts_is_known_until_something_does() {
    let at = |conditions: Value, reason: &str| {
        let mut pod = waits(reason, "");
        let status = json!({"phase": "Pending", "startTime": "2026-01-01T00:00:00Z", "conditions": conditions,
            "containerStatuses": pod.status.take().unwrap().container_statuses});
        pod.status = serde_json::from_value(status).unwrap();
        pod
    };
    let pods = Pods::default();
    let wake = [("shop".to_owned(), "shop".to_owned())];
    assert_eq!(pods.take(Event::Apply(at(json!([]), "ContainerCreating"))), wake);
    let unstarted = pods.unstarted("shop", "shop");
    assert_eq!(unstarted.iter().map(|it| it.pod.as_str()).collect::<Vec<_>>(), ["p"]);
    assert_eq!(pods.unstarted("shop", "other"), BTreeSet::new());
    assert_eq!(pods.take(Event::Apply(at(json!([]), "ContainerCreating"))), []);
    let mounted = json!([{"type": "PodReadyToStartContainers", "status": "True"}]);
    for started in [at(mounted, "ContainerCreating"), at(json!([]), "CrashLoopBackOff")] {
        pods.take(Event::Apply(at(json!([]), "ContainerCreating")));
        pods.take(Event::Apply(started));
        assert_eq!(pods.unstarted("shop", "shop"), BTreeSet::new());
    }
}

#[test]
fn a_sidecar_that_started_with_an_external_redis_is_known() {
    let pod = |file: &str, started: bool| -> Pod {
        serde_json::from_value(json!({
            "metadata": {"namespace": "shop", "name": "p", "labels": {"app.kubernetes.io/instance": "shop"}},
            "spec": {"containers": [], "initContainers": [{"name": "sidecar", "env": [{"name": file}]}]},
            "status": {"initContainerStatuses": [{"name": "sidecar", "image": "i", "imageID": "", "ready": false,
                "restartCount": 0, "started": started}]},
        }))
        .unwrap()
    };
    let pods = Pods::default();
    for (file, started, sidecar_started) in [
        ("HYPERPAGE_REDIS_URL_FILE", false, false),
        ("HYPERPAGE_REDIS_PASSWORD_FILE", true, false),
        ("HYPERPAGE_REDIS_URL_FILE", true, true),
    ] {
        pods.take(Event::Apply(pod(file, started)));
        assert_eq!(pods.sidecar_started("shop", "shop"), sidecar_started, "{file} {started}");
    }
}

#[test]
fn the_gravest_trouble_speaks() {
    let pods = Pods::default();
    pods.take(Event::Apply(pod("a", json!({"reason": "CrashLoopBackOff"}))));
    pods.take(Event::Apply(pod("b", json!({"reason": "InvalidImageName", "message": "bad"}))));
    assert_eq!(pods.trouble("shop", "shop", "app").unwrap().reason, Reason::ImagePullFailed);
    assert_eq!(pods.trouble("shop", "shop", "redis"), None);
}
