//! The Service in front of the app, and the account its pods run as.

use crds::contract::name;
use k8s_openapi::{
    api::core::v1::{Service, ServiceAccount, ServicePort, ServiceSpec},
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};

use super::{
    Valid,
    meta::{Component, metadata, selector},
};

pub(super) fn service(valid: &Valid) -> Service {
    let crds::Service { type_, port, node_port, annotations } = &valid.service;
    Service {
        metadata: ObjectMeta {
            annotations: (!annotations.is_empty()).then(|| annotations.clone()),
            ..metadata(valid, name::app(&valid.name), Component::App)
        },
        spec: Some(ServiceSpec {
            type_: Some(type_.as_str().into()),
            selector: Some(selector(valid, Component::App)),
            ports: Some(vec![ServicePort {
                name: Some("http".into()),
                protocol: Some("TCP".into()),
                port: *port,
                target_port: Some(IntOrString::String("http".into())),
                node_port: *node_port,
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// Has no token, and no rights that its annotations do not give it: it keeps the pods off the namespace's default
/// account. None where the user has one.
pub(super) fn service_account(valid: &Valid) -> Option<ServiceAccount> {
    let crds::ServiceAccount { name, annotations } = &valid.service_account;
    name.is_none().then(|| ServiceAccount {
        metadata: ObjectMeta {
            annotations: (!annotations.is_empty()).then(|| annotations.clone()),
            ..metadata(valid, name::service_account(&valid.name), Component::App)
        },
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    })
}
