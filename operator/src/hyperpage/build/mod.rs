//! From a valid Hyperpage to all its children, as values. Nothing here knows what already exists, and nothing
//! reads the raw spec.

mod app;
mod autoscaler;
mod bus;
mod disruption;
mod meta;
mod network;
pub mod older;
mod redis;
pub(super) mod security;
mod service;
mod sidecar;
mod volume;

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::{
        apps::v1::{Deployment, StatefulSet},
        autoscaling::v2::HorizontalPodAutoscaler,
        core::v1::{ConfigMap, Secret, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{
    invalid::Invalid,
    pod_template,
    validate::{Access, Valid},
};
use crds::RedisMode;

/// Every child but our Secrets, which are made once and never applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Children {
    /// None where the user names one.
    pub service_account: Option<ServiceAccount>,
    pub service: Service,
    /// Without `spec.replicas`: that belongs to a second field manager.
    pub deployment: Deployment,
    pub hpa: Option<HorizontalPodAutoscaler>,
    pub pdb: PodDisruptionBudget,
    pub network_policy: Option<NetworkPolicy>,
    /// `None`: somebody else runs it.
    pub redis: Option<RedisChildren>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RedisChildren {
    pub config_map: ConfigMap,
    pub service: Service,
    pub stateful_set: StatefulSet,
    pub network_policy: Option<NetworkPolicy>,
}

/// `password` is the uid of the Secret in which we keep it. It is in both pod templates: a new password rolls everything
/// that used the old one. All of it is proven by `Valid`, except that a podTemplate fits the template that it is
/// laid over: that shows once the template is there.
pub fn build(valid: &Valid, password: &str) -> Result<Children, Invalid> {
    Ok(Children {
        service_account: service::service_account(valid),
        service: service::service(valid),
        deployment: app::deployment(valid, password)?,
        hpa: autoscaler::hpa(valid),
        pdb: disruption::budget(valid),
        network_policy: network::app(valid),
        redis: match valid.access.mode() {
            RedisMode::Standalone => Some(redis_children(valid, password)?),
            RedisMode::External => None,
        },
    })
}

fn redis_children(valid: &Valid, password: &str) -> Result<RedisChildren, Invalid> {
    let config_map = redis::config_map(valid);
    Ok(RedisChildren {
        service: redis::service(valid),
        stateful_set: redis::stateful_set(valid, password, &config_map)?,
        config_map,
        network_policy: network::redis(valid),
    })
}

/// The Secret as it is first posted: immutable, so that nothing but its deletion changes the password.
pub fn password_secret(valid: &Valid, password: &str) -> Secret {
    redis::secret(valid, password)
}

/// The Secret as it is first posted.
pub fn bus_secret(valid: &Valid, keys: ByteString, notes: BTreeMap<String, String>) -> Secret {
    bus::secret(valid, keys, notes)
}

/// What any such Secret bears.
pub fn bus_metadata(valid: &Valid) -> ObjectMeta {
    bus::metadata(valid)
}

/// Selects the app's pods, as `status.selector` wants it.
pub fn app_selector(valid: &Valid) -> String {
    meta::selector(valid, meta::Component::App)
        .into_iter()
        .map(|(label, value)| format!("{label}={value}"))
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
pub(super) mod tests;
