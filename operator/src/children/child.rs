//! What a watch delivers for each kind, and what of it counts.

use std::{collections::BTreeMap, fmt};

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, StatefulSet},
        autoscaling::v2::HorizontalPodAutoscaler,
        core::v1::{ConfigMap, PodSpec, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};
use kube::{Resource, api::PartialObjectMeta, core::NamespaceResourceScope};

use super::{Autoscaler, Detail, Kind, Rollout};
use crate::settled;
use crds::contract::{REDIS_CONTAINER, SIDECAR_CONTAINER};

pub trait Child:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + fmt::Debug
    + serde::de::DeserializeOwned
    + Send
    + Sync
    + 'static
{
    const KIND: Kind;

    fn detail(&self) -> Detail {
        Detail::Plain
    }
}

/// Metadata says enough of these.
macro_rules! plain {
    ($($kind:ident),*) => {$(
        impl Child for $kind {
            const KIND: Kind = Kind::$kind;
        }

        impl Child for PartialObjectMeta<$kind> {
            const KIND: Kind = Kind::$kind;
        }
    )*};
}

plain!(Service, ServiceAccount, ConfigMap, PodDisruptionBudget, NetworkPolicy);

impl Child for Deployment {
    const KIND: Kind = Kind::Deployment;

    fn detail(&self) -> Detail {
        let status = self.status.clone().unwrap_or_default();
        let spec = self.spec.as_ref();
        let trouble = |type_: &str, when: &str, reason: Option<&str>| {
            let found = status.conditions.iter().flatten().find(|condition| {
                condition.type_ == type_
                    && condition.status == when
                    && reason.is_none_or(|reason| condition.reason.as_deref() == Some(reason))
            });
            found.map(|condition| condition.message.clone().unwrap_or_default())
        };
        Detail::Rollout(Rollout {
            observed_generation: status.observed_generation.unwrap_or(0),
            wanted: spec.and_then(|spec| spec.replicas).unwrap_or(1),
            replicas: status.replicas.unwrap_or(0),
            updated: status.updated_replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
            refused: trouble("ReplicaFailure", "True", None),
            overdue: trouble("Progressing", "False", Some("ProgressDeadlineExceeded")),
            image: image(spec.and_then(|spec| spec.template.spec.as_ref()), SIDECAR_CONTAINER),
            ..rollout(&self.metadata, spec.and_then(|spec| spec.template.metadata.as_ref()))
        })
    }
}

impl Child for StatefulSet {
    const KIND: Kind = Kind::StatefulSet;

    fn detail(&self) -> Detail {
        let status = self.status.clone().unwrap_or_default();
        let spec = self.spec.as_ref();
        // Once a roll is complete the controller counts no updated pods apart from the current ones.
        let complete = status.current_revision == status.update_revision;
        Detail::Rollout(Rollout {
            observed_generation: status.observed_generation.unwrap_or(0),
            wanted: spec.and_then(|spec| spec.replicas).unwrap_or(1),
            replicas: status.replicas,
            updated: if complete { status.replicas } else { status.updated_replicas.unwrap_or(0) },
            ready: status.ready_replicas.unwrap_or(0),
            claim_size: claim_size(self),
            update_revision: status.update_revision,
            image: image(spec.and_then(|spec| spec.template.spec.as_ref()), REDIS_CONTAINER),
            ..rollout(&self.metadata, spec.and_then(|spec| spec.template.metadata.as_ref()))
        })
    }
}

fn claim_size(stateful_set: &StatefulSet) -> Option<Quantity> {
    let claim = stateful_set.spec.as_ref()?.volume_claim_templates.as_ref()?.first()?;
    claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?.get("storage").cloned()
}

fn image(pod: Option<&PodSpec>, container: &str) -> Option<String> {
    let containers =
        pod.into_iter().flat_map(|pod| pod.init_containers.iter().flatten().chain(&pod.containers));
    containers.filter(|it| it.name == container).find_map(|it| it.image.clone())
}

fn rollout(meta: &ObjectMeta, template: Option<&ObjectMeta>) -> Rollout {
    let own = |meta: &ObjectMeta| -> BTreeMap<String, String> {
        let all = meta.annotations.iter().flatten();
        all.filter(|(name, _)| name.starts_with("hyperpage.dev/"))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect()
    };
    Rollout {
        generation: meta.generation.unwrap_or(0),
        scaled_by: settled::replica_managers(meta),
        annotations: own(meta),
        template_annotations: template.map(own).unwrap_or_default(),
        ..Rollout::default()
    }
}

impl Child for HorizontalPodAutoscaler {
    const KIND: Kind = Kind::HorizontalPodAutoscaler;

    fn detail(&self) -> Detail {
        let target = self.spec.as_ref().map(|spec| &spec.scale_target_ref);
        let conditions = self.status.as_ref().and_then(|status| status.conditions.as_ref());
        let relevant = || {
            conditions
                .into_iter()
                .flatten()
                .filter(|c| c.type_ == "ScalingActive" || c.type_ == "AbleToScale")
        };
        // Of a Deployment without pods: it has nothing to look at until one is resumed.
        let idle = relevant().any(|condition| condition.reason.as_deref() == Some("ScalingDisabled"));
        let broken = relevant().find(|condition| condition.status == "False").map(|condition| {
            (condition.reason.clone().unwrap_or_default(), condition.message.clone().unwrap_or_default())
        });
        Detail::Autoscaler(Autoscaler {
            target: target.map(|target| (target.kind.clone(), target.name.clone())).unwrap_or_default(),
            active: relevant().next().filter(|_| !idle).map(|_| broken.map_or(Ok(()), Err)),
        })
    }
}
