//! The sidecar in each of the app's pods.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Resources;

/// The sidecar that runs in each of the app's pods.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Sidecar {
    /// The sidecar's image. Absent: the operator's default at the time when the pods were last changed; a
    /// newer default waits in status.sidecar.updateAvailable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("!self.matches('[[:space:]]')").message("sidecar.image may not contain blanks"))]
    pub image: Option<String>,
    /// What the sidecar requests and may use.
    #[serde(default = "resources")]
    #[x_kube(validation = Rule::new(
        "has(self.requests) && 'cpu' in self.requests && 'memory' in self.requests"
    ).message("sidecar.resources.requests must keep cpu and memory: without them an autoscaler cannot count the pod"))]
    pub resources: Resources,
    /// How much the sidecar logs.
    #[serde(default)]
    pub log_level: LogLevel,
    /// Sessions, as the sidecar keeps them.
    #[serde(default)]
    pub sessions: Sessions,
}

/// Sessions, as the sidecar keeps them.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Sessions {
    /// How long a session lives after it was last written, unless its writer says otherwise.
    #[serde(default = "ttl_seconds")]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub ttl_seconds: i32,
}

#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl Default for Sidecar {
    fn default() -> Self {
        Self {
            image: None,
            resources: resources(),
            log_level: LogLevel::default(),
            sessions: Sessions::default(),
        }
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self { ttl_seconds: ttl_seconds() }
    }
}

fn resources() -> Resources {
    Resources::new(&[("cpu", "20m"), ("memory", "32Mi")], &[])
}

fn ttl_seconds() -> i32 {
    86_400
}
