//! The account that the app's pods run as.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The account that the app's pods run as. No token is mounted, whoever's it is.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.name) && has(self.annotations))")
    .message("serviceAccount has a name or annotations, not both: the operator annotates only the account it makes"))]
pub struct ServiceAccount {
    /// An account of yours, in the same namespace. Absent: the operator makes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
    /// Annotations of the account that the operator makes, for example those that a cloud grants rights by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}
