//! The NetworkPolicies: who may open connections to the app's pods and to Redis. What pods connect to is not
//! restricted.

use std::collections::BTreeMap;

use crds::contract::{ADMIN_PORT, REDIS_PORT, label, name};
use k8s_openapi::{
    api::networking::v1::{
        NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::{
    Valid,
    meta::{Component, label_selector, metadata},
};

/// Every port that is not named here is closed. The kubelet's probes pass any policy.
pub(super) fn app(valid: &Valid) -> Option<NetworkPolicy> {
    let crds::NetworkPolicy { enabled: true, app_from, metrics_from } = valid.network_policy.clone() else {
        return None;
    };
    let metrics_from = if metrics_from.is_empty() { metrics_by_default() } else { metrics_from };
    // The container's port, not the Service's: a policy sees packets as they reach the pod.
    let ingress = vec![open(valid.app.port, app_from), open(ADMIN_PORT.into(), metrics_from)];
    Some(policy(valid, name::network_policy(&valid.name), Component::App, ingress))
}

pub(super) fn redis(valid: &Valid) -> Option<NetworkPolicy> {
    let own = NetworkPolicyPeer {
        pod_selector: Some(label_selector(valid, Component::App)),
        ..NetworkPolicyPeer::default()
    };
    let ingress = vec![open(REDIS_PORT.into(), vec![own])];
    let redis = || policy(valid, name::redis(&valid.name), Component::Redis, ingress);
    valid.network_policy.enabled.then(redis)
}

fn policy(
    valid: &Valid,
    name: String,
    component: Component,
    ingress: Vec<NetworkPolicyIngressRule>,
) -> NetworkPolicy {
    NetworkPolicy {
        metadata: metadata(valid, name, component),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(label_selector(valid, component)),
            policy_types: Some(vec!["Ingress".into()]),
            ingress: Some(ingress),
            egress: None,
        }),
    }
}

/// Without a list of peers it is everybody.
fn open(port: i32, from: Vec<NetworkPolicyPeer>) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule {
        from: (!from.is_empty()).then_some(from),
        ports: Some(vec![NetworkPolicyPort {
            port: Some(IntOrString::Int(port)),
            protocol: Some("TCP".into()),
            end_port: None,
        }]),
    }
}

/// Pods beside the app's, and monitoring, in a namespace that says so.
fn metrics_by_default() -> Vec<NetworkPolicyPeer> {
    let monitoring = BTreeMap::from([(label::METRICS.to_owned(), "true".to_owned())]);
    let here =
        NetworkPolicyPeer { pod_selector: Some(LabelSelector::default()), ..NetworkPolicyPeer::default() };
    let there = NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector { match_labels: Some(monitoring), match_expressions: None }),
        ..NetworkPolicyPeer::default()
    };
    vec![here, there]
}
