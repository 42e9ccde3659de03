//! Pods in trouble, and those that do not start, by Hyperpage. All pods with our label are watched, because only
//! they say that an image cannot be pulled or a Secret is missing; what is well is not kept, so a healthy cluster
//! costs no memory here and nothing is ever polled.

use std::collections::BTreeSet;

use crds::{
    Reason,
    contract::{SIDECAR_CONTAINER, env, label, name},
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod};
use kube::{ResourceExt, runtime::watcher::Event};

use crate::{children::Wake, kept::Kept};

/// The StatefulSet controller's label.
const REVISION: &str = "controller-revision-hash";

/// Why a pod does not get on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trouble {
    pub reason: Reason,
    /// Says which container, what is wrong, and the kubelet's or scheduler's own words.
    pub message: String,
}

/// A pod of Redis that is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unready {
    pub name: String,
    pub uid: String,
    /// Of the StatefulSet's template that it was made from.
    pub revision: String,
    /// By uid.
    pub controller: Option<String>,
    pub since: Timestamp,
}

/// A pod of which the kubelet has started nothing yet. Where a volume cannot be mounted, it stays like this for ever,
/// and the kubelet says why in an event only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unstarted {
    pub pod: String,
    /// When the kubelet took it.
    pub since: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    component: String,
    trouble: Option<Trouble>,
    unready: Option<Unready>,
    unstarted: Option<Unstarted>,
    /// Its sidecar has started with an external Redis: such pods are kept when all is well, too.
    sidecar_started: bool,
}

#[derive(Debug, Default)]
pub struct Pods(Kept<Entry>);

impl Pods {
    /// The gravest trouble among the pods of one component.
    pub fn trouble(&self, namespace: &str, hyperpage: &str, component: &str) -> Option<Trouble> {
        let all = self.0.of(namespace, hyperpage).into_iter();
        all.filter(|entry| entry.component == component)
            .filter_map(|entry| entry.trouble)
            .min_by_key(|trouble| gravity(trouble.reason))
    }

    /// The pod of Redis, while it is not ready.
    pub fn unready(&self, namespace: &str, hyperpage: &str) -> Option<Unready> {
        self.0.of(namespace, hyperpage).into_iter().find_map(|entry| entry.unready)
    }

    pub fn unstarted(&self, namespace: &str, hyperpage: &str) -> BTreeSet<Unstarted> {
        self.0.of(namespace, hyperpage).into_iter().filter_map(|entry| entry.unstarted).collect()
    }

    /// A sidecar has started, which it does once it has reached Redis, or has tried for long.
    pub fn sidecar_started(&self, namespace: &str, hyperpage: &str) -> bool {
        self.0.of(namespace, hyperpage).iter().any(|entry| entry.sidecar_started)
    }

    pub fn take(&self, event: Event<Pod>) -> Vec<Wake> {
        self.0.take(event, keep)
    }
}

fn keep(pod: &Pod) -> Option<Entry> {
    let component = pod.labels().get(label::COMPONENT).cloned().unwrap_or_default();
    let (trouble, unready) = (trouble(pod), is_redis(pod, &component).then(|| unready(pod)).flatten());
    let unstarted = unstarted(pod).map(|since| Unstarted { pod: pod.name_any(), since });
    let sidecar_started = sidecar_started(pod);
    let worth = trouble.is_some() || unready.is_some() || unstarted.is_some() || sidecar_started;
    worth.then_some(Entry { component, trouble, unready, unstarted, sidecar_started })
}

/// Others may label theirs likewise: the name decides.
fn is_redis(pod: &Pod, component: &str) -> bool {
    let hyperpage = pod.labels().get(label::INSTANCE);
    component == label::COMPONENT_REDIS && hyperpage.is_some_and(|it| pod.name_any() == name::redis_pod(it))
}

/// `None` also for one that is on its way out.
fn unready(pod: &Pod) -> Option<Unready> {
    let revision = pod.labels().get(REVISION)?;
    if pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
    if ready.is_some_and(|ready| ready.status == "True") {
        return None;
    }
    let changed = ready.and_then(|ready| ready.last_transition_time.as_ref());
    let since = changed.or(pod.metadata.creation_timestamp.as_ref())?.0;
    let owner = pod.owner_references().iter().find(|owner| owner.controller == Some(true));
    let controller = owner.map(|owner| owner.uid.clone());
    Some(Unready { name: pod.name_any(), uid: pod.uid()?, revision: revision.clone(), controller, since })
}

