//! The Service in front of the app.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The Service in front of the app's pods. It has the name of the Hyperpage.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.nodePort) || self.type != 'ClusterIP'")
    .message("service.nodePort needs service.type NodePort or LoadBalancer")
    .field_path(".nodePort"))]
pub struct Service {
    /// ClusterIP is reached from inside the cluster; NodePort and LoadBalancer also from outside.
    #[serde(rename = "type", default)]
    pub type_: ServiceType,
    /// The port the Service listens on.
    #[serde(default = "port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// The port on every node. Absent: Kubernetes chooses one, if the type needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub node_port: Option<i32>,
    /// Annotations of the Service, for example those a cloud's load balancer reads.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceType {
    #[default]
    ClusterIP,
    NodePort,
    LoadBalancer,
}

impl ServiceType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIP => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
        }
    }
}

impl Default for Service {
    fn default() -> Self {
        Self { type_: ServiceType::default(), port: port(), node_port: None, annotations: BTreeMap::new() }
    }
}

fn port() -> i32 {
    80
}
