//! Volumes where there are none: a private API server has no CSI driver, so this says what one would say of each
//! claim.

use anyhow::Result;
use futures::StreamExt;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::kube::Scene;

/// Ends with the test.
pub struct Volumes(JoinHandle<()>);

impl Volumes {
    /// Every claim of the namespace is bound to a volume as large as it asks for. To grow is another's act.
    pub fn provided(scene: &Scene) -> Self {
        let claims: Api<PersistentVolumeClaim> = scene.api();
        Self(tokio::spawn(async move {
            let claims_seen = watcher(claims.clone(), watcher::Config::default()).default_backoff();
            let mut events = Box::pin(claims_seen.applied_objects());
            while let Some(event) = events.next().await {
                // A watch that broke begins again, with every claim.
                let Ok(claim) = event else { continue };
                if claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound") {
                    continue;
                }
                let status = json!({"phase": "Bound", "capacity": {"storage": asked(&claim)}});
                // A claim that is gone needs no volume.
                let _ = patch_status(&claims, &claim.name_any(), status).await;
            }
        }))
    }
}

impl Drop for Volumes {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub async fn class(scene: &Scene, name: &str, expands: bool) -> Result<()> {
    let class: StorageClass = serde_json::from_value(json!({
        "metadata": {"name": name}, "provisioner": "volumes.test", "allowVolumeExpansion": expands,
    }))?;
    Api::all(scene.client.clone()).create(&PostParams::default(), &class).await?;
    Ok(())
}

/// What the resizer says while it works.
pub async fn resizer_says(scene: &Scene, claim: &str, type_: &str, message: &str) -> Result<()> {
    let condition = json!([{"type": type_, "status": "True", "message": message}]);
    patch_status(&scene.api(), claim, json!({"conditions": condition})).await
}

/// The resizer is done.
pub async fn resizer_grows(scene: &Scene, claim: &str) -> Result<()> {
    let claims: Api<PersistentVolumeClaim> = scene.api();
    let capacity = asked(&claims.get(claim).await?);
    patch_status(&claims, claim, json!({"capacity": {"storage": capacity}, "conditions": []})).await
}

pub fn asked(claim: &PersistentVolumeClaim) -> String {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let requests = resources.and_then(|resources| resources.requests.as_ref());
    requests.and_then(|requests| requests.get("storage")).map(|size| size.0.clone()).unwrap_or_default()
}

async fn patch_status(claims: &Api<PersistentVolumeClaim>, name: &str, status: Value) -> Result<()> {
    let patch = Patch::Merge(json!({"status": status}));
    claims.patch_status(name, &PatchParams::default(), &patch).await?;
    Ok(())
}
