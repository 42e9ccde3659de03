//! Requests and limits of one container.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{quantity, schema};

/// What a container requests and may use.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!has(self.requests) || !has(self.limits) || ['cpu', 'memory'].all(k, !(k in self.requests) || \
     !(k in self.limits) || quantity(string(self.requests[k])).compareTo(quantity(string(self.limits[k]))) <= 0)"
).message("a request of cpu or memory may not be above its limit"))]
pub struct Resources {
    /// What the scheduler sets aside for the container.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "quantity::map")]
    #[schemars(schema_with = "schema::quantities")]
    pub requests: BTreeMap<String, Quantity>,
    /// What the container may use at most.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "quantity::map")]
    #[schemars(schema_with = "schema::quantities")]
    pub limits: BTreeMap<String, Quantity>,
}

impl Resources {
    pub(crate) fn new(requests: &[(&str, &str)], limits: &[(&str, &str)]) -> Self {
        let map = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(name, quantity)| ((*name).to_owned(), Quantity((*quantity).to_owned())))
                .collect()
        };
        Self { requests: map(requests), limits: map(limits) }
    }
}
