//! Who may open connections to the pods.

use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// Who may open connections to the pods.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicy {
    /// Whether there are NetworkPolicies. With false every port of every pod is open, but for policies that others
    /// make.
    #[serde(default = "enabled")]
    pub enabled: bool,
    /// Who reaches `app.port`: pods, namespaces or addresses, as in Kubernetes' NetworkPolicy. Absent: everybody. Ports
    /// of further containers are closed; another NetworkPolicy that selects the pods can open them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 50))]
    #[x_kube(
        validation = Rule::new(
            "self.all(p, has(p.ipBlock) != (has(p.podSelector) || has(p.namespaceSelector)))"
        ).message("an item of networkPolicy.appFrom has either ipBlock or selectors")
    )]
    #[schemars(transform = schema::peers)]
    pub app_from: Vec<NetworkPolicyPeer>,
    /// Who reaches the sidecar's metrics on port 4101. Absent: pods of the same namespace, and of namespaces with the
    /// label hyperpage.dev/metrics: "true".
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 50))]
    #[x_kube(
        validation = Rule::new(
            "self.all(p, has(p.ipBlock) != (has(p.podSelector) || has(p.namespaceSelector)))"
        ).message("an item of networkPolicy.metricsFrom has either ipBlock or selectors")
    )]
    #[schemars(transform = schema::peers)]
    pub metrics_from: Vec<NetworkPolicyPeer>,
}

impl Default for NetworkPolicy {
    fn default() -> Self {
        Self { enabled: enabled(), app_from: Vec::new(), metrics_from: Vec::new() }
    }
}

fn enabled() -> bool {
    true
}
