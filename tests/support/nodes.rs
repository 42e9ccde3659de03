//! Nodes where there are none: a private API server has no kubelet, so this says what one would say of each pod.

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::kube::Scene;

/// Ends with the test.
pub struct Nodes(JoinHandle<()>);

impl Nodes {
    /// Every pod of the namespace becomes ready.
    pub fn healthy(scene: &Scene) -> Self {
        Self::saying(scene, ready)
    }

    /// Every pod of the namespace gets the status that `judge` gives it.
    pub fn saying(scene: &Scene, judge: impl Fn(&Pod) -> Value + Send + 'static) -> Self {
        let pods: Api<Pod> = scene.api();
        Self(tokio::spawn(async move {
            let mut events = Box::pin(watcher(pods.clone(), watcher::Config::default()).applied_objects());
            while let Ok(Some(pod)) = events.try_next().await {
                let said = pod.status.as_ref().and_then(|status| status.start_time.as_ref()).is_some();
                if said {
                    continue;
                }
                let status = json!({"status": judge(&pod)});
                // A pod that is gone needs no status.
                let _ =
                    pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(&status)).await;
            }
        }))
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.0.abort();
    }
}

const START: &str = "2026-01-01T00:00:00Z";

pub fn ready(pod: &Pod) -> Value {
    let running = |container: &str| {
        json!({
            "name": container, "image": "there", "imageID": "there", "ready": true, "started": true,
            "restartCount": 0, "state": {"running": {"startedAt": START}},
        })
    };
    let mut status = statuses(pod, running);
    status["conditions"] = ["PodScheduled", "Initialized", "ContainersReady", "Ready"]
        .map(|type_| json!({"type": type_, "status": "True", "lastTransitionTime": START}))
        .to_vec()
        .into();
    status
}

/// Each container waits for this reason, as a kubelet words it.
pub fn waiting(pod: &Pod, reason: &str, message: &str) -> Value {
    let mut status = statuses(pod, |container| {
        json!({
            "name": container, "image": "there", "imageID": "", "ready": false, "started": false,
            "restartCount": 0, "state": {"waiting": {"reason": reason, "message": message}},
        })
    });
    status["phase"] = "Pending".into();
    status
}

fn statuses(pod: &Pod, of: impl Fn(&str) -> Value) -> Value {
    let spec = pod.spec.clone().unwrap_or_default();
    let init: Vec<_> = spec.init_containers.iter().flatten().map(|it| of(&it.name)).collect();
    let main: Vec<_> = spec.containers.iter().map(|it| of(&it.name)).collect();
    json!({
        "phase": "Running", "startTime": START,
        "initContainerStatuses": init, "containerStatuses": main,
    })
}