/// Least first: what surely needs a person comes before what may pass.
fn gravity(reason: Reason) -> usize {
    let order =
        [Reason::ImagePullFailed, Reason::ContainerConfigError, Reason::CrashLoop, Reason::Unschedulable];
    order.iter().position(|other| *other == reason).unwrap_or(order.len())
}

/// What a pod says about itself that a person should know.
pub fn trouble(pod: &Pod) -> Option<Trouble> {
    if pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let status = pod.status.as_ref()?;
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    containers
        .filter_map(container_trouble)
        .min_by_key(|trouble| gravity(trouble.reason))
        .or_else(|| unschedulable(pod))
}

fn container_trouble(container: &ContainerStatus) -> Option<Trouble> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let cause = waiting.reason.as_deref()?;
    let words = waiting.message.as_deref().unwrap_or("no further message");
    let (name, image) = (&container.name, &container.image);
    let (reason, message) = match cause {
        // The two take turns every few seconds; telling them apart would rewrite status each time.
        "ErrImagePull" | "ImagePullBackOff" => {
            let words = words.rsplit_once("ErrImagePull: ").map_or(words, |(_, cause)| cause);
            (
                Reason::ImagePullFailed,
                format!("container {name}: image {image} cannot be pulled: ErrImagePull: {words}"),
            )
        }
        "InvalidImageName" | "ErrImageNeverPull" => {
            (Reason::ImagePullFailed, format!("container {name}: image {image}: {cause}: {words}"))
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            (Reason::ContainerConfigError, format!("container {name}: {cause}: {words}"))
        }
        "CrashLoopBackOff" => {
            let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
            let code = last.map(|last| format!(" with code {}", last.exit_code)).unwrap_or_default();
            (Reason::CrashLoop, format!("container {name} ends again and again{code}; see its log"))
        }
        _ => return None,
    };
    Some(Trouble { reason, message: shorten(message) })
}

/// A registry's answer may be a whole page.
fn shorten(message: String) -> String {
    match message.char_indices().nth(600) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message,
    }
}

fn sidecar_started(pod: &Pod) -> bool {
    let mut sidecars = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    let external = |container: &Container| {
        let mut env = container.env.iter().flatten();
        container.name == SIDECAR_CONTAINER && env.any(|variable| variable.name == env::REDIS_URL_FILE)
    };
    let started =
        |container: &ContainerStatus| container.name == SIDECAR_CONTAINER && container.started == Some(true);
    let mut statuses = pod.status.iter().flat_map(|status| status.init_container_statuses.iter().flatten());
    sidecars.any(external) && statuses.any(started)
}

/// Every container waits for its volumes, its image or its turn.
fn unstarted(pod: &Pod) -> Option<Timestamp> {
    let status = pod.status.as_ref()?;
    let mounted = status
        .conditions
        .iter()
        .flatten()
        .any(|condition| condition.type_ == "PodReadyToStartContainers" && condition.status == "True");
    if mounted || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let mut containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let waits = |container: &ContainerStatus| {
        let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
        let reason = waiting.and_then(|waiting| waiting.reason.as_deref());
        matches!(reason, Some("ContainerCreating" | "PodInitializing"))
    };
    let since = status.start_time.as_ref()?.0;
    containers.all(waits).then_some(since).filter(|_| status.phase.as_deref() == Some("Pending"))
}

fn unschedulable(pod: &Pod) -> Option<Trouble> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let scheduled = conditions.iter().find(|condition| condition.type_ == "PodScheduled")?;
    let refused = scheduled.status == "False" && scheduled.reason.as_deref() == Some("Unschedulable");
    let words = scheduled.message.as_deref().unwrap_or("the scheduler gives no reason");
    refused.then(|| Trouble {
        reason: Reason::Unschedulable,
        message: format!("no node takes the pod: {words}"),
    })
}

#[cfg(test)]
mod tests;
