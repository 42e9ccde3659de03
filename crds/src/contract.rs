//! All that the operator writes and the sidecar, or a person with kubectl, reads. Nothing else is shared.

/// The sidecar serves the app here, on localhost only.
pub const SIDECAR_PORT: u16 = 4100;
/// Probes and metrics, on every interface.
pub const ADMIN_PORT: u16 = 4101;
pub const REDIS_PORT: u16 = 6379;

pub const APP_CONTAINER: &str = "app";
pub const SIDECAR_CONTAINER: &str = "sidecar";
pub const REDIS_CONTAINER: &str = "redis";

/// Environment of the app: where it finds the sidecar. It gets `env::POD_NAME` and `env::REDIS_URL` too.
pub const APP_URL_ENV: &str = "HYPERPAGE_URL";

/// The same, where the password is in somebody's Secret: REDIS_URL refers to it.
pub const APP_REDIS_PASSWORD_ENV: &str = "HYPERPAGE_REDIS_PASSWORD";

/// What the original's channels begin with, and ours where nothing else is said.
pub const CHANNEL_PREFIX: &str = "hyperpage:coord";

/// Environment of the sidecar, as the operator writes it and `sidecar/src/config.rs` reads it.
pub mod env {
    pub const LISTEN: &str = "HYPERPAGE_LISTEN";
    pub const ADMIN_LISTEN: &str = "HYPERPAGE_ADMIN_LISTEN";
    pub const LOG_LEVEL: &str = "HYPERPAGE_LOG_LEVEL";
    pub const MAX_REQUESTS: &str = "HYPERPAGE_MAX_REQUESTS";
    /// A file with the keys that pods seal their messages with.
    pub const BUS_KEYS_FILE: &str = "HYPERPAGE_BUS_KEYS_FILE";
    pub const COORD_COMPAT: &str = "COORD_COMPAT";
    pub const COORD_HIGH_PRIORITY_THRESHOLD: &str = "COORD_HIGH_PRIORITY_THRESHOLD";
    pub const COORD_NORMAL_PRIORITY_THRESHOLD: &str = "COORD_NORMAL_PRIORITY_THRESHOLD";
    pub const LEADER_ELECTION_TIMEOUT: &str = "LEADER_ELECTION_TIMEOUT";
    pub const LEADER_HEARTBEAT_INTERVAL: &str = "LEADER_HEARTBEAT_INTERVAL";
    pub const LEADER_PROFILE: &str = "HYPERPAGE_LEADER_PROFILE";
    pub const POD_CHANNEL_PREFIX: &str = "POD_CHANNEL_PREFIX";
    pub const POD_COORDINATION_ENABLED: &str = "POD_COORDINATION_ENABLED";
    pub const POD_NAME: &str = "POD_NAME";
    pub const REDIS_MODE: &str = "HYPERPAGE_REDIS_MODE";
    pub const DRAIN_SECONDS: &str = "HYPERPAGE_DRAIN_SECONDS";
    pub const REDIS_WAIT_REPLICAS: &str = "HYPERPAGE_REDIS_WAIT_REPLICAS";
    /// A file with the URL of an external Redis, password and all.
    pub const REDIS_URL_FILE: &str = "HYPERPAGE_REDIS_URL_FILE";
    pub const REDIS_PASSWORD_FILE: &str = "HYPERPAGE_REDIS_PASSWORD_FILE";
    /// A file with the certificates that may have signed Redis' own.
    pub const REDIS_CA_FILE: &str = "HYPERPAGE_REDIS_CA_FILE";
    /// In the sidecar always without a password; only the app's holds one.
    pub const REDIS_URL: &str = "REDIS_URL";
    pub const REPAIR_WINDOW_MS: &str = "HYPERPAGE_REPAIR_WINDOW_MS";
    pub const SESSION_ALLOW_CLIENT_IDS: &str = "SESSION_ALLOW_CLIENT_IDS";
    pub const SESSION_ALLOW_IDENTITY_WRITES: &str = "SESSION_ALLOW_IDENTITY_WRITES";
    pub const SESSION_BIND_IP: &str = "SESSION_BIND_IP";
    pub const SESSION_COOKIE: &str = "SESSION_COOKIE";
    pub const SESSION_CREATE_LIMIT_PER_MINUTE: &str = "SESSION_CREATE_LIMIT_PER_MINUTE";
    pub const SESSION_FALLBACK_TO_MEMORY: &str = "SESSION_FALLBACK_TO_MEMORY";
    pub const SESSION_MAX_STALE_SECONDS: &str = "SESSION_MAX_STALE_SECONDS";
    pub const SESSION_TRUSTED_HOPS: &str = "SESSION_TRUSTED_HOPS";
    pub const SESSION_L1_BYTES: &str = "SESSION_L1_BYTES";
    pub const SESSION_TTL_SECONDS: &str = "SESSION_DEFAULT_TTL_SECONDS";
}

