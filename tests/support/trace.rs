//! What a value was, at every change a watch shows: a dip between two looks is not missed.

use anyhow::{Context, Result, ensure};
use futures::TryStreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use tokio::task::JoinHandle;

/// `spec.replicas` of one Deployment from now on.
pub struct ReplicaTrace {
    task: JoinHandle<Result<Vec<i32>>>,
    deployments: Api<Deployment>,
    name: String,
}

/// Marks the end of a trace: an annotation that nobody else writes.
const END: &str = "trace.test/end";

impl ReplicaTrace {
    pub async fn start(deployments: Api<Deployment>, name: &str) -> Result<Self> {
        let first = deployments.get(name).await?;
        let from = first.metadata.resource_version.clone().context("an object without a version")?;
        Ok(Self::follow(deployments, name, from, vec![replicas(&first)]))
    }

    /// Of a Deployment that does not exist yet.
    pub async fn from_nothing(deployments: Api<Deployment>, name: &str) -> Result<Self> {
        let list = deployments.list(&ListParams::default()).await?;
        let from = list.metadata.resource_version.context("a list without a version")?;
        Ok(Self::follow(deployments, name, from, Vec::new()))
    }

    fn follow(deployments: Api<Deployment>, name: &str, from: String, mut trace: Vec<i32>) -> Self {
        let (watched, selected) = (deployments.clone(), format!("metadata.name={name}"));
        let task = tokio::spawn(async move {
            let params = WatchParams::default().fields(&selected).timeout(290);
            let mut events = Box::pin(watched.watch(&params, &from).await?);
            while let Some(event) = events.try_next().await? {
                let (WatchEvent::Added(deployment) | WatchEvent::Modified(deployment)) = event else {
                    continue;
                };
                trace.push(replicas(&deployment));
                if deployment.metadata.annotations.is_some_and(|all| all.contains_key(END)) {
                    return Ok(trace);
                }
            }
            anyhow::bail!("the watch ended before the trace did: {trace:?}")
        });
        Self { task, deployments, name: name.to_owned() }
    }

    /// Every value up to now, repeats left out.
    pub async fn end(self) -> Result<Vec<i32>> {
        let mark = serde_json::json!({"metadata": {"annotations": {END: "yes"}}});
        self.deployments.patch(&self.name, &Default::default(), &kube::api::Patch::Merge(&mark)).await?;
        let mut trace = tokio::time::timeout(std::time::Duration::from_secs(60), self.task).await???;
        trace.dedup();
        Ok(trace)
    }
}

fn replicas(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(-1)
}

/// Fails when the trace ever went under `floor`.
pub fn ensure_no_dip(trace: &[i32], floor: i32) -> Result<()> {
    ensure!(!trace.is_empty(), "nothing was seen");
    ensure!(trace.iter().all(|&seen| seen >= floor), "replicas went under {floor}: {trace:?}");
    Ok(())
}
