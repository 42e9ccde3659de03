//! The children as their watches show them, reduced to what decisions need.
//!
//! An own store instead of one reflector per kind: every kind is kept in one small shape, and a change that
//! leaves the shape as it was wakes nobody.

mod child;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, StatefulSet},
        autoscaling::v2::HorizontalPodAutoscaler,
        core::v1::{ConfigMap, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::api::resource::Quantity,
};
use kube::{
    Resource, ResourceExt,
    api::{ApiResource, DynamicObject, PartialObjectMeta},
    runtime::watcher::Event,
};

pub use child::Child;

use crate::settled;
use crds::{Hyperpage, contract::annotation};

/// The kinds a Hyperpage has for children, in the order in which they are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Deployment,
    Service,
    ServiceAccount,
    HorizontalPodAutoscaler,
    ConfigMap,
    StatefulSet,
    PodDisruptionBudget,
    NetworkPolicy,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::Service => "Service",
            Self::ServiceAccount => "ServiceAccount",
            Self::HorizontalPodAutoscaler => "HorizontalPodAutoscaler",
            Self::ConfigMap => "ConfigMap",
            Self::StatefulSet => "StatefulSet",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::NetworkPolicy => "NetworkPolicy",
        }
    }

    pub fn resource(self) -> ApiResource {
        match self {
            Self::Deployment => ApiResource::erase::<Deployment>(&()),
            Self::Service => ApiResource::erase::<Service>(&()),
            Self::ServiceAccount => ApiResource::erase::<ServiceAccount>(&()),
            Self::HorizontalPodAutoscaler => ApiResource::erase::<HorizontalPodAutoscaler>(&()),
            Self::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
            Self::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
            Self::PodDisruptionBudget => ApiResource::erase::<PodDisruptionBudget>(&()),
            Self::NetworkPolicy => ApiResource::erase::<NetworkPolicy>(&()),
        }
    }
}

/// A child of one Hyperpage; the namespace is the Hyperpage's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildId {
    pub kind: Kind,
    pub name: String,
}

impl fmt::Display for ChildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.name)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    pub kind: String,
    pub name: String,
    pub uid: String,
}

/// A Deployment or StatefulSet at work.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rollout {
    pub generation: i64,
    pub observed_generation: i64,
    /// `spec.replicas`.
    pub wanted: i32,
    pub replicas: i32,
    pub updated: i32,
    pub ready: i32,
    /// Messages of the conditions that mean trouble.
    pub refused: Option<String>,
    pub overdue: Option<String>,
    /// Managers of `spec.replicas`.
    pub scaled_by: Vec<String>,
    /// Of our container.
    pub image: Option<String>,
    pub annotations: BTreeMap<String, String>,
    pub template_annotations: BTreeMap<String, String>,
    /// What the claim template of a StatefulSet asks for.
    pub claim_size: Option<Quantity>,
    /// The revision of a StatefulSet's template as it is now.
    pub update_revision: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Autoscaler {
    /// The object that it scales, and the name that object has.
    pub target: (String, String),
    /// Reason and message of the condition that keeps it from working; `None` when it has said nothing yet.
    pub active: Option<Result<(), (String, String)>>,
}

