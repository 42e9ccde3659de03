//! The key that pods seal their messages with, replaced in three writes, whoever operates meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams, WatchEvent, WatchParams};
use serde_json::{Value, json};
use tests::apiserver::ApiServer;
use tests::audit::{Mark, unquiet};
use tests::eventually::{check, eventually};
use tests::installation::{OPERATOR, Operator};
use tests::kube::Scene;
use tests::leaks::leaks;
use tests::nodes::Nodes;

use crate::bus_key::{BUS, bus_key, key, lines, template};
use crate::requests::settled;
use crate::world::{SOON, bare, event, machine, readable, scene, shop, until};

const ROTATE: &str = "hyperpage.dev/rotate-bus-key";
const ROTATED: &str = "hyperpage.dev/rotated-bus-key";
const ADDED: &str = "hyperpage.dev/bus-key-added";
const SWITCHED: &str = "hyperpage.dev/bus-key-switched";
/// Long enough to see each phase.
const WAIT: Duration = Duration::from_secs(6);

fn start(server: &ApiServer, name: &str) -> Operator {
    Operator::start_with(server, name, &[&format!("--bus-key-wait={}", WAIT.as_secs())]).unwrap()
}

async fn ask(scene: &Scene, value: &str) {
    let patch = Patch::Merge(json!({"metadata": {"annotations": {ROTATE: value}}}));
    scene.hyperpages().patch("shop", &PatchParams::default(), &patch).await.unwrap();
}

/// Each version of the Secret after that one, until the value has been acted upon and one key is left.
async fn rotation(scene: &Scene, since: &Secret, value: &str) -> Vec<Secret> {
    let params = WatchParams::default().fields(&format!("metadata.name={BUS}")).timeout(290);
    let from = since.resource_version().expect("a version");
    let mut seen: Vec<Secret> = Vec::new();
    let follow = async {
        let mut events = Box::pin(scene.api::<Secret>().watch(&params, &from).await.unwrap());
        while let Some(event) = events.try_next().await.unwrap() {
            let WatchEvent::Modified(now) = event else { continue };
            let done = now.annotations().get(ROTATED).is_some_and(|it| it == value) && lines(&now).len() == 1;
            seen.push(now);
            if done {
                return;
            }
        }
        panic!("the watch ended")
    };
    let within = tests::lived::timeout(WAIT * 3 + SOON, follow).await;
    assert!(within.is_ok(), "{value} is not acted upon: {:?}", seen.last().map(ResourceExt::annotations));
    seen
}

fn noted(secret: &Secret, name: &str) -> Option<Timestamp> {
    Some(secret.annotations().get(name)?.parse().expect("a time"))
}

/// What the operator asked for. Names of events are random.
fn asked_for(server: &ApiServer, since: Mark) -> Vec<String> {
    let entries = server.audit().since(since, OPERATOR).unwrap();
    let plain = |line: &String| match line.starts_with("create events ") {
        true => "create events".to_owned(),
        false => line.replace(" t-rotated/", " "),
    };
    unquiet(&entries).iter().map(plain).collect()
}

