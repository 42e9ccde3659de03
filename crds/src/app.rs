//! The app's container.

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, Probe};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{PodTemplate, Resources, schema};

/// The app: its image, and how its container runs. The container is named `app`. It gets HYPERPAGE_URL (the
/// sidecar), REDIS_URL (with the password) and POD_NAME.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(self.port in [4100, 4101])")
        .message("app.port may not be 4100 or 4101: the sidecar listens there")
        .field_path(".port"),
    validation = Rule::new("self.drainSeconds < self.terminationGracePeriodSeconds")
        .message("app.drainSeconds must be less than app.terminationGracePeriodSeconds, or the app gets no time to stop")
        .field_path(".drainSeconds")
)]
pub struct App {
    /// The container image, for example registry.example/shop:1. Its user must be a number other than 0,
    /// because the pods obey the Pod Security Standard `restricted`.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("!self.matches('[[:space:]]')").message("app.image may not contain blanks"))]
    pub image: String,
    /// When to pull the image. Absent: Always for the tag `latest` or none, otherwise IfNotPresent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// The port the app listens on. Not 4100 or 4101, which are the sidecar's.
    #[serde(default = "port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Replaces the image's entry point.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub command: Vec<String>,
    /// Replaces the image's command, or the arguments of `command`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub args: Vec<String>,
    /// Environment variables. REDIS_URL and names that begin with HYPERPAGE_ or POD_ are set by the operator.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["name".into()]),
        validation = Rule::new(
            "self.all(e, !e.name.startsWith('HYPERPAGE_') && !e.name.startsWith('POD_') && e.name != 'REDIS_URL')"
        ).message("app.env may not set REDIS_URL, HYPERPAGE_* or POD_*: the operator sets them"),
        validation = Rule::new("self.all(e, !has(e.value) || e.value == '' || !has(e.valueFrom))")
            .message("an item of app.env has either value or valueFrom")
    )]
    #[schemars(transform = schema::kubernetes)]
    pub env: Vec<EnvVar>,
    /// ConfigMaps and Secrets whose keys become environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[schemars(transform = schema::kubernetes)]
    pub env_from: Vec<EnvFromSource>,
    /// What the app's container requests and may use. Absent: 100m CPU and 512Mi, at most 500m and 1Gi.
    #[serde(default = "resources")]
    pub resources: Resources,
    /// Holds back the other probes until it succeeds. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = schema::kubernetes)]
    pub startup_probe: Option<Probe>,
    /// Restarts the app's container when it fails. Absent: none; a check that depends on something outside the
    /// process does not belong here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = schema::kubernetes)]
    pub liveness_probe: Option<Probe>,
    /// Takes the pod out of the Service while it fails. Absent: the port accepts a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = schema::kubernetes)]
    pub readiness_probe: Option<Probe>,
    /// How long a pod that is to stop goes on serving before the app gets SIGTERM, so that every proxy has
    /// learnt that it leaves.
    #[serde(default = "drain_seconds")]
    #[schemars(range(min = 0, max = 300))]
    pub drain_seconds: i32,
    /// How long a pod may take to stop: draining, the app, then the sidecar.
    #[serde(default = "termination_grace_period_seconds")]
    #[schemars(range(min = 5, max = 3600))]
    pub termination_grace_period_seconds: i32,
    /// Merged over the app's pod template, for all that has no field of its own: nodeSelector, tolerations,
    /// volumes, more containers. containers and initContainers merge by name; an item of env, ports or volumes
    /// (by name) or of volumeMounts (by mountPath) replaces its namesake whole; the rest is RFC 7396: null
    /// deletes, lists replace (a client-side `kubectl apply` loses null: use --server-side, or an empty list). The
    /// sidecar, the operator's labels and volumes, and the Pod Security Standard `restricted` stay. Init containers
    /// run after the sidecar, and so may use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new(
            "!has(self.spec) || !has(self.spec.containers) || self.spec.containers.all(c, c.name != 'sidecar')"
        ).message("app.podTemplate may not touch the container sidecar: it has fields of its own in spec.sidecar"),
        validation = Rule::new(
            "!has(self.spec) || !has(self.spec.initContainers) || \
             self.spec.initContainers.all(c, !(c.name in ['app', 'sidecar']))"
        ).message("app.podTemplate may not have an init container named app or sidecar")
    )]
    pub pod_template: Option<PodTemplate>,
}

#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImagePullPolicy {
    Always,
    IfNotPresent,
    Never,
}

impl ImagePullPolicy {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

fn port() -> i32 {
    3000
}

fn drain_seconds() -> i32 {
    5
}

fn termination_grace_period_seconds() -> i32 {
    45
}

fn resources() -> Resources {
    Resources::new(&[("cpu", "100m"), ("memory", "512Mi")], &[("cpu", "500m"), ("memory", "1Gi")])
}
