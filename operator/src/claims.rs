//! The claims of Redis' volumes: how large they are, and what the resizer says. Made by the StatefulSet controller,
//! so they bear no label of ours but those that Redis is selected by.

use crds::contract::{label, name};
use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimStatus},
    apimachinery::pkg::api::resource::Quantity,
};
use kube::ResourceExt;

use crate::kept::Kept;

/// Words of Kubernetes' own resize controller, and of kubelets.
const RESIZE: [&str; 4] = ["Resizing", "FileSystemResizePending", "ControllerResizeError", "NodeResizeError"];

#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    pub name: String,
    pub uid: String,
    pub class: Option<String>,
    /// What its spec asks for.
    pub asked: Quantity,
    /// What it has; `None` before it has a volume.
    pub capacity: Option<Quantity>,
    pub bound: bool,
    pub deleting: bool,
    /// What the resizer says about a growth.
    pub resize: Option<String>,
}

pub type Claims = Kept<Claim>;

/// Which claims to watch.
pub fn selector() -> String {
    format!("{}={},{}", label::COMPONENT, label::COMPONENT_REDIS, label::INSTANCE)
}

/// Others may label theirs likewise: the name decides.
pub fn keep(claim: &PersistentVolumeClaim) -> Option<Claim> {
    let hyperpage = claim.labels().get(label::INSTANCE)?;
    if claim.name_any() != name::redis_claim(hyperpage) {
        return None;
    }
    let status = claim.status.clone().unwrap_or_default();
    let storage = |of: &std::collections::BTreeMap<String, Quantity>| of.get("storage").cloned();
    let spec = claim.spec.as_ref()?;
    Some(Claim {
        name: claim.name_any(),
        uid: claim.uid().unwrap_or_default(),
        class: spec.storage_class_name.clone(),
        asked: storage(spec.resources.as_ref()?.requests.as_ref()?)?,
        capacity: status.capacity.as_ref().and_then(storage),
        bound: status.phase.as_deref() == Some("Bound"),
        deleting: claim.metadata.deletion_timestamp.is_some(),
        resize: resize(&status),
    })
}

fn resize(status: &PersistentVolumeClaimStatus) -> Option<String> {
    // Such as ControllerResizeInfeasible, which has no condition of its own.
    let phase = status.allocated_resource_statuses.as_ref().and_then(|all| all.get("storage")).cloned();
    let said = status
        .conditions
        .iter()
        .flatten()
        .filter(|condition| condition.status == "True" && RESIZE.contains(&condition.type_.as_str()))
        .map(|condition| match condition.message.as_deref() {
            Some(words) if !words.is_empty() => format!("{}: {words}", condition.type_),
            _ => condition.type_.clone(),
        });
    let said: Vec<_> = phase.into_iter().chain(said).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::runtime::watcher::Event;
    use serde_json::{Value, json};

    fn claim(name: &str, status: Value) -> PersistentVolumeClaim {
        serde_json::from_value(json!({
            "metadata": {"namespace": "demo", "name": name, "uid": "c", "labels": {
                "app.kubernetes.io/instance": "shop", "app.kubernetes.io/component": "redis"}},
            "spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "2Gi"}}},
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn only_the_claim_of_our_own_redis_is_kept() {
        assert!(keep(&claim("data-shop-hp-redis-0", json!({}))).is_some());
        assert_eq!(keep(&claim("redis-data-redis-master-0", json!({}))), None);
    }

    #[test]
    fn a_claim_wakes_its_hyperpage_when_its_volume_or_the_resizer_has_news() {
        let claims = Claims::default();
        let take =
            |status: Value| claims.take(Event::Apply(claim("data-shop-hp-redis-0", status)), keep).len();
        assert_eq!(take(json!({"phase": "Pending"})), 1);
        assert_eq!(take(json!({"phase": "Bound", "capacity": {"storage": "1Gi"}})), 1);
        assert_eq!(take(json!({"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["x"]})), 0);
        let waits =
            json!([{"type": "FileSystemResizePending", "status": "True", "message": "restart the pod"}]);
        assert_eq!(take(json!({"phase": "Bound", "capacity": {"storage": "1Gi"}, "conditions": waits})), 1);
        let says = || claims.of("demo", "shop").pop().and_then(|claim| claim.resize);
        assert_eq!(says().as_deref(), Some("FileSystemResizePending: restart the pod"));
        let cannot = json!({"storage": "ControllerResizeInfeasible"});
        assert_eq!(take(json!({"phase": "Bound", "allocatedResourceStatuses": cannot})), 1);
        assert_eq!(says().as_deref(), Some("ControllerResizeInfeasible"));
    }
}
