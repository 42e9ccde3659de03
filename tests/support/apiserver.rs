//! A real kube-apiserver over a real etcd, for this test alone, with an audit log.

use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;

use crate::audit::Audit;
use crate::binaries::{self, kubernetes, output, workspace};
use crate::eventually::eventually;
use crate::leash::Leash;

/// One of several servers that start on a busy machine takes half a minute to compute what it can do.
const SLOW: Duration = Duration::from_secs(120);
const ADMIN: &str = "admin";
const CONTROLLERS: &str = "system:kube-controller-manager";
/// Those that children of a Hyperpage meet. Without metrics the HPA still raises to minReplicas.
const CONTROLLER_NAMES: &str = "--controllers=garbage-collector-controller,deployment-controller,\
    replicaset-controller,statefulset-controller,serviceaccount-controller,horizontal-pod-autoscaler-controller,\
    persistentvolumeclaim-protection-controller";
const AUDIT_POLICY: &str =
    "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: Metadata}]\n";

/// A name and groups that requests can be made under.
pub struct User {
    pub name: &'static str,
    pub groups: &'static [&'static str],
}

pub struct ApiServer {
    dir: PathBuf,
    url: String,
    gates: String,
    etcd: u16,
    port: u16,
    // In the order they must end: the API server does not end while it waits for a lost etcd.
    controllers: Option<Leash>,
    server: Leash,
    etcd_server: Leash,
}

impl ApiServer {
    /// None, with one line that says why, where `make up` has not built Kubernetes yet.
    pub async fn start(name: &str, users: &[User]) -> Option<Self> {
        Self::start_with(name, users, "").await
    }

    /// With features that this Kubernetes has not turned on yet: `Name=true`.
    pub async fn start_with(name: &str, users: &[User], gates: &str) -> Option<Self> {
        let tools = ["etcd", "kube-apiserver", "kube-controller-manager", "kubectl", "helm"];
        if !binaries::present(&tools.map(kubernetes)) {
            return None;
        }
        Some(Self::run(name, users, gates).await.expect("a private API server"))
    }

    async fn run(name: &str, users: &[User], gates: &str) -> Result<Self> {
        let dir = new_dir(&workspace().join("target/tmp"), name)?;
        let [client, peer, port] = free_ports()?;
        let url = format!("https://127.0.0.1:{port}");
        let etcd = etcd(&dir, client, peer)?;
        write_credentials(&dir, &url, users)?;
        let server = apiserver(&dir, client, port, gates)?;
        let gates = gates.to_owned();
        let this = Self { dir, url, gates, etcd: client, port, controllers: None, server, etcd_server: etcd };
        this.ready().await;
        Ok(this)
    }

    async fn ready(&self) {
        let ready = "healthz/poststarthook/rbac/bootstrap-roles";
        eventually("the API server is ready", SLOW, async || {
            self.server.alive()?;
            // The file appears with the server's own certificate.
            let client = self.admin().await?;
            for path in ["readyz", ready] {
                client.request_text(http_get(path)?).await?;
            }
            anyhow::Ok(())
        })
        .await;
    }

    /// Ends it at once, and with it every watch; what it stored stays, and so do its address and its clients.
    pub async fn restart(&mut self) -> Result<()> {
        self.server.signal("KILL")?;
        self.server.exited(SLOW).await?;
        self.server = apiserver(&self.dir, self.etcd, self.port, &self.gates)?;
        self.ready().await;
        Ok(())
    }