/// Admin paths of the sidecar that probes ask.
pub mod path {
    pub const STARTUP: &str = "/startupz";
    pub const LIVE: &str = "/healthz";
    pub const READY: &str = "/readyz";
    pub const METRICS: &str = "/metrics";
    pub const OPENAPI: &str = "/openapi.json";
}

/// Files mounted into the sidecar.
pub mod mount {
    pub const REDIS_AUTH: &str = "/run/hyperpage/redis";
    pub const REDIS_PASSWORD: &str = "/run/hyperpage/redis/password";
    /// URL and certificates of an external Redis.
    pub const REDIS_URL: &str = "/run/hyperpage/redis/url";
    pub const REDIS_CA: &str = "/run/hyperpage/redis/ca.crt";
    pub const BUS: &str = "/run/hyperpage/bus";
    pub const BUS_KEYS: &str = "/run/hyperpage/bus/keys";
    /// redis.conf, in Redis' own pod.
    pub const REDIS_CONFIG: &str = "/etc/hyperpage/redis";
}

/// Keys of the Secret `NAME-hp-redis`.
pub mod secret {
    pub const PASSWORD: &str = "password";
    /// `redis://:PASSWORD@HOST:6379`, for the app alone.
    pub const URL: &str = "url";
    /// As a file is called that holds certificates; no key of ours.
    pub const CA: &str = "ca.crt";
}

/// Keys of the Secret `NAME-hp-bus`.
pub mod bus_secret {
    /// A line for each of at most two: an id of 1 to 16 letters or digits, a blank, 32 bytes in base64. The first
    /// seals, all open.
    pub const KEYS: &str = "keys";
}

pub mod label {
    pub const NAME: &str = "app.kubernetes.io/name";
    /// The Hyperpage's name.
    pub const INSTANCE: &str = "app.kubernetes.io/instance";
    pub const COMPONENT: &str = "app.kubernetes.io/component";
    pub const COMPONENT_APP: &str = "app";
    pub const COMPONENT_REDIS: &str = "redis";
    pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
    pub const MANAGER: &str = "hyperpage-operator";
    /// On namespaces, with the value `true`: their pods may read the metrics of every sidecar.
    pub const METRICS: &str = "hyperpage.dev/metrics";
    /// On the app's pods, as the original's manifests had it.
    pub const APP: &str = "app";
}

