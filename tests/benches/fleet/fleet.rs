//! The sidecars, and what they cost.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt};
use tests::bench::Yard;
use tests::eventually::{check, eventually};
use tests::process;
use tests::redis::RedisServer;
use tests::sidecar::{Settings as Env, Sidecar};

use crate::Settings;

/// Started at once.
const TOGETHER: usize = 8;
const LONGEST: Duration = Duration::from_secs(120);

pub(crate) struct Fleet {
    pub(crate) yard: Yard,
    pub(crate) pods: Vec<Sidecar>,
    /// From the first start to the last port.
    pub(crate) started: Duration,
    /// From the last port until each pod listed all.
    pub(crate) discovered: Duration,
}

/// Over some seconds, with nothing to do.
pub(crate) struct Rest {
    pub(crate) pods: usize,
    pub(crate) millicores: Millicores,
    pub(crate) rss_mb: f64,
    pub(crate) rss_max_mb: f64,
    /// What Redis is asked in a second.
    pub(crate) commands: f64,
}

impl Fleet {
    pub(crate) async fn start(settings: &Settings, redis: &RedisServer) -> Result<Fleet> {
        let yard = Yard::new(&settings.bin)?;
        let start = Instant::now();
        let pods = futures::stream::iter(0..settings.pods).map(|number| start_one(&yard, number, redis));
        let pods: Vec<_> = pods.buffered(TOGETHER).try_collect().await?;
        let (started, start) = (start.elapsed(), Instant::now());
        for pod in &pods {
            eventually("all pods are listed", LONGEST, async || {
                let answer = pod.app.get("/v1/pods").await;
                check(answer.status == 200 && answer.json()["count"] == pods.len(), answer.status)
            })
            .await;
        }
        Ok(Fleet { yard, pods, started, discovered: start.elapsed() })
    }

    /// Another process in the place of one that is gone.
    pub(crate) async fn replace(&mut self, number: usize, redis: &RedisServer) -> Result<()> {
        self.pods[number] = start_one(&self.yard, number, redis).await?;
        Ok(())
    }

    fn cpu_ms(&self) -> Result<f64> {
        self.pods.iter().map(|pod| process::cpu_ms(pod.pid())).sum()
    }

    /// Of one on average, and of the largest, in MB.
    pub(crate) fn rss(&self) -> Result<(f64, f64)> {
        let memory = self.pods.iter().map(|pod| Ok(process::memory(pod.pid())?.rss));
        let memory: Vec<f64> = memory.collect::<Result<_>>()?;
        let sum: f64 = memory.iter().sum();
        Ok((sum / memory.len() as f64, memory.iter().copied().fold(0.0, f64::max)))
    }

    pub(crate) async fn rest(&self, redis: &RedisServer, seconds: u64) -> Result<Rest> {
        let asked = async || -> Result<f64> {
            let info: String = redis.command(&["INFO", "stats"]).await?;
            let count = info.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
            Ok(count.context("Redis counts commands")?.trim().parse()?)
        };
        let (commands, cost, start) = (asked().await?, Cost::now(self, redis)?, Instant::now());
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let (passed, millicores) = (start.elapsed().as_secs_f64(), cost.millicores(self, redis)?);
        let (rss_mb, rss_max_mb) = self.rss()?;
        let commands = (asked().await? - commands) / passed;
        Ok(Rest { pods: self.pods.len(), millicores, rss_mb, rss_max_mb, commands })
    }
}

/// What all had used at a time.
pub(crate) struct Cost {
    at: Instant,
    pods_ms: f64,
    redis_ms: f64,
}

/// Of a core.
pub(crate) struct Millicores {
    /// Of one on average.
    pub(crate) pod: f64,
    pub(crate) redis: f64,
}

impl Cost {
    pub(crate) fn now(fleet: &Fleet, redis: &RedisServer) -> Result<Cost> {
        Ok(Cost { at: Instant::now(), pods_ms: fleet.cpu_ms()?, redis_ms: process::cpu_ms(redis.pid())? })
    }

    /// Since then.
    pub(crate) fn millicores(self, fleet: &Fleet, redis: &RedisServer) -> Result<Millicores> {
        let (now, pods) = (Cost::now(fleet, redis)?, fleet.pods.len() as f64);
        let passed = (now.at - self.at).as_secs_f64();
        let pod = (now.pods_ms - self.pods_ms) / passed / pods;
        Ok(Millicores { pod, redis: (now.redis_ms - self.redis_ms) / passed })
    }
}

async fn start_one(yard: &Yard, number: usize, redis: &RedisServer) -> Result<Sidecar> {
    let program = yard.binary("hyperpage-sidecar");
    let env = Env::redis(redis.url()).program(program.to_str().context("a path that is text")?);
    let pod = yard.pod(&format!("pod-{number:03}"))?;
    Ok(Sidecar::start(&pod.into_iter().fold(env, |env, (name, value)| env.env(name, value))).await)
}
