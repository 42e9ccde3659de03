use std::{fs, path::Path};

use k8s_openapi::api::{apps::v1::Deployment, apps::v1::StatefulSet};

use super::{PASSWORD, build, defaults, stored};
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
fn workloads(example: &str, defaults: &Defaults, live: &[Option<Rollout>; 2]) -> (Deployment, StatefulSet) {
    let hyperpage = stored(serde_yaml::from_str(example).unwrap());
    let valid = validate(&hyperpage, defaults).unwrap();
    let built = build(&valid, PASSWORD).unwrap();
    let [app, redis] = live;
    (
        sticky::sidecar(built.deployment, &valid.images.sidecar, app.as_ref()),
        sticky::redis(built.redis.unwrap().stateful_set, &valid.images.redis, redis.as_ref(), None),
    )
}

#[test]
fn an_operator_with_other_default_images_changes_no_example() {
    let newer = Defaults { sidecar_image: "sidecar:newer".to_owned(), redis_image: "redis:newer".to_owned() };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let files = fs::read_dir(folder).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()));
    let (mut examples, mut changed) = (0, 0);
    for text in files.filter_map(Result::ok).filter(|text| text.contains("kind: Hyperpage")) {
        let before = workloads(&text, &defaults(), &[None, None]);
        let live = [shown(&before.0), shown(&before.1)];
        assert_eq!(workloads(&text, &newer, &live), before);
        examples += 1;
        // An operator that looks at nothing is caught.
        changed += usize::from(workloads(&text, &newer, &[None, None]) != before);
    }
    assert!(examples >= 3 && changed > 0, "{examples} {changed}");
}
