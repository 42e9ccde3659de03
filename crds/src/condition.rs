//! Names of conditions and of their reasons: what scripts and alerts may match.

/// The six conditions; all are always present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    Ready,
    Reconciling,
    Stalled,
    AppReady,
    RedisReady,
    AutoscalingReady,
}

impl ConditionType {
    pub const ALL: [Self; 6] = [
        Self::Ready,
        Self::Reconciling,
        Self::Stalled,
        Self::AppReady,
        Self::RedisReady,
        Self::AutoscalingReady,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::AppReady => "AppReady",
            Self::RedisReady => "RedisReady",
            Self::AutoscalingReady => "AutoscalingReady",
        }
    }
}

/// Why a condition is as it is. One list for all conditions, so that a word means the same everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// All is as the spec wants it.
    Settled,
    /// No pod runs, as `spec.suspend` wants it.
    Suspended,
    /// Work is under way.
    Progressing,
    /// Pods are being started or replaced.
    RollingOut,
    /// The spec cannot be carried out as it is.
    InvalidSpec,
    /// A child's name belongs to somebody else.
    NameTaken,
    /// Somebody else keeps rewriting a child.
    ApplyConflict,
    /// Somebody else's autoscaler scales the Deployment.
    ForeignAutoscaler,
    /// Pods did not become ready in time.
    ProgressDeadlineExceeded,
    /// A container's image cannot be pulled.
    ImagePullFailed,
    /// A container refers to a Secret or ConfigMap that does not exist, or cannot be configured otherwise.
    ContainerConfigError,
    /// A Secret that the spec refers to does not exist, or has no such key.
    SecretMissing,
    /// A container starts and ends again and again.
    CrashLoop,
    /// A quota of the namespace is used up.
    QuotaExceeded,
    /// A pod was not admitted, by a policy or another rule of the namespace.
    PodsRefused,
    /// A pod finds no node.
    Unschedulable,
    /// Redis is not there.
    RedisUnavailable,
    /// No autoscaler is wanted.
    NotConfigured,
    /// An autoscaler decides the number of pods.
    Autoscaling,
    /// The autoscaler cannot read its metrics.
    MetricsUnavailable,
    /// Somebody told the operator to leave this Hyperpage alone.
    Paused,
    /// The API server did not do what it was asked.
    ApiError,
}

impl Reason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Settled => "Settled",
            Self::Suspended => "Suspended",
            Self::Progressing => "Progressing",
            Self::RollingOut => "RollingOut",
            Self::InvalidSpec => "InvalidSpec",
            Self::NameTaken => "NameTaken",
            Self::ApplyConflict => "ApplyConflict",
            Self::ForeignAutoscaler => "ForeignAutoscaler",
            Self::ProgressDeadlineExceeded => "ProgressDeadlineExceeded",
            Self::ImagePullFailed => "ImagePullFailed",
            Self::ContainerConfigError => "ContainerConfigError",
            Self::SecretMissing => "SecretMissing",
            Self::CrashLoop => "CrashLoop",
            Self::QuotaExceeded => "QuotaExceeded",
            Self::PodsRefused => "PodsRefused",
            Self::Unschedulable => "Unschedulable",
            Self::RedisUnavailable => "RedisUnavailable",
            Self::NotConfigured => "NotConfigured",
            Self::Autoscaling => "Autoscaling",
            Self::MetricsUnavailable => "MetricsUnavailable",
            Self::Paused => "Paused",
            Self::ApiError => "ApiError",
        }
    }
}
