//! An app's pods, asked one by one: whom they follow, whom they know, and what they have heard.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::ResourceExt;
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tests::cluster::{is_ready, pod_url};
use tests::eventually::eventually;
use tests::kube::Scene;
use tokio::sync::watch;

use crate::parts::{ROLLED, ready, script, with};

/// One line of what an app has heard.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Heard {
    event: String,
    data: Value,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Leader {
    pub(crate) leader_id: Option<String>,
    pub(crate) term: u64,
}

/// The app's pods, asked one by one.
pub(crate) struct Fleet {
    scene: Scene,
    pub(crate) http: reqwest::Client,
}

impl Fleet {
    pub(crate) async fn ready(scene: &Scene, replicas: usize) -> Self {
        Self::of(scene, script(include_str!("coordinated.js")), replicas).await
    }

    pub(crate) async fn of(scene: &Scene, app: Value, replicas: usize) -> Self {
        ready(scene, "shop", with(app, "replicas", json!(replicas))).await;
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().unwrap();
        Self { scene: scene.clone(), http }
    }

    pub(crate) async fn pods(&self) -> Result<Vec<Pod>> {
        Ok(self.scene.pods("shop", "app").await?.into_iter().filter(is_ready).collect())
    }

    pub(crate) async fn text(&self, pod: &Pod, path: &str) -> Result<String> {
        let answer = self.http.get(format!("{}{path}", pod_url(pod)?)).send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "{}{path}: {status} {text}", pod.name_any());
        Ok(text)
    }

    pub(crate) async fn leader(&self, pod: &Pod) -> Result<Leader> {
        Ok(serde_json::from_str(&self.text(pod, "/v1/leader").await?)?)
    }

    /// All pods name the same one, and it is one of them.
    pub(crate) async fn agreed(&self) -> (Pod, u64) {
        eventually("all pods name one leader", ROLLED, async || {
            let pods = self.pods().await?;
            let mut named = BTreeSet::new();
            for pod in &pods {
                let Leader { leader_id, term } = self.leader(pod).await?;
                named.insert((leader_id.context("nobody leads")?, term));
            }
            ensure!(named.len() == 1, "{named:?}");
            let (name, term) = named.pop_first().context("no pod is ready")?;
            let leader = pods.into_iter().find(|pod| pod.name_any() == name);
            anyhow::Ok((leader.with_context(|| format!("{name} is no pod"))?, term))
        })
        .await
    }

    pub(crate) async fn heard(&self, pod: &Pod) -> Result<Vec<Heard>> {
        Ok(serde_json::from_str(&self.text(pod, "/heard").await?)?)
    }

    /// A counter of the sidecar, summed over its labels.
    pub(crate) async fn counted(&self, pod: &Pod, name: &str) -> Result<f64> {
        let metrics = self.text(pod, "/metrics").await?;
        let lines = metrics.lines().filter(|line| line.starts_with(name));
        Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// Names of the pods that this pod knows of.
    pub(crate) async fn known(&self, pod: &Pod) -> Result<BTreeSet<String>> {
        let seen: Value = serde_json::from_str(&self.text(pod, "/v1/pods").await?)?;
        let seen = seen["pods"].as_array().into_iter().flatten();
        Ok(seen.filter_map(|it| Some(it["pod"].as_str()?.to_owned())).collect())
    }

    /// So many are ready, and each knows all of them.
    pub(crate) async fn know_each_other(&self, replicas: usize) {
        eventually(&format!("{replicas} pods know each other"), ROLLED, async || {
            let pods = self.pods().await?;
            let names: BTreeSet<_> = pods.iter().map(ResourceExt::name_any).collect();
            ensure!(names.len() == replicas, "{} pods are ready", names.len());
            for pod in &pods {
                let seen = self.known(pod).await?;
                ensure!(seen == names, "{} knows {seen:?}", pod.name_any());
            }
            anyhow::Ok(())
        })
        .await;
    }
}

/// Invalidations with numbers, at a steady pace, through whichever pod the address leads to.
pub(crate) struct Invalidations {
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<Result<Sent>>,
}

/// Each of them acknowledged.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) all: u64,
    /// By the time of the answer, which waited for that.
    pub(crate) applied_by_all: u64,
}

impl Invalidations {
    /// As a plain message, of which an app may send more.
    pub(crate) fn messages(url: &str, every: Duration) -> Self {
        let whole = |keys| json!({"type": "cache_invalidate", "payload": keys});
        Self::start(format!("{url}/v1/messages"), every, whole)
    }

