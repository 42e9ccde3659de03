//! `hyperpage:leader`, where the original's pods look, and a word on the election's channel. They take the lead only
//! where that key is missing, so it is never missing; and they overwrite it unasked, so it is never believed.

use std::time::Duration;

use redis::Script;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Leader, Metrics};
use crate::clock::Boot;
use crate::config;
use crate::redis::{Error, Redis};
use crate::telemetry::Seldom;

const EVERY: Duration = Duration::from_secs(1);
/// Ten years. A pod of the original that has read the key once counts from the heartbeat in it, never reads it again,
/// and holds elections without end when that is too long ago.
const FAR_MS: u64 = 315_360_000_000;

pub(super) struct Mirror {
    redis: Redis,
    leader: Leader,
    script: Script,
    key: String,
    /// JSON.
    id: String,
    ahead_ms: String,
    channel: String,
    metrics: Metrics,
    warned: Seldom,
}

impl Mirror {
    pub(super) fn new(
        redis: Redis,
        leader: Leader,
        settings: &config::Coordination,
        pod: &str,
        metrics: Metrics,
    ) -> Mirror {
        let script = Script::new(include_str!("mirror.lua"));
        let id = serde_json::Value::from(pod).to_string();
        let ahead_ms = if settings.compat() { FAR_MS } else { 0 }.to_string();
        let key = settings.keys().mirror;
        let channel = format!("{}:election", settings.channel_prefix);
        Mirror { redis, leader, script, key, id, ahead_ms, channel, metrics, warned: Seldom::default() }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(self.reflect()).await;
    }

    async fn reflect(&mut self) {
        let mut views = self.leader.changes();
        let mut announced = 0;
        loop {
            let leads = views.wait_for(|view| view.held.is_some()).await.is_ok();
            if !leads {
                return;
            }
            let Some(held) = self.leader.held(Boot::now()) else {
                sleep(EVERY).await;
                continue;
            };
            match self.write(held.term, announced != held.term).await {
                Ok(()) => announced = held.term,
                Err(error) => tracing::debug!(%error, "{} could not be written", self.key),
            }
            sleep(EVERY).await;
        }
    }

    async fn write(&mut self, term: u64, announce: bool) -> Result<(), Error> {
        let deadline_us = self.redis.deadline_us(&self.key).await.to_string();
        let (term, channel) = (term.to_string(), if announce { self.channel.as_str() } else { "" });
        let args = [&deadline_us, &self.id, &term, &self.ahead_ms, channel].map(str::as_bytes);
        let foreign: i8 = self.redis.run(&self.script, &[&self.key], &args).await?;
        if foreign == 1 {
            self.metrics.foreign_mirrors.inc();
            if self.warned.is_due() {
                tracing::warn!(
                    "somebody else writes {}: a pod that still runs the original's coordinator?",
                    self.key
                );
            }
        }
        Ok(())
    }
}
