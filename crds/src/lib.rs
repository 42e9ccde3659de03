//! The `Hyperpage` resource, and all that operator and sidecar agree on. No client, no runtime: the sidecar
//! depends on this crate and never talks to Kubernetes.

#![expect(unreachable_pub, reason = "KubeSchema copies each struct, `pub` and all, into a function")]

mod app;
mod autoscaling;
mod condition;
pub mod contract;
mod disruption;
mod hyperpage;
mod network;
mod pod_template;
mod quantity;
mod redis;
mod resources;
mod schema;
mod service;
mod service_account;
mod sidecar;
mod status;
mod storage;

pub use app::{App, ImagePullPolicy};
pub use autoscaling::Autoscaling;
pub use condition::{ConditionType, Reason};
pub use disruption::PodDisruptionBudget;
pub use hyperpage::{Hyperpage, HyperpageSpec, PullSecret};
pub use network::NetworkPolicy;
pub use pod_template::PodTemplate;
pub use quantity::{NotAQuantity, bytes};
pub use redis::{External, Redis, RedisMode, SecretKey};
pub use resources::Resources;
pub use service::{Service, ServiceType};
pub use service_account::ServiceAccount;
pub use sidecar::{BindIp, Coordination, Fallback, LeaderProfile, LogLevel, Sessions, Sidecar};
pub use status::{BusKeyStatus, HyperpageStatus, RedisStatus, SidecarStatus};
pub use storage::{RetentionPolicy, Storage};

#[cfg(test)]
mod tests;
