//! Names, labels and owner of every child.

use std::collections::BTreeMap;

use crds::{Hyperpage, contract::label};
use k8s_openapi::{
    api::core::v1::LocalObjectReference,
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference},
};
use kube::Resource;

use super::Valid;

#[derive(Clone, Copy)]
pub(super) enum Component {
    App,
    Redis,
}

impl Component {
    fn as_str(self) -> &'static str {
        match self {
            Self::App => label::COMPONENT_APP,
            Self::Redis => label::COMPONENT_REDIS,
        }
    }

    /// What runs there, as opposed to whose it is.
    fn program(self) -> &'static str {
        match self {
            Self::App => "hyperpage",
            Self::Redis => "redis",
        }
    }
}

pub(super) fn metadata(valid: &Valid, name: String, component: Component) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(valid.namespace.clone()),
        labels: Some(labels(valid, component)),
        owner_references: Some(vec![owner(valid)]),
        ..ObjectMeta::default()
    }
}

pub(super) fn image_pull_secrets(valid: &Valid) -> Option<Vec<LocalObjectReference>> {
    let secrets = valid.image_pull_secrets.iter();
    let secrets: Vec<_> = secrets.map(|it| LocalObjectReference { name: it.name.clone() }).collect();
    (!secrets.is_empty()).then_some(secrets)
}

pub(super) fn labels(valid: &Valid, component: Component) -> BTreeMap<String, String> {
    let mut labels = selector(valid, component);
    labels.insert(label::NAME.into(), component.program().into());
    labels.insert(label::MANAGED_BY.into(), label::MANAGER.into());
    labels
}

/// Can never change, so it holds as little as possible.
pub(super) fn selector(valid: &Valid, component: Component) -> BTreeMap<String, String> {
    BTreeMap::from([
        (label::INSTANCE.to_owned(), valid.name.clone()),
        (label::COMPONENT.to_owned(), component.as_str().to_owned()),
    ])
}

pub(super) fn label_selector(valid: &Valid, component: Component) -> LabelSelector {
    LabelSelector { match_labels: Some(selector(valid, component)), match_expressions: None }
}

fn owner(valid: &Valid) -> OwnerReference {
    OwnerReference {
        api_version: Hyperpage::api_version(&()).into_owned(),
        kind: Hyperpage::kind(&()).into_owned(),
        name: valid.name.clone(),
        uid: valid.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}
