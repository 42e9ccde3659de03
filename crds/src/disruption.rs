//! How many pods may be away at once because somebody drains nodes.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// How many of the app's pods may be away while nodes are drained. Pods that are not ready never hold up a drain.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.maxUnavailable) != has(self.minAvailable)")
    .message("podDisruptionBudget has either maxUnavailable or minAvailable"))]
pub struct PodDisruptionBudget {
    /// At most so many pods may be away: a number, or a percentage that is rounded up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::pods_or_percent")]
    #[x_kube(validation = Rule::new("string(self).matches('^([1-9][0-9]*|(100|[1-9][0-9]?)%)$')").message(
        "podDisruptionBudget.maxUnavailable is a number above 0, or a percentage above 0% such as \"25%\": with 0 no \
         node could ever be drained"
    ))]
    pub max_unavailable: Option<IntOrString>,
    /// At least so many pods must stay: a number, or a percentage that is rounded up. It must be less than `replicas`,
    /// or than `autoscaling.minReplicas`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::pods_or_percent")]
    #[x_kube(validation = Rule::new("string(self).matches('^([0-9]+|[1-9]?[0-9]%)$')").message(
        "podDisruptionBudget.minAvailable is a number, or a percentage below 100% such as \"50%\": with 100% no node \
         could ever be drained"
    ))]
    pub min_available: Option<IntOrString>,
}
