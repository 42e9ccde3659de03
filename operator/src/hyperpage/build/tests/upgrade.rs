use crds::Hyperpage;
use k8s_openapi::api::{apps::v1::Deployment, apps::v1::StatefulSet};

use super::super::older::without_bus;
use super::{PASSWORD, build, defaults, specs, stored};
use crate::{
    children::{Child, Detail, Rollout},
    hyperpage::{
        sticky,
        validate::{Defaults, validate},
    },
};

pub(super) fn shown(object: &impl Child) -> Option<Rollout> {
    match object.detail() {
        Detail::Rollout(rollout) => Some(rollout),
        _ => None,
    }
}

/// Both workloads of an example, beside what runs already.
fn workloads(
    example: &str,
    defaults: &Defaults,
    [app, redis]: &[Option<Rollout>; 2],
) -> (Deployment, Option<StatefulSet>) {
    let hyperpage = stored(serde_yaml::from_str(example).unwrap());
    let valid = validate(&hyperpage, defaults).unwrap();
    let built = build(&valid, PASSWORD).unwrap();
    let settle = |set| sticky::redis(set, &valid.images.redis, redis.as_ref(), None);
    (
        sticky::sidecar(built.deployment, &valid.images.sidecar, app.as_ref()),
        built.redis.map(|redis| settle(redis.stateful_set)),
    )
}

#[test]
fn an_operator_with_other_default_images_changes_no_example() {
    let newer = Defaults { sidecar_image: "sidecar:newer".to_owned(), redis_image: "redis:newer".to_owned() };
    let (specs, mut changed) = (specs(), 0);
    for text in specs.values() {
        let before = workloads(text, &defaults(), &[None, None]);
        let live = [shown(&before.0), before.1.as_ref().and_then(shown)];
        assert_eq!(workloads(text, &newer, &live), before);
        // An operator that looks at nothing is caught.
        changed += usize::from(workloads(text, &newer, &[None, None]) != before);
    }
    assert!(specs.len() >= 6 && changed > 0, "{changed}");
}

/// The Deployment of an operator that knew no bus, and the one that this operator makes of it for another spec.
fn upgraded(text: &str, change: impl FnOnce(&mut Hyperpage)) -> [Deployment; 2] {
    let mut hyperpage = stored(serde_yaml::from_str(text).unwrap());
    let built = |hyperpage: &Hyperpage| {
        let valid = validate(hyperpage, &defaults()).unwrap();
        (build(&valid, PASSWORD).unwrap().deployment, valid.images.sidecar)
    };
    let (mut old, ask) = built(&hyperpage);
    let spec = old.spec.as_mut().unwrap();
    spec.template = without_bus(&spec.template).unwrap();
    let old = sticky::sidecar(old, &ask, None);
    change(&mut hyperpage);
    let (new, ask) = built(&hyperpage);
    let new = sticky::sidecar(new, &ask, shown(&old).as_ref());
    [old, new]
}

#[test]
fn pods_from_before_the_bus_get_it_with_their_next_change_and_not_sooner() {
    let mounts = |deployment: &Deployment| serde_json::to_string(deployment).unwrap().contains("hp-bus");
    for text in specs().values() {
        let [old, new] = upgraded(text, |_| {});
        assert!(!mounts(&old));
        assert_eq!(new, old, "an upgrade of the operator restarts nothing");
        assert!(mounts(&upgraded(text, |it| it.spec.app.image = "another".to_owned())[1]));
        let profile = Some(crds::LeaderProfile::Relaxed);
        assert!(mounts(&upgraded(text, |it| it.spec.sidecar.coordination.leader_profile = profile)[1]));
        let upgrade = ("hyperpage.dev/upgrade-sidecar".to_owned(), "now".to_owned());
        assert!(mounts(&upgraded(text, |it| it.metadata.annotations = Some([upgrade].into()))[1]));
    }
}
