//! One number of Hyperpages under one shape of the operator, from an empty API server to a restart of the operator.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{Api, DynamicObject};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tests::apiserver::ApiServer;
use tests::audit::{Entry, Mark};
use tests::installation::{NAMESPACE, OPERATOR, OPERATOR_USER, Operator, install};
use tests::kube::{Scene, conditions, hyperpage_resource};
use tests::process::{self, Memory};
use tests::progress::progress;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{Settings, Shape, drift, stand_in};

const PER_NAMESPACE: usize = 10;
const LIMIT: Duration = Duration::from_secs(600);
/// So long without a request, and it is settled.
const SILENCE: Duration = Duration::from_secs(2);
/// Between two lines of progress.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Row {
    pub(crate) shape: Shape,
    pub(crate) hyperpages: usize,
    /// From the start of the process until the last Hyperpage was Ready.
    pub(crate) cold: Duration,
    pub(crate) cold_cpu_ms: f64,
    /// The API server's and etcd's share of the same time.
    pub(crate) server_cpu_ms: f64,
    /// Until it was settled, by what they were.
    pub(crate) calls: BTreeMap<&'static str, usize>,
    pub(crate) pods: usize,
    pub(crate) rest: Rest,
    pub(crate) memory: Memory,
    pub(crate) restart: Restart,
    pub(crate) repair: Vec<Duration>,
}

/// A stretch of time in which nothing happens.
pub(crate) struct Rest {
    pub(crate) requests: usize,
    pub(crate) cpu_ms_per_s: f64,
}

pub(crate) struct Restart {
    pub(crate) requests: usize,
    pub(crate) cpu_ms: f64,
    pub(crate) memory: Memory,
}

/// What is not an answer to the question how quiet it is: lists, watches and the Lease.
fn asked(entries: Vec<Entry>) -> Vec<Entry> {
    let quiet = |entry: &Entry| {
        matches!(entry.verb.as_str(), "list" | "watch") || entry.object_ref.resource == "leases"
    };
    entries.into_iter().filter(|entry| !quiet(entry)).collect()
}

pub(crate) struct Bench<'a> {
    settings: &'a Settings,
    shape: Shape,
    what: String,
    pub(crate) server: ApiServer,
    pub(crate) client: Client,
}

impl<'a> Bench<'a> {
    pub(crate) async fn start(settings: &'a Settings, shape: Shape, what: String) -> Result<Self> {
        let server = ApiServer::start(&what.replace([' ', ','], ""), &[OPERATOR_USER])
            .await
            .context("no API server")?;
        install(&server).await?;
        let client = server.admin().await?;
        let this = Self { settings, shape, what, server, client };
        this.say("API server ready");
        Ok(this)
    }

    pub(crate) fn say(&self, what: &str) {
        progress(&format!("{}: {what}", self.what));
    }

