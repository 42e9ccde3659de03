//! The watches of the naive shape: whole objects of all owners, a cache for each kind, and Secrets.

use std::{fmt::Debug, sync::Arc};

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Resource,
    core::NamespaceResourceScope,
    runtime::{reflector::store::Writer, watcher},
};
use serde::de::DeserializeOwned;

use super::Watches;
use crate::{
    children::{Child, Wake},
    claims,
    context::Context,
};

impl Watches {
    pub(super) fn everything(&mut self, context: &Arc<Context>) {
        self.cached_child::<Deployment>(context);
        self.cached_child::<StatefulSet>(context);
        self.cached_child::<Service>(context);
        self.cached_child::<ServiceAccount>(context);
        self.cached_child::<ConfigMap>(context);
        self.cached_child::<PodDisruptionBudget>(context);
        self.cached_child::<NetworkPolicy>(context);
        self.cached_child::<HorizontalPodAutoscaler>(context);
        let seen = context.clone();
        self.cached::<Pod>("Pod", move |event| seen.pods.take(event));
        let seen = context.clone();
        self.cached::<PersistentVolumeClaim>("PersistentVolumeClaim", move |event| {
            seen.claims.take(event, claims::keep)
        });
        self.cached::<Secret>("Secret", |_| Vec::new());
    }

    fn cached_child<K: Child>(&mut self, context: &Arc<Context>) {
        let seen = context.clone();
        self.cached::<K>(K::KIND.as_str(), move |event| seen.children.take(event));
    }

    fn cached<K>(
        &mut self,
        kind: &'static str,
        take: impl Fn(watcher::Event<K>) -> Vec<Wake> + Send + 'static,
    ) where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        let mut cache = Writer::<K>::default();
        self.follow(kind, watcher::Config::default(), move |event| {
            cache.apply_watcher_event(&event);
            take(event)
        });
    }
}
