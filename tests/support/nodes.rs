//! Nodes where there are none: a private API server has no kubelet, so this says what one would say of each pod.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::kube::Scene;

const PAUSE: Duration = Duration::from_millis(200);

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
            let pods_seen = watcher(pods.clone(), watcher::Config::default()).default_backoff();
            let mut events = Box::pin(pods_seen.applied_objects());
            while let Some(event) = events.next().await {
                // A watch that broke begins again, with every pod.
                let Ok(pod) = event else { continue };
                let said = pod.status.as_ref().and_then(|status| status.start_time.as_ref()).is_some();
                if said {
                    continue;
                }
                let status = json!({"status": judge(&pod)});
                tell(&pods, &pod.name_any(), &status).await;
            }
        }))
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A pod that is gone needs no status; a server that is busy is asked again.
async fn tell(pods: &Api<Pod>, name: &str, status: &Value) {
    while let Err(error) = pods.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await {
        if matches!(&error, kube::Error::Api(refusal) if refusal.code == 404) {
            return;
        }
        println!("status of pod {name}: {error}");
        tokio::time::sleep(PAUSE).await;
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
