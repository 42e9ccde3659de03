//! What one pod tells all others: how soon the last hears it, and whether anything is lost when much is told.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::bench::{Pacing, Peer, Talk, Words};
use tests::process::cpu_ms;
use tests::redis::RedisServer;
use tests::sidecar::Sidecar;

use crate::Settings;
use crate::fleet::Fleet;

/// Pods that tell something, and pods with an app that listens: each costs the machine something, too.
const SPEAKERS: usize = 10;
const LISTENERS: usize = 10;
const CONNECTIONS: usize = 50;
const DRAINED: Duration = Duration::from_secs(120);

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
    /// Of what was told, by what all sidecars count: one that was not heard by one sidecar is one.
    pub(crate) lost: f64,
    /// To an app, by what it heard and how often it was told of a gap.
    pub(crate) lost_to_apps: f64,
    pub(crate) unreported: f64,
    pub(crate) gaps: f64,
    pub(crate) listeners: usize,
    /// Of a core, for one sidecar, while it lasted.
    pub(crate) millicores: f64,
    pub(crate) redis_millicores: f64,
    pub(crate) rss_mb: f64,
    pub(crate) rss_max_mb: f64,
}

pub(crate) async fn rate(fleet: &Fleet, redis: &RedisServer, settings: &Settings) -> Result<Rate> {
    ensure!(fleet.pods.len() >= SPEAKERS, "at least {SPEAKERS} pods");
    let tell_to = addresses(fleet.pods.iter().take(SPEAKERS));
    let hear_from = addresses(fleet.pods.iter().rev().take(LISTENERS));
    let pacing = Pacing { connections: CONNECTIONS, seconds: settings.seconds, rate: Some(settings.rate) };
    let (before, cpu, redis_cpu) = (counted(fleet).await?, fleet.cpu_ms()?, cpu_ms(redis.pid())?);
    let start = Instant::now();
    let talk = Peer::ours(&fleet.yard, "sidecar").talk(&fleet.yard, &tell_to, &hear_from, &pacing).await?;
    let of = |words: &Words, name: &str| words.get(name).copied().with_context(|| format!("no {name}"));
    // The end is one, too.
    let told = of(&talk.told, "count")? + 1.0;
    let pods = fleet.pods.len();
    let mut after = counted(fleet).await?;
    while after.heard - before.heard < told * pods as f64 && start.elapsed() < pacing.length() + DRAINED {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let now = counted(fleet).await?;
        if now.heard == after.heard {
            break;
        }
        after = now;
    }
    let passed = start.elapsed().as_secs_f64();
    let (rss, rss_max_mb) = fleet.rss()?;
    Ok(Rate {
        pods,
        lost: told * pods as f64 - (after.heard - before.heard),
        lost_to_apps: of(&talk.told, "count")? * hear_from.len() as f64 - of(&talk.heard, "heard")?,
        unreported: of(&talk.heard, "skipped")?,
        gaps: after.reported - before.reported,
        listeners: hear_from.len(),
        millicores: (fleet.cpu_ms()? - cpu) / passed / pods as f64,
        redis_millicores: (cpu_ms(redis.pid())? - redis_cpu) / passed,
        rss_mb: rss / pods as f64,
        rss_max_mb,
        talk,
    })
}

/// By all sidecars, whether an app listens or not.
struct Counted {
    heard: f64,
    /// Gaps and resyncs.
    reported: f64,
}

async fn counted(fleet: &Fleet) -> Result<Counted> {
    let mut counted = Counted { heard: 0.0, reported: 0.0 };
    for pod in &fleet.pods {
        let text = pod.admin.get("/metrics").await.expect(200).body;
        for (name, value) in text.lines().filter_map(|line| line.rsplit_once(' ')) {
            if name.starts_with("hyperpage_bus_messages_total{") && name.contains("direction=\"in\"") {
                counted.heard += value.parse::<f64>()?;
            } else if ["hyperpage_bus_gaps_total", "hyperpage_bus_resyncs_total"].contains(&name) {
                counted.reported += value.parse::<f64>()?;
            }
        }
    }
    Ok(counted)
}
