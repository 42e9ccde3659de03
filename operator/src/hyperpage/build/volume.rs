//! Where Redis keeps its data: a claim of its own, or a directory that goes with the pod.

use std::collections::BTreeMap;

use crds::{RetentionPolicy, Storage, contract::label};
use k8s_openapi::{
    api::{
        apps::v1::StatefulSetPersistentVolumeClaimRetentionPolicy,
        core::v1::{
            EmptyDirVolumeSource, PersistentVolumeClaim, PersistentVolumeClaimSpec, Volume, VolumeMount,
            VolumeResourceRequirements,
        },
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::Valid;

/// Part of the claim's name, which `contract::name::redis_claim` spells.
const NAME: &str = "data";

pub(super) fn mount() -> VolumeMount {
    VolumeMount { name: NAME.into(), mount_path: "/data".into(), ..VolumeMount::default() }
}

/// `None` with a claim, which the StatefulSet controller mounts by itself.
pub(super) fn volume(valid: &Valid) -> Option<Volume> {
    valid.redis.storage.is_none().then(|| Volume {
        name: NAME.into(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    })
}

/// It can never be changed in a StatefulSet, so it holds as little as possible; labels included.
pub(super) fn claim(valid: &Valid) -> Option<PersistentVolumeClaim> {
    let Storage { size, storage_class_name, retention_policy: _ } = valid.redis.storage.clone()?;
    Some(PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(NAME.into()),
            labels: Some(BTreeMap::from([(label::INSTANCE.to_owned(), valid.name.clone())])),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".into()]),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), size)])),
                limits: None,
            }),
            storage_class_name,
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    })
}

/// The StatefulSet is deleted with its Hyperpage, for an external Redis, or as an orphan, which spares the claim.
pub(super) fn retention(policy: RetentionPolicy) -> StatefulSetPersistentVolumeClaimRetentionPolicy {
    StatefulSetPersistentVolumeClaimRetentionPolicy {
        when_deleted: Some(policy.as_str().into()),
        when_scaled: Some(RetentionPolicy::Retain.as_str().into()),
    }
}
