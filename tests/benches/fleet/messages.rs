//! What one pod tells all others: how soon the last hears it, and whether anything is lost when much is told.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::bench::{Pacing, Peer, Talk, Words};
use tests::redis::RedisServer;
use tests::sidecar::Sidecar;

use crate::Settings;
use crate::fleet::{Cost, Fleet, Millicores};

/// Pods that tell something, and pods with an app that listens: each costs the machine something, too.
const SPEAKERS: usize = 10;
const LISTENERS: usize = 10;
const CONNECTIONS: usize = 50;
const DRAINED: Duration = Duration::from_secs(30);

fn addresses<'a>(pods: impl Iterator<Item = &'a Sidecar>) -> Vec<String> {
    pods.map(|pod| pod.app_address.to_string()).collect()
}

/// From the request to the last of all pods' apps, in the words of `peer`.
pub(crate) async fn spread(fleet: &Fleet, rounds: usize) -> Result<Words> {
    Peer::spread(&fleet.yard, &addresses(fleet.pods.iter()), rounds).await
}

/// Of some seconds at a rate.
pub(crate) struct Rate {
    pub(crate) pods: usize,
    pub(crate) talk: Talk,
    /// What got a place in the order, acknowledged or not, and was not heard: of each sidecar, and of each app.
    pub(crate) lost: f64,
    pub(crate) lost_to_apps: f64,
    /// By all sidecars, whether an app listens or not.
    pub(crate) gaps: f64,
    pub(crate) resyncs: f64,
    pub(crate) listeners: usize,
    /// While it lasted.
    pub(crate) millicores: Millicores,
    pub(crate) rss_mb: f64,
    pub(crate) rss_max_mb: f64,
}

pub(crate) async fn rate(fleet: &Fleet, redis: &RedisServer, settings: &Settings) -> Result<Rate> {
    ensure!(fleet.pods.len() >= SPEAKERS, "at least {SPEAKERS} pods");
    let pods = fleet.pods.len() as f64;
    let tell_to = addresses(fleet.pods.iter().take(SPEAKERS));
    let hear_from = addresses(fleet.pods.iter().rev().take(LISTENERS));
    let pacing = Pacing { connections: CONNECTIONS, seconds: settings.seconds, rate: Some(settings.rate) };
    let (before, from) = (counted(fleet).await?, last(redis).await?);
    let cost = Cost::now(fleet, redis)?;
    let talk = Peer::ours(&fleet.yard, "sidecar").talk(&fleet.yard, &tell_to, &hear_from, &pacing).await?;
    let millicores = cost.millicores(fleet, redis)?;
    let places = last(redis).await? - from;
    let mut after = counted(fleet).await?;
    let end = Instant::now() + DRAINED;
    while after.heard - before.heard < places * pods && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(500)).await;
        after = counted(fleet).await?;
    }
    let heard = talk.heard.get("heard").context("what apps heard")?;
    let (rss_mb, rss_max_mb) = fleet.rss()?;
    Ok(Rate {
        pods: fleet.pods.len(),
        lost: places * pods - (after.heard - before.heard),
        // The last of all is the end.
        lost_to_apps: (places - 1.0) * hear_from.len() as f64 - heard,
        gaps: after.gaps - before.gaps,
        resyncs: after.resyncs - before.resyncs,
        listeners: hear_from.len(),
        millicores,
        rss_mb,
        rss_max_mb,
        talk,
    })
}

/// The number of the last message.
async fn last(redis: &RedisServer) -> Result<f64> {
    let seq: String = redis.command(&["HGET", "{hyperpage:coord}:top", "seq"]).await?;
    Ok(seq.parse()?)
}

/// Summed over all sidecars.
#[derive(Default)]
struct Counted {
    heard: f64,
    gaps: f64,
    resyncs: f64,
}

async fn counted(fleet: &Fleet) -> Result<Counted> {
    let mut counted = Counted::default();
    for pod in &fleet.pods {
        let text = pod.admin.get("/metrics").await.expect(200).body;
        for (name, value) in text.lines().filter_map(|line| line.rsplit_once(' ')) {
            let sum = match name {
                "hyperpage_bus_gaps_total" => &mut counted.gaps,
                "hyperpage_bus_resyncs_total" => &mut counted.resyncs,
                _ if name.starts_with("hyperpage_bus_messages_total{direction=\"in\"") => &mut counted.heard,
                _ => continue,
            };
            *sum += value.parse::<f64>()?;
        }
    }
    Ok(counted)
}
