//! What the operator reports.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// What the operator reports.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::tighten)]
pub struct HyperpageStatus {
    /// The generation of the Hyperpage that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Pods of the app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Pods of the app that are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// Ready pods of the app, of those wanted: 3/3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// Selects the app's pods; an autoscaler that targets the Hyperpage reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The sidecar that the app's pods run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sidecar: Option<SidecarStatus>,
    /// The Redis that the sidecars use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<RedisStatus>,
    /// Digest of all children as last applied; equal means nothing to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_digest: Option<String>,
    /// Ready, Reconciling and Stalled sum up; AppReady, RedisReady and AutoscalingReady say which part is
    /// meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

impl HyperpageStatus {
    /// What Redis runs, or ran last.
    pub fn redis_image(&self) -> Option<&str> {
        self.redis.as_ref()?.image.as_deref()
    }
}

/// The sidecar that the app's pods run.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SidecarStatus {
    /// Its image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The operator's default, where it is another. The next change of the pods brings it, or a new value of
    /// the annotation hyperpage.dev/upgrade-sidecar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_available: Option<String>,
    /// The key that the pods seal their messages with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bus_key: Option<BusKeyStatus>,
}

/// The key that the pods seal their messages with.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct BusKeyStatus {
    /// The Secret that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The value of the annotation hyperpage.dev/rotate-bus-key whose rotation is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotating: Option<String>,
    /// The value that was last acted upon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated: Option<String>,
}

/// The Redis that the sidecars use.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RedisStatus {
    /// Its mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Where the sidecars reach it, HOST:PORT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Its image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The operator's default, where it is another. The next change of Redis' pod brings it, or a new value of
    /// the annotation hyperpage.dev/upgrade-redis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_available: Option<String>,
}
