//! The Secret with the key that pods seal their messages with.

use std::collections::BTreeMap;

use crds::contract::{bus_secret, name};
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use super::{
    Valid,
    meta::{self, Component},
};

pub(super) fn metadata(valid: &Valid) -> ObjectMeta {
    meta::metadata(valid, name::bus(&valid.name), Component::App)
}

pub(super) fn secret(valid: &Valid, keys: ByteString, notes: BTreeMap<String, String>) -> Secret {
    Secret {
        metadata: ObjectMeta { annotations: Some(notes), ..metadata(valid) },
        immutable: None,
        type_: Some("Opaque".into()),
        data: Some(BTreeMap::from([(bus_secret::KEYS.to_owned(), keys)])),
        string_data: None,
    }
}
