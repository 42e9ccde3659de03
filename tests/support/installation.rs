//! The operator as the chart installs it: its CRD, its account, exactly its verbs; and its process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::apiserver::{ApiServer, User};
use crate::binaries::{kubernetes, ours, output, workspace};
use crate::eventually::eventually;
use crate::http::Http;
use crate::leash::Leash;

pub const NAMESPACE: &str = "hyperpage-system";
/// The account of the chart, to which its roles are bound.
pub const OPERATOR: &str = "system:serviceaccount:hyperpage-system:hyperpage-operator";
pub const OPERATOR_USER: User = User {
    name: OPERATOR,
    groups: &["system:serviceaccounts", "system:serviceaccounts:hyperpage-system", "system:authenticated"],
};

/// Every object of the chart, as `helm install` would send it.
pub fn chart() -> Result<Vec<Value>> {
    chart_with(&[])
}

/// As [`chart`], with more arguments for helm, such as `--set=watchNamespaces={a,b}`.
pub fn chart_with(args: &[&str]) -> Result<Vec<Value>> {
    let chart = workspace().join("charts/hyperpage-operator");
    let mut helm = Command::new(kubernetes("helm"));
    helm.args(["template", "hyperpage"]).arg(chart).args([
        "--namespace",
        NAMESPACE,
        "--kube-version",
        "1.34",
    ]);
    documents(&output(helm.args(args))?)
}

pub fn documents(yaml: &str) -> Result<Vec<Value>> {
    let all = serde_yaml::Deserializer::from_str(yaml).map(Value::deserialize);
    let all = all.collect::<Result<Vec<_>, _>>().context("YAML documents")?;
    Ok(all.into_iter().filter(|document| !document.is_null()).collect())
}

/// All but the Deployment, which [`Operator`] stands for.
pub async fn install(server: &ApiServer) -> Result<()> {
    install_objects(server, chart()?).await
}

pub async fn install_objects(server: &ApiServer, mut items: Vec<Value>) -> Result<()> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    items.retain(|item| item["kind"] != "Deployment");
    let (crds, others): (Vec<_>, Vec<_>) =
        items.into_iter().partition(|item| item["kind"] == "CustomResourceDefinition");
    for (name, items) in [("namespace", vec![namespace]), ("crds", crds), ("chart", others)] {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        server.apply(&list.to_string(), &format!("{name}.json"))?;
    }
    server.kubectl([
        "wait",
        "--for=condition=Established",
        "--timeout=120s",
        "crd/hyperpages.hyperpage.dev",
    ])?;
    Ok(())
}

/// A kubelet starts a container again that has failed; its process ends with the shell.
const AGAIN: &str = r#"until setpriv --pdeathsig KILL -- "$@"; do sleep 1; done"#;

/// The real binary, under the chart's account.
pub struct Operator {
    pub identity: String,
    pub process: Leash,
}

impl Operator {
    pub fn start(server: &ApiServer, identity: &str) -> Result<Self> {
        Self::start_with(server, identity, &[])
    }

    pub fn start_with(server: &ApiServer, identity: &str, more: &[&str]) -> Result<Self> {
        let args = [&["--namespace", NAMESPACE], more].concat();
        Self::start_by(&server.kubeconfig(OPERATOR), server.dir(), identity, &args)
    }

    /// As [`Operator::start`], and again whenever it fails: where a machine stands still for longer than the Lease may
    /// be left, it ends, as it should. The process is the one that does so.
    pub fn keep(server: &ApiServer, identity: &str) -> Result<Self> {
        let binary = ours("hyperpage-operator");
        let (binary, kubeconfig) = (binary.to_str(), server.kubeconfig(OPERATOR));
        let mut args = vec!["-c", AGAIN, "kubelet", binary.context("a path in UTF-8")?];
        args.extend(["--admin-listen=127.0.0.1:0", "--identity", identity, "--namespace", NAMESPACE]);
        let env = [("KUBECONFIG", kubeconfig.to_str().context("a path in UTF-8")?)];
        let process = Leash::start(server.dir(), identity, Path::new("/bin/bash"), args, &env)?;
        Ok(Self { identity: identity.to_owned(), process })
    }

    /// Finds its API server by this file; logs are in `dir`.
    pub fn start_by(kubeconfig: &Path, dir: &Path, identity: &str, more: &[&str]) -> Result<Self> {
        let binary: PathBuf = ours("hyperpage-operator");
        Self::start_binary(&binary, kubeconfig, dir, identity, more)
    }

    /// As [`Operator::start_by`], from elsewhere.
    pub fn start_binary(
        binary: &Path,
        kubeconfig: &Path,
        dir: &Path,
        identity: &str,
        more: &[&str],
    ) -> Result<Self> {
        let kubeconfig = kubeconfig.to_str().context("a path in UTF-8")?;
        let args = ["--admin-listen=127.0.0.1:0", "--identity", identity];
        let args = args.iter().chain(more);
        let process = Leash::start(dir, identity, binary, args, &[("KUBECONFIG", kubeconfig)])?;
        Ok(Self { identity: identity.to_owned(), process })
    }

    /// Where it serves probes and metrics.
    pub async fn admin(&self) -> Http {
        let what = format!("{} says where it listens", self.identity);
        let address = eventually(&what, Duration::from_secs(60), async || {
            self.process.alive()?;
            let log = self.process.log();
            let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut said = lines.filter_map(|line| line["admin_listen"].as_str()?.parse().ok());
            said.next().context(log.clone())
        });
        Http::new(address.await)
    }

    /// Waits until it holds the Lease.
    pub async fn leads(&self, server: &ApiServer, within: Duration) {
        eventually(&format!("{} leads", self.identity), within, async || {
            self.process.alive()?;
            let holder = holder(server).await?;
            anyhow::ensure!(holder == self.identity, "{holder:?} leads");
            anyhow::Ok(())
        })
        .await;
    }
}

/// Who holds the operator's Lease; empty when nobody does.
pub async fn holder(server: &ApiServer) -> Result<String> {
    let leases: Api<Lease> = Api::namespaced(server.admin().await?, NAMESPACE);
    let spec = leases.get_opt("hyperpage-operator").await?.and_then(|lease| lease.spec);
    Ok(spec.and_then(|spec| spec.holder_identity).unwrap_or_default())
}