impl Autoscaler {
    /// Name of the Deployment that it scales; one that targets a Hyperpage scales none itself.
    fn deployment(&self) -> Option<&str> {
        let (kind, name) = &self.target;
        (kind == Kind::Deployment.as_str()).then_some(name.as_str())
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Detail {
    Plain,
    Rollout(Rollout),
    Autoscaler(Autoscaler),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    pub uid: String,
    pub version: String,
    pub controller: Option<Owner>,
    pub deleting: bool,
    /// Hash of what was wanted when it was last applied.
    pub desired: Option<String>,
    pub fingerprint: String,
    /// The other manager that wrote last.
    pub mover: Option<String>,
    pub detail: Detail,
}

impl Live {
    pub fn of<K: Child>(object: &K) -> Self {
        let meta = object.meta();
        let controller = object.owner_references().iter().find(|owner| owner.controller == Some(true));
        Self {
            uid: meta.uid.clone().unwrap_or_default(),
            version: meta.resource_version.clone().unwrap_or_default(),
            controller: controller.map(|owner| Owner {
                kind: owner.kind.clone(),
                name: owner.name.clone(),
                uid: owner.uid.clone(),
            }),
            deleting: meta.deletion_timestamp.is_some(),
            desired: object.annotations().get(annotation::DESIRED).cloned(),
            fingerprint: settled::fingerprint(meta),
            mover: settled::mover(meta),
            detail: object.detail(),
        }
    }

    /// The answer to an apply, in the same shape as the watch gives it.
    pub fn of_answer(kind: Kind, answer: DynamicObject) -> Result<Self, serde_json::Error> {
        fn typed<K: Child>(answer: DynamicObject) -> Result<Live, serde_json::Error> {
            Ok(Live::of(&serde_json::from_value::<K>(serde_json::to_value(answer)?)?))
        }
        match kind {
            Kind::Deployment => typed::<Deployment>(answer),
            Kind::StatefulSet => typed::<StatefulSet>(answer),
            Kind::HorizontalPodAutoscaler => typed::<HorizontalPodAutoscaler>(answer),
            Kind::Service => typed::<PartialObjectMeta<Service>>(answer),
            Kind::ServiceAccount => typed::<PartialObjectMeta<ServiceAccount>>(answer),
            Kind::ConfigMap => typed::<PartialObjectMeta<ConfigMap>>(answer),
            Kind::PodDisruptionBudget => typed::<PartialObjectMeta<PodDisruptionBudget>>(answer),
            Kind::NetworkPolicy => typed::<PartialObjectMeta<NetworkPolicy>>(answer),
        }
    }

    pub fn controlled_by(&self, uid: &str) -> bool {
        self.controller.as_ref().is_some_and(|owner| owner.uid == uid)
    }

    pub fn rollout(&self) -> Option<&Rollout> {
        match &self.detail {
            Detail::Rollout(rollout) => Some(rollout),
            Detail::Plain | Detail::Autoscaler(_) => None,
        }
    }

    fn same_but_version(&self, other: &Self) -> bool {
        let Self { version: _, uid, controller, deleting, desired, fingerprint, mover, detail } = self;
        (uid, controller, deleting, desired, fingerprint, mover, detail)
            == (
                &other.uid,
                &other.controller,
                &other.deleting,
                &other.desired,
                &other.fingerprint,
                &other.mover,
                &other.detail,
            )
    }
}

/// All children of one Hyperpage.
pub type Family = BTreeMap<ChildId, Live>;

#[derive(Debug, Default)]
struct Seen {
    by_namespace: HashMap<String, Family>,
    /// Deployments that autoscalers of others scale, by namespace and autoscaler: all that is kept of those.
    foreign: HashMap<String, BTreeMap<String, String>>,
    /// Found by the list that is under way, by kind.
    listed: HashMap<Kind, BTreeSet<(String, String)>>,
}

#[derive(Debug, Default)]
pub struct Children(Mutex<Seen>);

/// Namespace and name of a Hyperpage to look at again.
pub type Wake = (String, String);

impl Children {
    /// All that Kubernetes shows under the names of a Hyperpage's children, and all that it controls.
    pub fn family(&self, namespace: &str, uid: &str) -> Family {
        let seen = self.lock();
        let family = seen.by_namespace.get(namespace).into_iter().flatten();
        family
            .filter(|(_, live)| live.controlled_by(uid))
            .map(|(id, live)| (id.clone(), live.clone()))
            .collect()
    }

    /// An autoscaler of somebody else that scales this Deployment.
    pub fn foreign_autoscaler(&self, namespace: &str, deployment: &str) -> Option<String> {
        let seen = self.lock();
        let mut foreign = seen.foreign.get(namespace)?.iter();
        foreign.find(|(_, target)| *target == deployment).map(|(name, _)| name.clone())
    }

    /// Takes a watch event in; says which Hyperpages it concerns.
    pub fn take<K: Child>(&self, event: Event<K>) -> Vec<Wake> {
        let mut seen = self.lock();
        match event {
            Event::Init => {
                seen.listed.insert(K::KIND, BTreeSet::new());
                Vec::new()
            }
            Event::InitApply(object) => {
                let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
                seen.listed.entry(K::KIND).or_default().insert((namespace, name));
                seen.put(&object)
            }
            Event::InitDone => seen.forget_unlisted(K::KIND),
            Event::Apply(object) => seen.put(&object),
            Event::Delete(object) => {
                let id = ChildId { kind: K::KIND, name: object.name_any() };
                seen.remove(&object.namespace().unwrap_or_default(), &id)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn put<K: Child>(&mut self, object: &K) -> Vec<Wake> {
        let namespace = object.namespace().unwrap_or_default();
        let id = ChildId { kind: K::KIND, name: object.name_any() };
        let live = Live::of(object);
        if let Detail::Autoscaler(autoscaler) = &live.detail {
            let target = hyperpage(&live).is_none().then(|| autoscaler.deployment()).flatten();
            let mut woken = self.point(&namespace, &id.name, target);
            if hyperpage(&live).is_none() {
                woken.extend(self.forget(&namespace, &id));
                return woken;
            }
        }
        let family = self.by_namespace.entry(namespace.clone()).or_default();
        let before = family.insert(id.clone(), live);
        let live = &family[&id];
        if before.as_ref().is_some_and(|before| before.same_but_version(live)) {
            return Vec::new();
        }
        let owners: BTreeSet<_> = before.iter().chain([live]).filter_map(hyperpage).collect();
        owners.into_iter().map(|name| (namespace.clone(), name)).collect()
    }

    fn remove(&mut self, namespace: &str, id: &ChildId) -> Vec<Wake> {
        let mut woken = self.forget(namespace, id);
        if id.kind == Kind::HorizontalPodAutoscaler {
            woken.extend(self.point(namespace, &id.name, None));
        }
        woken
    }

    /// Somebody else's autoscaler scales this Deployment from now on, or none.
    fn point(&mut self, namespace: &str, autoscaler: &str, to: Option<&str>) -> Vec<Wake> {
        let known = self.foreign.entry(namespace.to_owned()).or_default();
        let before = match to {
            Some(to) => known.insert(autoscaler.to_owned(), to.to_owned()),
            None => known.remove(autoscaler),
        };
        if known.is_empty() {
            self.foreign.remove(namespace);
        }
        if before.as_deref() == to {
            return Vec::new();
        }
        before.as_deref().into_iter().chain(to).filter_map(|it| self.hyperpage_of(namespace, it)).collect()
    }

    fn hyperpage_of(&self, namespace: &str, deployment: &str) -> Option<Wake> {
        let id = ChildId { kind: Kind::Deployment, name: deployment.to_owned() };
        let owner = hyperpage(self.by_namespace.get(namespace)?.get(&id)?)?;
        Some((namespace.to_owned(), owner))
    }

    fn forget(&mut self, namespace: &str, id: &ChildId) -> Vec<Wake> {
        let Some(family) = self.by_namespace.get_mut(namespace) else { return Vec::new() };
        let gone = family.remove(id);
        if family.is_empty() {
            self.by_namespace.remove(namespace);
        }
        gone.as_ref().and_then(hyperpage).map(|name| (namespace.to_owned(), name)).into_iter().collect()
    }

    /// What a new list does not name was deleted while the watch was away.
    fn forget_unlisted(&mut self, kind: Kind) -> Vec<Wake> {
        let listed = self.listed.remove(&kind).unwrap_or_default();
        let known = self.by_namespace.iter().flat_map(|(namespace, family)| {
            family.keys().filter(|id| id.kind == kind).map(|id| (namespace.clone(), id.clone()))
        });
        let foreign = self.foreign.iter().filter(|_| kind == Kind::HorizontalPodAutoscaler);
        let foreign = foreign.flat_map(|(namespace, autoscalers)| {
            autoscalers.keys().map(|name| (namespace.clone(), ChildId { kind, name: name.clone() }))
        });
        let gone: Vec<_> = known
            .chain(foreign)
            .filter(|(namespace, id)| !listed.contains(&(namespace.clone(), id.name.clone())))
            .collect();
        gone.iter().flat_map(|(namespace, id)| self.remove(namespace, id)).collect()
    }
}

fn hyperpage(live: &Live) -> Option<String> {
    let owner = live.controller.as_ref()?;
    (owner.kind == Hyperpage::kind(&())).then(|| owner.name.clone())
}

#[cfg(test)]
mod tests;