pub mod annotation {
    /// Hash of the child as the operator wants it.
    pub const DESIRED: &str = "hyperpage.dev/desired";
    /// On both pod templates: uid of the Secret in which we keep Redis' password, so that a new one rolls the pods.
    pub const REDIS_AUTH: &str = "hyperpage.dev/redis-auth";
    /// On Redis' pod template: hash of its configuration.
    pub const REDIS_CONFIG: &str = "hyperpage.dev/redis-config";
    /// On the Deployment and on Redis' StatefulSet: the image that runs where the spec names none.
    pub const SIDECAR_IMAGE: &str = "hyperpage.dev/sidecar-image";
    pub const REDIS_IMAGE: &str = "hyperpage.dev/redis-image";
    /// On both: hash of what the spec says of the pods, but for an image that it does not name.
    pub const TEMPLATE: &str = "hyperpage.dev/template";
    /// On a Hyperpage, by its users: each new value adopts the operator's default image once.
    pub const UPGRADE_SIDECAR: &str = "hyperpage.dev/upgrade-sidecar";
    pub const UPGRADE_REDIS: &str = "hyperpage.dev/upgrade-redis";
    /// On the Deployment and on Redis' StatefulSet: the value last acted upon.
    pub const UPGRADED_SIDECAR: &str = "hyperpage.dev/upgraded-sidecar";
    pub const UPGRADED_REDIS: &str = "hyperpage.dev/upgraded-redis";
    /// On a Hyperpage, by its users: each new value replaces the key that pods seal their messages with.
    pub const ROTATE_BUS_KEY: &str = "hyperpage.dev/rotate-bus-key";
    /// On the Secret `NAME-hp-bus`: the value last acted upon, and since when its new key has been there beside the
    /// old one, or before it. Neither of the two: no rotation is under way.
    pub const ROTATED_BUS_KEY: &str = "hyperpage.dev/rotated-bus-key";
    pub const BUS_KEY_ADDED: &str = "hyperpage.dev/bus-key-added";
    pub const BUS_KEY_SWITCHED: &str = "hyperpage.dev/bus-key-switched";
    /// On a Hyperpage, by its users: `disabled` stops every write but that of status.
    pub const RECONCILE: &str = "hyperpage.dev/reconcile";
    pub const DISABLED: &str = "disabled";
    /// Replicas held after autoscaling was removed, until `spec.replicas` next changes.
    pub const HELD_REPLICAS: &str = "hyperpage.dev/held-replicas";
    /// What ran before a suspension, and `spec.replicas` then: what a resume returns to.
    pub const SUSPENDED_REPLICAS: &str = "hyperpage.dev/suspended-replicas";
    /// The number of pods was handed to the Hyperpage's own autoscaler.
    pub const AUTOSCALED: &str = "hyperpage.dev/autoscaled";
}

/// Server-side apply field managers. `REPLICAS` owns `spec.replicas` of the Deployment, and only while the
/// operator decides it.
pub mod manager {
    pub const OPERATOR: &str = "hyperpage-operator";
    pub const REPLICAS: &str = "hyperpage-operator/replicas";
    pub const STATUS: &str = "hyperpage-operator/status";
}

/// Names of the children of the Hyperpage `hyperpage`.
pub mod name {
    /// Deployment, Service, HPA and PDB bear the Hyperpage's own name.
    pub fn app(hyperpage: &str) -> String {
        hyperpage.to_owned()
    }
    pub fn service_account(hyperpage: &str) -> String {
        format!("{hyperpage}-hp-app")
    }
    /// Of the app's pods.
    pub fn network_policy(hyperpage: &str) -> String {
        format!("{hyperpage}-hp-app")
    }
    /// Secret, ConfigMap, Service, StatefulSet and NetworkPolicy of the standalone Redis.
    pub fn redis(hyperpage: &str) -> String {
        format!("{hyperpage}-hp-redis")
    }
    /// The pod of the standalone Redis, as the StatefulSet controller names it.
    pub fn redis_pod(hyperpage: &str) -> String {
        format!("{}-0", redis(hyperpage))
    }
    /// The Secret with the keys that pods seal their messages with.
    pub fn bus(hyperpage: &str) -> String {
        format!("{hyperpage}-hp-bus")
    }
    /// The claim of Redis' volume, as the StatefulSet controller names it.
    pub fn redis_claim(hyperpage: &str) -> String {
        format!("data-{}", redis_pod(hyperpage))
    }
}