    /// Garbage collection, ReplicaSets, HPA: what turns children into pods (that no kubelet will ever run).
    pub fn start_controllers(&mut self) -> Result<()> {
        let kubeconfig = format!("--kubeconfig={}", self.kubeconfig(CONTROLLERS).display());
        let gates = format!("--feature-gates={}", self.gates);
        let args = [
            kubeconfig.as_str(),
            gates.as_str(),
            CONTROLLER_NAMES,
            "--leader-elect=false",
            "--horizontal-pod-autoscaler-sync-period=1s",
            "--concurrent-gc-syncs=4",
            "--secure-port=0",
        ];
        let tool = kubernetes("kube-controller-manager");
        self.controllers = Some(Leash::start(&self.dir, "kube-controller-manager", &tool, args, &[])?);
        Ok(())
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Of the API server and its etcd.
    pub fn pids(&self) -> [u32; 2] {
        [self.server.pid(), self.etcd_server.pid()]
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn audit(&self) -> Audit {
        Audit::of(self.dir.join("audit.log"))
    }

    pub async fn admin(&self) -> Result<Client> {
        self.client(ADMIN).await
    }

    pub async fn client(&self, user: &str) -> Result<Client> {
        client_of(&self.kubeconfig(user)).await
    }

    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        self.dir.join(format!("{}.kubeconfig", user.replace(':', "-")))
    }

    /// As the administrator; what it prints, or an error with both outputs.
    pub fn kubectl<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Result<String> {
        let patient = format!("--request-timeout={}s", SLOW.as_secs());
        output(kubectl(&self.kubeconfig(ADMIN)).arg(patient).args(args))
    }

    /// Applies a file of any number of objects.
    pub fn apply(&self, yaml: &str, name: &str) -> Result<()> {
        let file = self.dir.join(name);
        fs::write(&file, yaml)?;
        let file = file.to_str().context("a path in UTF-8")?;
        self.kubectl(["apply", "--server-side", "--force-conflicts", "-f", file]).map(drop)
    }

    pub fn log(&self) -> String {
        self.server.log()
    }
}

pub fn kubectl(kubeconfig: &Path) -> Command {
    let mut command = Command::new(kubernetes("kubectl"));
    command.arg("--kubeconfig").arg(kubeconfig);
    command
}

pub async fn client_of(kubeconfig: &Path) -> Result<Client> {
    let file = Kubeconfig::read_from(kubeconfig)?;
    let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    config.read_timeout = Some(SLOW);
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

fn http_get(path: &str) -> Result<axum::http::Request<Vec<u8>>> {
    Ok(axum::http::Request::get(format!("/{path}")).body(Vec::new())?)
}

/// Ports that were free a moment ago; all held at once, so that they differ.
fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let listeners: Vec<_> = (0..N).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

/// Logs stay for a look after a failure; what ended processes left is removed by the next one.
fn new_dir(parent: &Path, name: &str) -> Result<PathBuf> {
    fs::create_dir_all(parent)?;
    for old in fs::read_dir(parent)?.filter_map(Result::ok).map(|entry| entry.path()) {
        let file = old.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let pid = file.strip_prefix("apiserver-").and_then(|rest| rest.rsplit_once('-')).map(|(_, pid)| pid);
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Another server that starts now may be quicker.
            let _ = fs::remove_dir_all(&old);
        }
    }
    let dir = parent.join(format!("apiserver-{name}-{}", std::process::id()));
    fs::create_dir(&dir)?;
    Ok(dir)
}

fn etcd(dir: &Path, client: u16, peer: u16) -> Result<Leash> {
    let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    let args = [
        format!("--data-dir={}", dir.join("etcd").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        "--unsafe-no-fsync".to_owned(),
    ];
    Leash::start(dir, "etcd", &kubernetes("etcd"), args, &[])
}

fn apiserver(dir: &Path, etcd: u16, port: u16, gates: &str) -> Result<Leash> {
    let at = |file: &str| dir.join(file).display().to_string();
    let args = [
        format!("--feature-gates={gates}"),
        format!("--etcd-servers=http://127.0.0.1:{etcd}"),
        "--bind-address=127.0.0.1".to_owned(),
        // A loopback address may not be published as the Service `kubernetes`.
        "--endpoint-reconciler-type=none".to_owned(),
        format!("--secure-port={port}"),
        format!("--cert-dir={}", at("certs")),
        format!("--token-auth-file={}", at("tokens.csv")),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--anonymous-auth=false".to_owned(),
        "--service-cluster-ip-range=10.0.0.0/16".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={}", at("sa.key")),
        format!("--service-account-signing-key-file={}", at("sa.key")),
        format!("--audit-policy-file={}", at("audit.yaml")),
        format!("--audit-log-path={}", at("audit.log")),
        "--audit-log-mode=blocking".to_owned(),
        // Never a second file: marks are places in the first.
        "--audit-log-maxsize=100000".to_owned(),
    ];
    Leash::start(dir, "kube-apiserver", &kubernetes("kube-apiserver"), args, &[])
}

/// One token per user; the serving certificate is the server's own, made on its first start.
fn write_credentials(dir: &Path, url: &str, users: &[User]) -> Result<()> {
    let key = dir.join("sa.key");
    output(Command::new("openssl").args(["genrsa", "-out"]).arg(&key).arg("2048"))?;
    fs::write(dir.join("audit.yaml"), AUDIT_POLICY)?;
    let own = [
        User { name: ADMIN, groups: &["system:masters"] },
        // Its controllers would each have a role; here they share one that may do everything.
        User { name: CONTROLLERS, groups: &["system:masters"] },
    ];
    let mut tokens = String::new();
    for User { name, groups } in own.iter().chain(users) {
        let token = format!("token-of-{name}").replace(':', "-");
        tokens += &format!("{token},{name},{name},\"{}\"\n", groups.join(","));
        let file = dir.join(format!("{}.kubeconfig", name.replace(':', "-")));
        fs::write(file, kubeconfig(url, Some(&dir.join("certs/apiserver.crt")), &token).to_string())?;
    }
    fs::write(dir.join("tokens.csv"), tokens).context("tokens.csv")
}

pub(crate) fn kubeconfig(url: &str, ca: Option<&Path>, token: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority": ca}}],
        "users": [{"name": "test", "user": {"token": token}}],
    })
}
