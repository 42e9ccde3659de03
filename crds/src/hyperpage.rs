//! The resource itself, and the rules that look across its parts.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    App, Autoscaling, HyperpageStatus, NetworkPolicy, PodDisruptionBudget, Redis, Service, ServiceAccount,
    Sidecar, schema,
};

/// A web app that runs on several pods and keeps its sessions, coordination and cache in one Redis. Each pod
/// gets a sidecar that the app reaches at http://127.0.0.1:4100.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "hyperpage.dev",
    version = "v1alpha1",
    kind = "Hyperpage",
    namespaced,
    status = "HyperpageStatus",
    shortname = "hp",
    category = "hyperpage",
    derive = "PartialEq",
    cel,
    doc = "A web app on several pods that keeps its sessions in one Redis, reached through a sidecar in every pod.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "App", type_ = "string", json_path = ".status.app"),
    printcolumn(
        name = "Redis",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='RedisReady')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(name = "Image", type_ = "string", priority = 1, json_path = ".spec.app.image"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("size(self.metadata.name) <= 45")
        .message("metadata.name may have at most 45 characters, so that the names of its children fit"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be a DNS label: lower-case letters, digits and '-', beginning with a letter"),
    validation = Rule::new("!self.metadata.name.contains('-hp-')")
        .message("metadata.name may not contain '-hp-': names of that shape belong to the children of a Hyperpage")
)]
#[x_kube(
    validation = Rule::new(
        "!has(self.autoscaling) || !has(self.autoscaling.targetCPUUtilizationPercentage) || \
         (has(self.app.resources.requests) && 'cpu' in self.app.resources.requests) || \
         (has(self.app.resources.limits) && 'cpu' in self.app.resources.limits)"
    ).message("autoscaling.targetCPUUtilizationPercentage is a share of app.resources.requests.cpu: set that request"),
    validation = Rule::new(
        "!has(self.autoscaling) || !has(self.autoscaling.targetMemoryUtilizationPercentage) || \
         (has(self.app.resources.requests) && 'memory' in self.app.resources.requests) || \
         (has(self.app.resources.limits) && 'memory' in self.app.resources.limits)"
    ).message("autoscaling.targetMemoryUtilizationPercentage is a share of app.resources.requests.memory: set that request"),
    validation = Rule::new(
        "!has(self.podDisruptionBudget) || !has(self.podDisruptionBudget.minAvailable) || \
         [string(self.podDisruptionBudget.minAvailable)].all(min, !min.matches('^([0-9]+|[0-9]{1,2}%)$') || \
         [has(self.autoscaling) ? self.autoscaling.minReplicas : self.replicas].all(n, n == 0 || \
         (min.endsWith('%') ? int(min.replace('%', '')) * n <= 100 * (n - 1) : int(min) < n)))"
    ).message(
        "podDisruptionBudget.minAvailable, if a percentage rounded up, must be less than replicas, or than \
         autoscaling.minReplicas: otherwise no node could ever be drained"
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::tighten)]
pub struct HyperpageSpec {
    /// How many pods run the app. `kubectl scale hp/NAME --replicas=N` changes it. Not used while
    /// `autoscaling` is set.
    #[serde(default = "three")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: i32,
    /// Runs no pod of the app, for as long as it is true; Redis and its data stay. False again, as many pods
    /// start as ran before, or as `replicas` and `autoscaling` ask for by then.
    #[serde(default)]
    pub suspend: bool,
    /// Secrets with which every pod of this Hyperpage pulls its images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub image_pull_secrets: Vec<PullSecret>,
    /// The app: its image, and how its container runs.
    pub app: App,
    /// The account that the app's pods run as. No token is mounted, whoever's it is. Absent: one without rights.
    #[serde(default)]
    pub service_account: ServiceAccount,
    /// The Service in front of the app's pods. It has the name of this Hyperpage.
    #[serde(default)]
    pub service: Service,
    /// Lets a HorizontalPodAutoscaler decide the number of pods. Absent: `replicas` decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// How many of the app's pods may be away while nodes are drained. Absent: one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_disruption_budget: Option<PodDisruptionBudget>,
    /// Who may open connections to the pods, where the cluster's network enforces NetworkPolicies. Redis is open to
    /// this Hyperpage's own pods and to nobody else. Outgoing connections are not restricted; a policy of your own that
    /// does must leave open DNS and port 6379 of Redis.
    #[serde(default)]
    pub network_policy: NetworkPolicy,
    /// The sidecar that runs in each of the app's pods.
    #[serde(default)]
    pub sidecar: Sidecar,
    /// Where sessions are kept.
    #[serde(default)]
    pub redis: Redis,
}

/// A Secret with which images are pulled.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct PullSecret {
    /// A Secret of type kubernetes.io/dockerconfigjson, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

fn three() -> i32 {
    3
}