#[tokio::test]
async fn a_rotation_is_three_writes_a_wait_apart_and_no_request_between() {
    let _machine = machine().await;
    let Some(server) = bare("rotated").await else { return };
    let scene = scene(&server, "t-rotated").await;
    let _nodes = Nodes::healthy(&scene);
    let first = start(&server, "operator-a");
    first.leads(&server, SOON).await;
    scene.apply("shop", shop()).await.unwrap();
    scene.wait("shop", "Ready", "True", SOON).await;
    settled(&server).await;
    let before = template(&scene).await;
    let made = scene.api::<Secret>().get(BUS).await.unwrap();

    let mark = server.audit().mark().unwrap();
    ask(&scene, "monday").await;
    let reconciling = scene.wait("shop", "Reconciling", "True", SOON).await;
    assert!(
        reconciling.message.contains("both keys are on their way to the pods"),
        "{}",
        reconciling.message
    );
    assert_eq!(scene.condition("shop", "Ready").await.unwrap().status, "True");
    let monday = rotation(&scene, &made, "monday").await;
    let versions: Vec<_> = monday.iter().map(lines).collect();
    let [both, switched, alone] = versions.as_slice() else { panic!("{} versions", versions.len()) };
    let (old, new) = (both[0].clone(), both[1].clone());
    assert_eq!((switched, alone), (&vec![new.clone(), old.clone()], &vec![new.clone()]));
    let (added, turned) = (noted(&monday[0], ADDED).unwrap(), noted(&monday[1], SWITCHED).unwrap());
    let waited = Duration::try_from(turned.duration_since(added)).unwrap();
    println!("{WAIT:?} to wait, {waited:?} waited");
    assert!(waited >= WAIT, "{waited:?}");
    assert_eq!((noted(&monday[1], ADDED), noted(&monday[2], SWITCHED)), (None, None));
    event(&scene, "Normal BusKeyRotated").await;
    scene.wait("shop", "Reconciling", "False", SOON).await;
    settled(&server).await;
    assert_eq!(bus_key(&scene).await, json!({"secret": BUS, "rotated": "monday"}));
    let step = ["get secrets shop-hp-bus", "patch secrets shop-hp-bus", "patch hyperpages/status shop"];
    let requests = asked_for(&server, mark);
    println!("a rotation: {requests:#?}");
    assert_eq!(requests, [step.as_slice(), &step, &step, &["create events"]].concat());
    assert_eq!(template(&scene).await, before, "no pod restarts for it");

    let tuesday = another_operator_goes_on(&server, &scene, &first).await;
    let all: BTreeSet<_> = monday.iter().chain(&tuesday.0).flat_map(lines).collect();
    assert_eq!(all.len(), 4, "the first, and one for each value");
    let texts = readable(&server, &[&first, &tuesday.1], "t-rotated");
    for line in &all {
        assert_eq!(leaks(key(line), &texts), Vec::<&str>::new());
    }
    assert_eq!(template(&scene).await, before);
}

/// Killed in the middle of one rotation, with another one asked for.
async fn another_operator_goes_on(
    server: &ApiServer,
    scene: &Scene,
    first: &Operator,
) -> (Vec<Secret>, Operator) {
    ask(scene, "tuesday").await;
    let begun = until(scene, BUS, "two keys", |secret: &Secret| {
        check(lines(secret).len() == 2, secret.annotations()).map(|()| secret.clone())
    })
    .await;
    ask(scene, "wednesday").await;
    until_status(scene, json!({"secret": BUS, "rotating": "tuesday"})).await;
    first.process.signal("TERM").unwrap();
    first.process.exited(SOON).await.unwrap();
    let mark = server.audit().mark().unwrap();
    let second = start(server, "operator-b");
    second.leads(server, SOON).await;
    let mut versions = vec![begun];
    versions.extend(rotation(scene, &versions[0], "tuesday").await);
    let times: Vec<_> = versions.iter().filter_map(|it| noted(it, SWITCHED).or(noted(it, ADDED))).collect();
    let waited = |pair: &[Timestamp]| Duration::try_from(pair[1].duration_since(pair[0])).unwrap();
    assert!(times.windows(2).map(waited).all(|wait| wait.is_zero() || wait >= WAIT), "{times:?}");
    versions.extend(rotation(scene, &versions[versions.len() - 1], "wednesday").await);
    scene.wait("shop", "Reconciling", "False", SOON).await;
    until_status(scene, json!({"secret": BUS, "rotated": "wednesday"})).await;
    let lists = |line: &String| line.starts_with("list ");
    let requests: Vec<_> = asked_for(server, mark).into_iter().filter(|line| !lists(line)).collect();
    let writes = requests.iter().filter(|line| **line == "patch secrets shop-hp-bus").count();
    assert_eq!(writes, 5, "two of tuesday's, three of wednesday's: {requests:#?}");
    (versions, second)
}

async fn until_status(scene: &Scene, want: Value) {
    eventually("status of the bus key", SOON, async || {
        let now = bus_key(scene).await;
        check(now == want, now)
    })
    .await;
}
