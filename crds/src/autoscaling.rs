//! When a HorizontalPodAutoscaler decides the number of pods.

use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscalerBehavior, MetricSpec};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// Lets a HorizontalPodAutoscaler decide the number of pods. At least one of the two targets or `metrics` is
/// needed.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.minReplicas <= self.maxReplicas")
        .message("autoscaling.minReplicas may not be above autoscaling.maxReplicas")
        .field_path(".minReplicas"),
    validation = Rule::new(
        "has(self.targetCPUUtilizationPercentage) || has(self.targetMemoryUtilizationPercentage) || \
         (has(self.metrics) && size(self.metrics) > 0)"
    ).message(
        "autoscaling needs targetCPUUtilizationPercentage, targetMemoryUtilizationPercentage or metrics"
    )
)]
pub struct Autoscaling {
    /// Never fewer pods than this.
    #[serde(default = "min_replicas")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: i32,
    /// Never more pods than this.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: i32,
    /// The CPU the app's container should use on average, as a share of its own request.
    #[serde(rename = "targetCPUUtilizationPercentage", default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub target_cpu_utilization_percentage: Option<i32>,
    /// The memory the app's container should use on average, as a share of its own request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub target_memory_utilization_percentage: Option<i32>,
    /// Further metrics of autoscaling/v2.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    #[schemars(transform = schema::kubernetes)]
    pub metrics: Vec<MetricSpec>,
    /// How fast pods are added and removed. Absent: pods are removed when they were not needed for 300 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = schema::kubernetes)]
    pub behavior: Option<HorizontalPodAutoscalerBehavior>,
}

fn min_replicas() -> i32 {
    3
}
