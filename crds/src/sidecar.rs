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
    /// How the pods find each other, agree on a leader and talk.
    #[serde(default)]
    pub coordination: Coordination,
}

/// Sessions, as the sidecar keeps them.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "has(self.trustedHops) && self.trustedHops > 0 || (!has(self.bindIp) || self.bindIp == 'off') && (!has(self.createLimitPerMinute) || self.createLimitPerMinute == 0)"
).message("sessions.bindIp and sessions.createLimitPerMinute need sessions.trustedHops, or no address is known"))]
pub struct Sessions {
    /// How long a session lives after it was last written, unless its writer says otherwise.
    #[serde(default = "ttl_seconds")]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub ttl_seconds: i32,
    /// Whether clients may choose the id of a new session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_client_ids: Option<bool>,
    /// Whether /api/sessions may set userId, user and metadata.created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_identity_writes: Option<bool>,
    /// What becomes of writes while Redis is away: changes wait in the pod (journal), new sessions too and nothing
    /// is promised of them (memory), or all are refused (reject).
    #[serde(default)]
    pub fallback: Fallback,
    /// How long a session is read as it was known last while Redis is away. Absent: 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86_400))]
    pub max_stale_seconds: Option<i32>,
    /// Proxies before the app that append to X-Forwarded-For. Absent or 0: no address in it is believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 16))]
    pub trusted_hops: Option<i32>,
    /// New sessions per minute for one client address and pod. Absent or 0: as many as it likes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 60_000))]
    pub create_limit_per_minute: Option<i32>,
    /// Whether a session is used only from the address it was made from, or from its subnet (/24, /64).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bind_ip: Option<BindIp>,
    /// Whether /v1 gives the session in a cookie, hyperpage-session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<bool>,
}

/// How the pods find each other, agree on a leader and talk.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Coordination {
    /// False: no leader, no messages and no list of pods; their paths answer 404.
    #[serde(default = "enabled")]
    pub enabled: bool,
    /// How soon another pod leads when the leader is gone: in less than a second (fast), or in half a minute, as in
    /// the original (relaxed). Absent: fast.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader_profile: Option<LeaderProfile>,
    /// Messages of high priority that the app may send per minute and pod. Absent: 100; 0: as many as it likes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub high_per_minute: Option<i32>,
    /// The same, of normal priority. Absent: 500. Those of low priority have no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub normal_per_minute: Option<i32>,
    /// What the pods' channels begin with, and the keys of their leader and messages. Hyperpages that use the same on
    /// one Redis elect one leader among all their pods. Absent: hyperpage:coord, as in the original; on an external
    /// Redis, which others may use too, hyperpage:NAMESPACE:NAME, unless originalPeers is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 192), regex(pattern = "^[A-Za-z0-9._:-]+$"))]
    pub channel_prefix: Option<String>,
    /// Whether pods of the original on the same Redis hear what is sent, and are heard: in plain text. Absent: no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_peers: Option<bool>,
}

#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LeaderProfile {
    Fast,
    Relaxed,
}

impl LeaderProfile {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Relaxed => "relaxed",
        }
    }
}

#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Fallback {
    #[default]
    Journal,
    Memory,
    Reject,
}

#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum BindIp {
    Off,
    Subnet,
    Exact,
}

impl BindIp {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Subnet => "subnet",
            Self::Exact => "exact",
        }
    }
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
            coordination: Coordination::default(),
        }
    }
}

impl Default for Coordination {
    fn default() -> Self {
        Self {
            enabled: enabled(),
            leader_profile: None,
            high_per_minute: None,
            normal_per_minute: None,
            channel_prefix: None,
            original_peers: None,
        }
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            ttl_seconds: ttl_seconds(),
            allow_client_ids: None,
            allow_identity_writes: None,
            fallback: Fallback::default(),
            max_stale_seconds: None,
            trusted_hops: None,
            create_limit_per_minute: None,
            bind_ip: None,
            cookie: None,
        }
    }
}

fn resources() -> Resources {
    Resources::new(&[("cpu", "20m"), ("memory", "32Mi")], &[])
}

fn enabled() -> bool {
    true
}

fn ttl_seconds() -> i32 {
    86_400
}