    /// Answered when every pod's app has applied it, or says which has not.
    pub(crate) fn applied(url: &str, every: Duration) -> Self {
        Self::start(format!("{url}/v1/cache/invalidate?wait=applied"), every, |keys| keys)
    }

    fn start(url: String, every: Duration, body: fn(Value) -> Value) -> Self {
        let (stop, mut stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            let limit = Duration::from_secs(10);
            let http =
                reqwest::Client::builder().no_proxy().timeout(limit).pool_max_idle_per_host(0).build()?;
            let (mut sent, mut pace) = (Sent::default(), tokio::time::interval(every));
            loop {
                tokio::select! {
                    _ = stopped.changed() => return Ok(sent),
                    _ = pace.tick() => {}
                }
                let number = sent.all + 1;
                let keys = json!({"keys": [format!("{PRODUCT}{number}")]});
                let answer = http.post(&url).json(&body(keys)).send().await?;
                let (status, text) = (answer.status(), answer.text().await?);
                ensure!(status.is_success(), "invalidation {number}: {status} {text}");
                sent.all = number;
                sent.applied_by_all += u64::from(status == StatusCode::OK);
            }
        });
        Self { stop, task }
    }

    pub(crate) async fn end(self) -> Result<Sent> {
        self.stop.send_replace(true);
        self.task.await?
    }
}

const PRODUCT: &str = "product-";

impl Heard {
    fn number(&self) -> Option<u64> {
        self.data["payload"]["keys"][0].as_str()?.strip_prefix(PRODUCT)?.parse().ok()
    }
}

/// What became of the invalidations up to `last` at one pod.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Ledger {
    heard: usize,
    /// Events that say that something may have been missed.
    reported: usize,
    /// Missed after the first that was heard, and no event says so.
    unreported: Vec<u64>,
}

impl Ledger {
    pub(crate) fn of(heard: &[Heard], last: u64) -> Self {
        let mut ledger = Self::default();
        let mut next = None;
        for one in heard {
            match one.event.as_str() {
                "message" => {
                    let Some(number) = one.number() else { continue };
                    ledger.heard += 1;
                    ledger.unreported.extend(next.into_iter().flat_map(|next| next..number));
                    next = Some(next.map_or(number + 1, |next: u64| next.max(number + 1)));
                }
                "gap" | "resync" => {
                    ledger.reported += 1;
                    next = None;
                }
                _ => {}
            }
        }
        // Nothing came after the last event: the others are still on their way, or lost.
        ledger.unreported.extend(next.into_iter().flat_map(|next| next..=last));
        ledger
    }
}

#[test]
fn a_message_that_nobody_reports_as_missed_is_seen() {
    let message = |number: u64| {
        let keys = json!({"keys": [format!("{PRODUCT}{number}")]});
        Heard { event: "message".to_owned(), data: json!({"payload": keys}) }
    };
    let resync = || Heard { event: "resync".to_owned(), data: Value::Null };
    let judge = |heard: &[Heard]| Ledger::of(heard, 5);
    let whole: Vec<_> = (2..=5).map(message).collect();
    assert_eq!(judge(&whole), Ledger { heard: 4, reported: 0, unreported: vec![] }, "it joined later");
    assert_eq!(judge(&[message(1), message(4), message(5)]).unreported, [2, 3]);
    assert_eq!(judge(&[message(1), message(2)]).unreported, [3, 4, 5]);
    let told = judge(&[message(1), resync(), message(4), message(5)]);
    assert_eq!(told, Ledger { heard: 3, reported: 1, unreported: vec![] });
}

/// Every pod has every invalidation that it was there for. Gives how many it heard and how often it was told of a gap.
pub(crate) async fn every_pod_heard(fleet: &Fleet, last: u64) -> BTreeMap<String, (usize, usize)> {
    eventually(&format!("every pod has heard invalidation {last}"), ROLLED, async || {
        let mut ledgers = BTreeMap::new();
        for pod in fleet.pods().await? {
            let Ledger { heard, reported, unreported } = Ledger::of(&fleet.heard(&pod).await?, last);
            ensure!(unreported.is_empty(), "{} misses {unreported:?}", pod.name_any());
            ledgers.insert(pod.name_any(), (heard, reported));
        }
        anyhow::Ok(ledgers)
    })
    .await
}

/// Lines of the Secret with the bus key.
pub(crate) async fn keys(scene: &Scene) -> Vec<String> {
    let secret = scene.api::<Secret>().get("shop-hp-bus").await.expect("the Secret");
    let keys = secret.data.and_then(|mut data| data.remove("keys")).expect("keys");
    String::from_utf8(keys.0).expect("text").lines().map(str::to_owned).collect()
}
