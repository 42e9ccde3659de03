use serde_json::json;

use super::*;
use crate::children::{Child, Detail};

fn ask(upgrade: Option<&str>) -> Ask {
    Ask { named: false, upgrade: upgrade.map(str::to_owned) }
}

fn built(image: &str, app: &str) -> Deployment {
    let template = json!({"spec": {
        "initContainers": [{"name": "sidecar", "image": image}], "containers": [{"name": "app", "image": app}],
    }});
    serde_json::from_value(json!({"spec": {"selector": {}, "template": template}})).unwrap()
}

#[derive(Default)]
struct World {
    live: Option<Rollout>,
}

impl World {
    /// What runs after a reconcile with this default, app image and wish.
    fn reconcile(&mut self, default: &str, app: &str, ask: &Ask) -> String {
        let applied = sidecar(built(default, app), ask, self.live.as_ref());
        // As the watch would show it.
        let Detail::Rollout(shown) = applied.detail() else { panic!("a Deployment") };
        let image = shown.image.clone().unwrap();
        assert_eq!(in_use(&SIDECAR, default, ask, Some(&shown), None)[0].as_ref(), Some(&image));
        self.live = Some(shown);
        image
    }
}

#[test]
fn a_new_default_waits_for_the_next_change_of_the_pods() {
    let (mut world, none) = (World::default(), ask(None));
    assert_eq!(world.reconcile("s:1", "a:1", &none), "s:1");
    let before = world.live.clone();
    assert_eq!(world.reconcile("s:2", "a:1", &none), "s:1");
    assert_eq!(world.live, before, "nothing of it moved, our own notes included");
    let update = |world: &World| in_use(&SIDECAR, "s:2", &ask(None), world.live.as_ref(), None)[1].clone();
    assert_eq!(update(&world).as_deref(), Some("s:2"));
    assert_eq!(world.reconcile("s:2", "a:2", &none), "s:2");
    assert_eq!(update(&world), None);
    assert_eq!(world.reconcile("s:3", "a:2", &none), "s:2");
}

#[test]
fn each_new_value_of_the_annotation_adopts_once() {
    let mut world = World::default();
    let steps = [
        ("s:1", None, "s:1"),
        ("s:2", Some("monday"), "s:2"),
        ("s:3", Some("monday"), "s:2"),
        ("s:3", None, "s:2"),
        ("s:3", Some("monday"), "s:2"),
        ("s:3", Some("friday"), "s:3"),
        ("s:4", Some("friday"), "s:3"),
    ];
    for (default, value, runs) in steps {
        assert_eq!(world.reconcile(default, "a:1", &ask(value)), runs, "{default} {value:?}");
    }
}

#[test]
fn removing_a_named_image_is_a_change_of_the_pods() {
    let (mut world, named) = (World::default(), Ask { named: true, upgrade: None });
    assert_eq!(world.reconcile("s:1", "a:1", &ask(None)), "s:1");
    assert_eq!(world.reconcile("mine", "a:1", &named), "mine");
    assert_eq!(world.reconcile("s:2", "a:1", &ask(None)), "s:2");
    // Also one that was named as what ran anyway.
    assert_eq!(world.reconcile("s:2", "a:1", &named), "s:2");
    assert_eq!(world.reconcile("s:3", "a:1", &ask(None)), "s:3");
}

#[test]
fn what_others_write_on_the_deployment_adopts_nothing() {
    let mut world = World::default();
    world.reconcile("s:1", "a:1", &ask(None));
    let live = world.live.as_mut().unwrap();
    live.template_annotations.insert("hyperpage.dev/x".to_owned(), "1".to_owned());
    // A stranger's image is put back; notes that are gone are made again from what runs.
    live.image = Some("evil".to_owned());
    assert_eq!(world.reconcile("s:2", "a:1", &ask(None)), "s:1");
    world.live.as_mut().unwrap().annotations.clear();
    assert_eq!(world.reconcile("s:2", "a:1", &ask(None)), "s:1");
    assert_eq!(world.reconcile("s:2", "a:2", &ask(None)), "s:2");
}

#[test]
fn redis_is_decided_by_its_own_pod() {
    let template = json!({"spec": {"containers": [{"name": "redis", "image": "redis:8"}]}});
    let whole = json!({"spec": {"selector": {}, "serviceName": "r", "template": template}});
    let built: StatefulSet = serde_json::from_value(whole).unwrap();
    let live = Rollout { image: Some("redis:7".to_owned()), ..Rollout::default() };
    let noted = |set: StatefulSet| set.metadata.annotations.unwrap()[annotation::REDIS_IMAGE].clone();
    assert_eq!(noted(redis(built.clone(), &ask(None), Some(&live), None)), "redis:7");
    assert_eq!(noted(redis(built.clone(), &ask(Some("now")), Some(&live), None)), "redis:8");
    // Made again around its pod, which goes on as it is; unless the spec says what runs.
    for wish in [None, Some("long ago")] {
        let again = redis(built.clone(), &ask(wish), None, Some("redis:7"));
        let Detail::Rollout(shown) = again.detail() else { panic!("a StatefulSet") };
        assert_eq!(shown.image.as_deref(), Some("redis:7"));
        assert_eq!(noted(again), "redis:7");
        assert_eq!(noted(redis(built.clone(), &ask(wish), Some(&shown), Some("redis:7"))), "redis:7");
        let in_use = redis_in_use("redis:8", &ask(wish), None, Some("redis:7"));
        assert_eq!(in_use, ["redis:7", "redis:8"].map(|it| Some(it.to_owned())));
    }
    let named = Ask { named: true, upgrade: None };
    assert_eq!(noted(redis(built.clone(), &named, None, Some("redis:7"))), "redis:8");
    assert_eq!(noted(redis(built, &ask(None), None, None)), "redis:8", "the first of all");
    // What never ran is not remembered as if it had.
    assert_eq!(redis_in_use("redis:8", &named, None, None), [None, None]);
}