    /// Starts the operator and waits until it has read what it watches.
    pub(crate) async fn operator(&self, identity: &str) -> Result<Operator> {
        if self.shape == Shape::Naive {
            may_watch_secrets(&self.server)?;
        }
        let binary = &self.settings.binaries[self.shape as usize];
        let args = ["--namespace", NAMESPACE];
        let (kubeconfig, dir) = (self.server.kubeconfig(OPERATOR), self.server.dir());
        let operator = Operator::start_binary(binary, &kubeconfig, dir, identity, &args)?;
        let began = Instant::now();
        while !operator.process.log().contains("watches are ready") {
            operator.process.alive()?;
            if began.elapsed() > LIMIT {
                bail!("the operator has not read what it watches:\n{}", operator.process.tail(5));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(operator)
    }

    pub(crate) fn since(&self, mark: Mark) -> Result<Vec<Entry>> {
        Ok(asked(self.server.audit().since(mark, OPERATOR)?))
    }

    pub(crate) async fn settled(&self, operator: &Operator) -> Result<()> {
        let (began, mut said) = (Instant::now(), Instant::now());
        loop {
            operator.process.alive()?;
            let busy = asked(self.server.audit().during(SILENCE, OPERATOR).await?).len();
            if busy == 0 {
                return Ok(());
            }
            if began.elapsed() > LIMIT {
                bail!("{}: never quiet in {LIMIT:?}", self.what);
            }
            if said.elapsed() > PATIENCE {
                said = Instant::now();
                self.say(&format!("{} requests/s", busy as u64 / SILENCE.as_secs()));
            }
        }
    }

    async fn rest(&self, pid: u32) -> Result<Rest> {
        let (mark, cpu) = (self.server.audit().mark()?, process::cpu_ms(pid)?);
        tokio::time::sleep(self.settings.rest()).await;
        let cpu_ms_per_s = (process::cpu_ms(pid)? - cpu) / self.settings.rest().as_secs_f64();
        Ok(Rest { requests: self.since(mark)?.len(), cpu_ms_per_s })
    }

    pub(crate) async fn stop(&self, operator: &Operator) -> Result<()> {
        operator.process.signal("TERM")?;
        operator.process.exited(Duration::from_secs(30)).await.map(drop)
    }

    /// What it stored is large.
    pub(crate) fn end(self) -> Result<()> {
        let dir = self.server.dir().to_owned();
        drop(self.server);
        Ok(std::fs::remove_dir_all(dir)?)
    }

    fn server_cpu_ms(&self) -> Result<f64> {
        self.server.pids().into_iter().map(process::cpu_ms).sum()
    }
}

pub(crate) async fn run(settings: &Settings, shape: Shape, hyperpages: usize) -> Result<Row> {
    let bench = Bench::start(settings, shape, format!("{hyperpages} Hyperpages, {shape}")).await?;
    let names = create(&bench.client, hyperpages).await?;
    let _controllers = stand_in::controllers(&bench.client);
    let (mut ready, _counting) = count_ready(&bench.client);

    let (mark, began) = (bench.server.audit().mark()?, Instant::now());
    let server_cpu = bench.server_cpu_ms()?;
    let operator = bench.operator("operator-a").await?;
    let pid = operator.process.pid();
    while tokio::time::timeout(PATIENCE, ready.wait_for(|count| *count == hyperpages)).await.is_err() {
        bench.say(&format!("{} are Ready", *ready.borrow()));
        operator.process.alive()?;
        if began.elapsed() > LIMIT {
            bail!("not converged:\n{}", operator.process.tail(20));
        }
    }
    let (cold, server_cpu_ms) = (began.elapsed(), bench.server_cpu_ms()? - server_cpu);
    bench.settled(&operator).await?;
    let (calls, cold_cpu_ms) = (sorted(&bench.since(mark)?), process::cpu_ms(pid)?);
    bench.say(&format!("converged in {:.1} s", cold.as_secs_f64()));

    let pods = stand_in::pods(&bench.client).await?;
    bench.settled(&operator).await?;
    let rest = bench.rest(pid).await?;
    let memory = process::memory(pid)?;
    bench.say(&format!("at rest with {pods} pods"));

    bench.stop(&operator).await?;
    let mark = bench.server.audit().mark()?;
    let operator = bench.operator("operator-b").await?;
    let pid = operator.process.pid();
    bench.settled(&operator).await?;
    let cpu_ms = process::cpu_ms(pid)?;
    tokio::time::sleep(settings.rest()).await;
    let restart = Restart { requests: bench.since(mark)?.len(), cpu_ms, memory: process::memory(pid)? };
    bench.say("restarted");

    let repair = drift::repair(&bench.client, &names).await?;
    bench.say(&format!("{} foreign edits repaired", repair.len()));
    drop(operator);
    bench.end()?;
    Ok(Row {
        shape,
        hyperpages,
        cold,
        cold_cpu_ms,
        server_cpu_ms,
        calls,
        pods,
        rest,
        memory,
        restart,
        repair,
    })
}

/// Namespace and name of each, ten to a namespace, as a team would write them.
async fn create(client: &Client, count: usize) -> Result<Vec<(String, String)>> {
    let autoscaling = json!({"minReplicas": 2, "maxReplicas": 4, "targetCPUUtilizationPercentage": 70});
    let spec = json!({"app": {"image": "registry.test/shop:1"}, "autoscaling": autoscaling});
    let mut scenes = Vec::new();
    for number in 0..count.div_ceil(PER_NAMESPACE) {
        let scene = Scene::open(client.clone(), &format!("team-{number}")).await?;
        stand_in::default_account(&scene).await?;
        scenes.push(scene);
    }
    let made = (0..count).map(|number| {
        let (scene, spec) = (&scenes[number / PER_NAMESPACE], spec.clone());
        async move {
            let name = format!("shop-{number}");
            scene.apply(&name, spec).await?;
            anyhow::Ok((scene.namespace.clone(), name))
        }
    });
    stream::iter(made).buffered(8).try_collect().await
}

/// How many are Ready.
fn count_ready(client: &Client) -> (watch::Receiver<usize>, JoinHandle<()>) {
    let (count, ready) = watch::channel(0);
    let all: Api<DynamicObject> = Api::all_with(client.clone(), &hyperpage_resource());
    let counting = async move {
        let mut seen = HashSet::new();
        let mut objects = stand_in::objects(all).boxed();
        while let Some(object) = objects.next().await {
            let id = (object.namespace(), object.name_any());
            match conditions(&object).iter().any(|it| it.type_ == "Ready" && it.status == "True") {
                true => seen.insert(id),
                false => seen.remove(&id),
            };
            count.send_replace(seen.len());
        }
    };
    (ready, tokio::spawn(counting))
}

fn sorted(entries: &[Entry]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for entry in entries {
        let kind = match (entry.verb.as_str(), entry.object_ref.resource.as_str()) {
            (_, "events") => "events",
            (_, "hyperpages") => "status",
            ("get", "secrets") => "reads of the Secret",
            ("get", _) => "reads",
            ("create", _) => "creates",
            ("patch", _) if entry.request_uri.contains("dryRun=") => "dry runs",
            ("patch", _) => "applies",
            _ => "others",
        };
        *counts.entry(kind).or_default() += 1;
    }
    counts
}

/// Which the chart does not grant.
fn may_watch_secrets(server: &ApiServer) -> Result<()> {
    let (api, name) = ("rbac.authorization.k8s.io", json!({"name": "naive"}));
    let role = json!({"apiVersion": format!("{api}/v1"), "kind": "ClusterRole", "metadata": name,
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "watch"]}]});
    let binding = json!({"apiVersion": format!("{api}/v1"), "kind": "ClusterRoleBinding", "metadata": name,
        "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": "naive"},
        "subjects": [{"apiGroup": api, "kind": "User", "name": OPERATOR}]});
    let list: Value = json!({"apiVersion": "v1", "kind": "List", "items": [role, binding]});
    server.apply(&list.to_string(), "naive.json")
}
