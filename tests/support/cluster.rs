//! The cluster that `make up` brought up: its API, its pods from this machine, and the processes in them.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Namespace, PersistentVolume, Pod, Secret, Service};
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, LogParams, Patch, PatchParams};

use crate::apiserver::{client_of, kubectl};
use crate::audit::Audit;
use crate::binaries::{kubernetes, output, workspace};
use crate::eventually::eventually;
use crate::kube::Scene;
use crate::scratch::Scratch;
use crate::turns::{Turn, Turns};

/// Tests change the cluster side by side; one that disturbs others, or is disturbed by them, waits for them and keeps
/// them out.
static TURNS: LazyLock<Turns> = LazyLock::new(Turns::default);
/// What a laptop starts at once.
const TOGETHER: usize = 6;
/// Twenty pods stop meanwhile, and the API server waits for what has no answer at the moment: metrics.
const GONE: Duration = Duration::from_secs(240);

pub struct Cluster {
    kubeconfig: PathBuf,
    pub client: Client,
    turn: Turn,
}

impl Cluster {
    /// None, with one line that says what to do, when no cluster is up; a failure under CI.
    pub async fn shared() -> Option<Self> {
        Self::with(TURNS.together(TOGETHER).await).await
    }

    /// No other test of this binary is at work.
    pub async fn alone() -> Option<Self> {
        Self::with(TURNS.alone().await).await
    }

    /// As `alone`, and nothing of another test is being deleted.
    pub async fn at_rest() -> Option<Self> {
        Self::with(TURNS.at_rest().await).await
    }

    async fn with(turn: Turn) -> Option<Self> {
        let up = Command::new(workspace().join("tests/cluster/status.sh")).output().expect("status.sh runs");
        if !up.status.success() {
            let line = "skipped: no cluster of this checkout is up; `make up` brings one up";
            assert!(std::env::var_os("CI").is_none(), "{line}");
            eprintln!("{line}");
            return None;
        }
        let kubeconfig = workspace().join("target/cluster/kubeconfig");
        let client = client_of(&kubeconfig).await.expect("the cluster's kubeconfig");
        Some(Self { kubeconfig, client, turn })
    }

    /// As `done`; others go on meanwhile.
    pub async fn leave(mut self, scene: Scene) {
        self.turn.leave();
        done(scene).await;
    }

    /// A namespace of the test's own; one that an earlier run left is removed first.
    pub async fn scene(&self, namespace: &str) -> Scene {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        eventually(&format!("namespace {namespace} is gone"), GONE, async || {
            match namespaces.get_opt(namespace).await.map_err(|error| error.to_string())? {
                None => Ok(()),
                Some(old) if old.metadata.deletion_timestamp.is_some() => Err("being deleted".to_owned()),
                Some(_) => {
                    let deleted = namespaces.delete(namespace, &DeleteParams::default()).await;
                    Err(format!("deleted: {}", deleted.is_ok()))
                }
            }
        })
        .await;
        Scene::open(self.client.clone(), namespace).await.expect("a new namespace")
    }

    /// The namespace that `make up` filled.
    pub fn demo(&self) -> Scene {
        Scene { client: self.client.clone(), namespace: "demo".to_owned() }
    }

    pub fn audit(&self) -> Audit {
        Audit::of(workspace().join("target/cluster/audit.log"))
    }

    pub fn kubectl<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Result<String> {
        output(kubectl(&self.kubeconfig).args(args))
    }

    /// `kubectl apply` of what is written here.
    pub fn apply(&self, namespace: &str, yaml: &str) -> Result<String> {
        let dir = Scratch::new("apply");
        let file = dir.write("objects.yaml", yaml);
        self.kubectl(["apply", "-n", namespace, "-f", &file.to_string_lossy()])
    }

    pub fn helm(&self, args: &[&str]) -> Result<String> {
        output(Command::new(kubernetes("helm")).arg("--kubeconfig").arg(&self.kubeconfig).args(args))
    }
}

/// Deletes the namespace of a test that passed; one that failed is left for a look.
pub async fn done(scene: Scene) {
    let namespaces: Api<Namespace> = Api::all(scene.client.clone());
    let _ = namespaces.delete(&scene.namespace, &DeleteParams::default()).await;
    eventually(&format!("namespace {} is gone", scene.namespace), GONE, async || {
        match namespaces.get_opt(&scene.namespace).await {
            Ok(None) => Ok(()),
            other => Err(format!("{:?}", other.map(|it| it.and_then(|it| it.status)))),
        }
    })
    .await;
}

