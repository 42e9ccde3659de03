//! The floor under every pod: Pod Security Standard `restricted`, and a little more.

use crds::{
    Resources,
    contract::{name, secret},
};
use k8s_openapi::api::core::v1::{
    Capabilities, KeyToPath, PodSecurityContext, ResourceRequirements, SeccompProfile, SecretVolumeSource,
    SecurityContext,
};

use super::Valid;

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
    SecretVolumeSource {
        secret_name: Some(name::redis(&valid.name)),
        items: Some(vec![KeyToPath {
            key: secret::PASSWORD.into(),
            path: secret::PASSWORD.into(),
            mode: None,
        }]),
        default_mode: Some(0o444),
        optional: None,
    }
}

pub(super) fn resources(resources: &Resources) -> ResourceRequirements {
    let Resources { requests, limits } = resources;
    ResourceRequirements {
        requests: (!requests.is_empty()).then(|| requests.clone()),
        limits: (!limits.is_empty()).then(|| limits.clone()),
        claims: None,
    }
}
