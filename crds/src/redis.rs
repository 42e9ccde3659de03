//! The Redis behind the sidecars.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{PodTemplate, Resources, Storage, schema};

/// Where sessions are kept. What is absent here gets its default from the operator, not from the schema.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.mode != oldSelf.mode || has(self.storage) == has(oldSelf.storage)").message(
    "redis.storage can be neither added nor removed later, or Redis would start empty: make another Hyperpage"
))]
#[x_kube(
    validation = Rule::new("has(self.external) == (self.mode == 'External')")
        .message("redis.external is set exactly when redis.mode is External"),
    validation = Rule::new(
        "self.mode != 'External' || !(has(self.image) || has(self.resources) || has(self.storage) || \
         has(self.config) || has(self.podTemplate) || has(self.passwordSecretRef))"
    ).message(
        "with redis.mode External nothing is said of a Redis that the operator would run: no image, resources, \
         storage, config, podTemplate or passwordSecretRef"
    )
)]
pub struct Redis {
    /// Standalone: the operator runs one Redis for this Hyperpage. External: somebody else runs it, as `external`
    /// says. After a change of mode the other Redis starts with what it has: no session is copied. A change to
    /// External deletes the operator's Redis, with its volume if storage.retentionPolicy is Delete.
    #[serde(default)]
    pub mode: RedisMode,
    /// The image of Redis, 7.0 or newer. Absent: the operator's default at the time when Redis' pod was last
    /// changed; a newer default waits in status.redis.updateAvailable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("!self.matches('[[:space:]]')").message("redis.image may not contain blanks"))]
    pub image: Option<String>,
    /// What Redis requests and may use. Absent: at most 256Mi of memory; no word about CPU: it requests 100m.
    /// Redis keeps data up to 60 % of the memory limit (maxmemory) and then refuses writes (noeviction).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new("has(self.limits) && 'memory' in self.limits")
            .message("redis.resources needs limits.memory: maxmemory is 60 % of it"),
        validation = Rule::new(
            "!has(self.limits) || !('memory' in self.limits) || \
             quantity(string(self.limits['memory'])).compareTo(quantity('64Mi')) >= 0"
        ).message("redis.resources.limits.memory must be at least 64Mi")
    )]
    pub resources: Option<Resources>,
    /// Keeps data on a volume that outlives Redis' pod. Absent: data survive a restart of Redis, and are lost with
    /// its pod. Cannot be added or removed later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// Directives of redis.conf by name, for example `hz: "20"`. Those that the operator sets are refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::directives")]
    #[x_kube(
        validation = Rule::new("self.all(k, k.matches('^[a-z][a-z0-9-]*$'))")
            .message("a name in redis.config is a directive of redis.conf: lower-case letters, digits and '-'"),
        validation = Rule::new("self.all(k, !self[k].matches('[\\\\n\\\\r]'))")
            .message("a value in redis.config is one line"),
        validation = Rule::new(
            "self.all(k, !(k in ['aclfile', 'appendfsync', 'appendonly', 'appenddirname', 'appendfilename', 'bind', \
             'cluster-enabled', 'daemonize', 'dbfilename', 'dir', 'enable-debug-command', 'enable-module-command', \
             'enable-protected-configs', 'include', 'loadmodule', 'masterauth', 'masteruser', 'maxmemory', \
             'maxmemory-policy', 'pidfile', 'port', 'protected-mode', 'rename-command', 'replicaof', 'requirepass', \
             'slaveof', 'supervised', 'tls-port', 'unixsocket', 'user']))"
        ).message(
            "redis.config may not set a directive that the operator sets: where Redis listens, who may enter, where and \
             how data is kept, and maxmemory, which follows redis.resources.limits.memory"
        )
    )]
    pub config: BTreeMap<String, String>,
    /// Merged over the pod template of Redis, by the rules of app.podTemplate. Its image, how Redis is started, its
    /// files, its memory limit and the Pod Security Standard `restricted` stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<PodTemplate>,
    /// Your own password for Redis, of letters, digits and `-._~` alone, because the app's REDIS_URL holds it. Absent:
    /// one is made and kept in the Secret NAME-hp-redis. It is not watched: after a change of the Secret run
    /// `kubectl rollout restart statefulset/NAME-hp-redis deployment/NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretKey>,
    /// The Redis to use with mode External.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<External>,
}

/// A Redis that somebody else runs. Its Secrets are mounted and not watched: sidecars follow a changed one within a
/// minute or two, the app's own REDIS_URL after `kubectl rollout restart deployment/NAME`.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct External {
    /// Holds the URL with user and password: redis://[user[:password]@]host[:port][/database], rediss:// for TLS.
    pub url_secret_ref: SecretKey,
    /// Holds, in PEM, the certificates that may have signed Redis' own, for a rediss:// URL. Absent: those that
    /// the sidecar's image trusts. The sidecar alone gets them; an app with a client of its own mounts them itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKey>,
}

/// A key of a Secret in the namespace of the Hyperpage.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SecretKey {
    /// The Secret's name.
    #[schemars(length(min = 1))]
    pub name: String,
    /// The key in it.
    #[schemars(length(min = 1))]
    pub key: String,
}

#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RedisMode {
    #[default]
    Standalone,
    External,
}

impl RedisMode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standalone => "Standalone",
            Self::External => "External",
        }
    }
}