/// `http://CLUSTER-IP:PORT`; this machine has a route to it.
pub async fn service_url(scene: &Scene, name: &str) -> Result<String> {
    let spec = scene.api::<Service>().get(name).await?.spec.context("a Service without spec")?;
    let port = spec.ports.iter().flatten().next().context("a Service without ports")?.port;
    Ok(format!("http://{}:{port}", spec.cluster_ip.context("no cluster IP yet")?))
}

/// `http://POD-IP:3000`
pub fn pod_url(pod: &Pod) -> Result<String> {
    let ip = pod.status.as_ref().and_then(|status| status.pod_ip.as_ref()).context("no pod IP yet")?;
    Ok(format!("http://{ip}:3000"))
}

pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|it| it.type_ == "Ready" && it.status == "True"))
}

/// One container of a pod, as its status shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Container {
    pub name: String,
    pub id: String,
    pub restarts: i32,
}

/// Init containers too: the sidecar is one.
pub fn containers(pod: &Pod) -> Vec<Container> {
    let status = pod.status.clone().unwrap_or_default();
    let all = status.init_container_statuses.into_iter().chain(status.container_statuses).flatten();
    let one = |it: k8s_openapi::api::core::v1::ContainerStatus| Container {
        name: it.name,
        id: it.container_id.unwrap_or_default().trim_start_matches("containerd://").to_owned(),
        restarts: it.restart_count,
    };
    all.map(one).collect()
}

pub fn container(pod: &Pod, name: &str) -> Result<Container> {
    containers(pod).into_iter().find(|it| it.name == name).with_context(|| format!("no container {name}"))
}

/// Processes of this machine that run in the container.
pub fn pids(container: &Container) -> Result<Vec<u32>> {
    anyhow::ensure!(container.id.len() == 64, "container {} does not run", container.name);
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.filter_map(Result::ok) {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process that has just ended has no cgroup any more.
        let cgroup = fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        if cgroup.contains(&container.id) {
            found.push(pid);
        }
    }
    anyhow::ensure!(!found.is_empty(), "no process of container {}", container.name);
    Ok(found)
}

/// `cmdline` or `environ` of every process of the container, one string each.
pub fn proc_texts(container: &Container, file: &str) -> Result<Vec<String>> {
    let read = |pid: u32| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let texts =
        pids(container)?.into_iter().map(|pid| String::from_utf8_lossy(&read(pid)).replace('\0', "\n"));
    Ok(texts.collect())
}

/// What every container of a namespace has logged, also before its last restart, by `POD/CONTAINER`.
pub async fn logs(scene: &Scene) -> Result<Vec<(String, String)>> {
    let pods = scene.api::<Pod>();
    let mut texts = Vec::new();
    for pod in pods.list(&ListParams::default()).await?.items {
        let name = pod.metadata.name.clone().unwrap_or_default();
        for container in containers(&pod) {
            for previous in [false, true].into_iter().take(1 + usize::from(container.restarts > 0)) {
                let params =
                    LogParams { container: Some(container.name.clone()), previous, ..LogParams::default() };
                let text = pods.logs(&name, &params).await.with_context(|| format!("logs of {name}"))?;
                texts.push((format!("log of {name}/{}", container.name), text));
            }
        }
    }
    Ok(texts)
}

/// Volumes whose claims in that namespace are gone can be claimed again, empty. Nobody else does it: the class `local`
/// retains them.
pub async fn free_volumes(client: &Client, namespace: &str) -> Result<()> {
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    for volume in volumes.list(&ListParams::default()).await? {
        let spec = volume.spec.clone().unwrap_or_default();
        let ours = spec.claim_ref.is_some_and(|claim| claim.namespace.as_deref() == Some(namespace));
        if let (true, Some(name), Some(local)) = (ours, volume.metadata.name, spec.local) {
            // With CLUSTER=kind it is not on this machine.
            for entry in fs::read_dir(local.path).into_iter().flatten() {
                let path = entry?.path();
                if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
            }
            let unclaimed = Patch::Merge(serde_json::json!({"spec": {"claimRef": null}}));
            volumes.patch(&name, &PatchParams::default(), &unclaimed).await?;
        }
    }
    Ok(())
}

/// The password Secret of a Hyperpage: uid and data.
pub async fn password(scene: &Scene, hyperpage: &str) -> Result<(String, BTreeMap<String, String>)> {
    let secret = scene.api::<Secret>().get(&crds::contract::name::redis(hyperpage)).await?;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).context("a password in UTF-8");
    let data = secret.data.unwrap_or_default().into_iter();
    let data = data.map(|(key, bytes)| Ok((key, text(bytes.0)?))).collect::<Result<_>>()?;
    Ok((secret.metadata.uid.unwrap_or_default(), data))
}
