//! The floor under every pod: Pod Security Standard `restricted`, and a little more.

use std::collections::BTreeMap;

use crds::{
    External, Resources, SecretKey,
    contract::{annotation, bus_secret, name, secret},
};
use k8s_openapi::api::core::v1::{
    Capabilities, KeyToPath, PodSecurityContext, ProjectedVolumeSource, ResourceRequirements, SeccompProfile,
    SecretProjection, SecretVolumeSource, SecurityContext, VolumeProjection,
};

use super::{Access, Valid};

pub(super) fn pod() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), localhost_profile: None }),
        ..PodSecurityContext::default()
    }
}

/// For somebody else's image: it keeps its own user and may write where that user may.
pub(in crate::hyperpage) fn container() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".into()]) }),
        ..SecurityContext::default()
    }
}

/// For an image that we know: a number for a user, and nothing to write to.
pub(super) fn sealed(user: i64) -> SecurityContext {
    SecurityContext {
        read_only_root_filesystem: Some(true),
        run_as_user: Some(user),
        run_as_group: Some(user),
        ..container()
    }
}

/// Redis' password as a file. A container that does not mount the volume does not see it.
pub(super) fn password_file(valid: &Valid) -> SecretVolumeSource {
    let (secret, key) = match &valid.access {
        Access::Given(SecretKey { name, key }) => (name.clone(), key.as_str()),
        Access::Generated | Access::External(_) => (name::redis(&valid.name), secret::PASSWORD),
    };
    SecretVolumeSource {
        secret_name: Some(secret),
        items: Some(file(key, secret::PASSWORD)),
        default_mode: Some(READABLE),
        optional: None,
    }
}

/// The keys that pods seal their messages with, as a file that follows the Secret: a new key restarts nothing.
pub(super) fn bus_keys(valid: &Valid) -> SecretVolumeSource {
    SecretVolumeSource {
        secret_name: Some(name::bus(&valid.name)),
        items: Some(file(bus_secret::KEYS, bus_secret::KEYS)),
        default_mode: Some(READABLE),
        optional: None,
    }
}

/// How to enter an external Redis, from one Secret or two.
pub(super) fn external_files(external: &External) -> ProjectedVolumeSource {
    let External { url_secret_ref, ca_secret_ref } = external;
    let files = [(Some(url_secret_ref), secret::URL), (ca_secret_ref.as_ref(), secret::CA)];
    let sources = files.into_iter().filter_map(|(key, path)| {
        let SecretKey { name, key } = key?;
        let secret = SecretProjection { name: name.clone(), items: Some(file(key, path)), optional: None };
        Some(VolumeProjection { secret: Some(secret), ..VolumeProjection::default() })
    });
    ProjectedVolumeSource { default_mode: Some(READABLE), sources: Some(sources.collect()) }
}

/// Only the containers that mount it run in the pod as users that we do not know.
const READABLE: i32 = 0o444;

fn file(key: &str, path: &str) -> Vec<KeyToPath> {
    vec![KeyToPath { key: key.into(), path: path.into(), mode: None }]
}

/// A new password of ours rolls the pods that use it.
pub(super) fn auth(valid: &Valid, password: &str) -> BTreeMap<String, String> {
    let ours = valid.access == Access::Generated;
    ours.then(|| (annotation::REDIS_AUTH.to_owned(), password.to_owned())).into_iter().collect()
}

pub(super) fn resources(resources: &Resources) -> ResourceRequirements {
    let Resources { requests, limits } = resources;
    ResourceRequirements {
        requests: (!requests.is_empty()).then(|| requests.clone()),
        limits: (!limits.is_empty()).then(|| limits.clone()),
        claims: None,
    }
}
