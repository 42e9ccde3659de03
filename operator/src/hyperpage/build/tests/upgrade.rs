use crds::Hyperpage;
use k8s_openapi::api::{apps::v1::Deployment, apps::v1::StatefulSet};

use super::super::older;
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

/// The Deployment of an operator so many steps ago, and the one that this operator makes of it for another spec.
fn upgraded(text: &str, steps: usize, change: impl FnOnce(&mut Hyperpage)) -> [Deployment; 2] {
    let mut hyperpage = stored(serde_yaml::from_str(text).unwrap());
    let built = |hyperpage: &Hyperpage| {
        let valid = validate(hyperpage, &defaults()).unwrap();
        (build(&valid, PASSWORD).unwrap().deployment, valid.images.sidecar)
    };
    let (mut old, ask) = built(&hyperpage);
    let spec = old.spec.as_mut().unwrap();
    spec.template = older::each(&spec.template).swap_remove(steps - 1);
    let old = sticky::sidecar(old, &ask, None);
    change(&mut hyperpage);
    let (new, ask) = built(&hyperpage);
    let new = sticky::sidecar(new, &ask, shown(&old).as_ref());
    [old, new]
}

/// What it has then is in the text of the Deployment; each step that is older has less.
const PARTS: [&str; 2] = ["podAntiAffinity", "hp-bus"];

#[test]
fn what_newer_operators_add_comes_with_the_next_change_of_the_pods_and_not_sooner() {
    for text in specs().values() {
        for steps in 1..=PARTS.len() {
            let whole = |deployment: &Deployment| {
                let text = serde_json::to_string(deployment).unwrap();
                PARTS[..steps].iter().all(|part| text.contains(part))
            };
            let [old, new] = upgraded(text, steps, |_| {});
            let older = serde_json::to_string(&old).unwrap();
            assert!(PARTS[..steps].iter().all(|part| !older.contains(part)));
            assert_eq!(new, old, "an upgrade of the operator restarts nothing");
            assert!(whole(&upgraded(text, steps, |it| it.spec.app.image = "another".to_owned())[1]));
            let profile = Some(crds::LeaderProfile::Relaxed);
            let coordination = |it: &mut Hyperpage| it.spec.sidecar.coordination.leader_profile = profile;
            assert!(whole(&upgraded(text, steps, coordination)[1]));
            let upgrade = ("hyperpage.dev/upgrade-sidecar".to_owned(), "now".to_owned());
            let annotation = |it: &mut Hyperpage| it.metadata.annotations = Some([upgrade].into());
            assert!(whole(&upgraded(text, steps, annotation)[1]));
        }
    }
}
