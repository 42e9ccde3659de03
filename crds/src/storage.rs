//! The volume that keeps Redis' data.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// A volume that outlives Redis' pod.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "has(self.storageClassName) == has(oldSelf.storageClassName) && \
     (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)"
).message(
    "redis.storage.storageClassName cannot be changed: a volume stays in the class it was made in"
))]
pub struct Storage {
    /// How large the volume is, for example 5Gi. It can grow, if its class allows it (allowVolumeExpansion), and
    /// Redis runs on meanwhile; it never shrinks. Leave room for two copies of the data: the append-only file
    /// is rewritten beside the old one.
    #[schemars(schema_with = "schema::quantity")]
    #[x_kube(
        validation = Rule::new("quantity(self).compareTo(quantity('0')) > 0")
            .message("redis.storage.size must be more than 0"),
        validation = Rule::new("quantity(self).compareTo(quantity(oldSelf)) >= 0")
            .message("redis.storage.size can grow and never shrink")
    )]
    pub size: Quantity,
    /// The StorageClass. Absent: the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub storage_class_name: Option<String>,
    /// What becomes of the volume's claim, data-NAME-hp-redis-0, when the Hyperpage is deleted or
    /// redis.mode becomes External.
    #[serde(default)]
    pub retention_policy: RetentionPolicy,
}

#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetentionPolicy {
    /// It stays, and the next Hyperpage of that name finds its data again.
    #[default]
    Retain,
    /// It is deleted, and the data with it.
    Delete,
}

impl RetentionPolicy {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retain => "Retain",
            Self::Delete => "Delete",
        }
    }
}
