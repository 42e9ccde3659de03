//! The PodDisruptionBudget: how many of the app's pods a drain may take away at once.

use crds::contract::name;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};

use super::{
    Valid,
    meta::{Component, label_selector, metadata},
};
use crate::hyperpage::validate::Budget;

/// Redis has none: of one pod there is none to spare, and a drain would never end.
pub(super) fn budget(valid: &Valid) -> PodDisruptionBudget {
    let (max_unavailable, min_available) = match valid.budget.clone() {
        Budget::MaxUnavailable(pods) => (Some(pods), None),
        Budget::MinAvailable(pods) => (None, Some(pods)),
    };
    PodDisruptionBudget {
        metadata: metadata(valid, name::app(&valid.name), Component::App),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable,
            min_available,
            selector: Some(label_selector(valid, Component::App)),
            // A broken app serves nobody, and must not keep a node from being emptied.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".into()),
        }),
        status: None,
    }
}
