use k8s_openapi::api::{apps::v1::Deployment, apps::v1::StatefulSet};

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
