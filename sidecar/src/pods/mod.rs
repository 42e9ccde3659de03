//! Which pods there are: each process says once a second that it lives, and hears who else does.

mod http;
mod metrics;
mod row;
mod view;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub(crate) use http::router;
use prometheus_client::registry::Registry;
use redis::Script;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
pub use view::{Change, GONE, Seen, View};

use crate::clock::{Boot, now_ms};
use crate::coordination::Identity;
use crate::key;
use crate::redis::{Error, Redis};
use metrics::Metrics;
use row::Row;

const EVERY: Duration = Duration::from_secs(1);
/// After one that failed.
const AGAIN: Duration = Duration::from_millis(250);
/// Who has not been confirmed to be there for this long takes himself for cut off, before others do.
const FENCED: Duration = Duration::from_secs(2);
/// The original's pods look for a key that lives for thirty seconds.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(10);
const HEARTBEAT_LIFE_S: u32 = 30;

/// A cheap handle.
#[derive(Debug, Clone)]
pub struct Pods(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    redis: Redis,
    me: Identity,
    script: Script,
    view: watch::Sender<Arc<View>>,
    at_once: Notify,
    /// When the last row that Redis has was sent.
    confirmed: Mutex<Option<Boot>>,
    draining: CancellationToken,
    metrics: Metrics,
}

impl Pods {
    /// The caller runs the future, which ends after `stop`.
    pub fn new(
        redis: Redis,
        me: Identity,
        draining: CancellationToken,
        registry: &mut Registry,
        stop: CancellationToken,
    ) -> (Pods, impl Future<Output = ()> + Send + use<>) {
        let shared = Shared {
            redis,
            me,
            script: Script::new(include_str!("beat.lua")),
            view: watch::Sender::default(),
            at_once: Notify::new(),
            confirmed: Mutex::default(),
            draining,
            metrics: Metrics::new(registry),
        };
        let pods = Pods(Arc::new(shared));
        (pods.clone(), async move {
            stop.run_until_cancelled(pods.live()).await;
            pods.leave().await;
        })
    }

    /// Who is there; changes with each reading.
    pub fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.0.view.subscribe()
    }

    pub fn me(&self) -> &Identity {
        &self.0.me
    }

    /// Others are to hear of this process now.
    pub fn beat_at_once(&self) {
        self.0.at_once.notify_one();
    }

    /// Until when others count on this process: nothing that they may have changed is served from then on.
    pub fn fenced_at(&self) -> Option<Boot> {
        Some((*self.0.confirmed.lock().unwrap_or_else(PoisonError::into_inner))? + FENCED)
    }

    async fn live(&self) {
        let mut heartbeat = None::<Boot>;
        loop {
            let told = self.beat(false).await.is_ok();
            if told && heartbeat.is_none_or(|last| Boot::now().since(last) >= HEARTBEAT_EVERY) {
                heartbeat = self.heartbeat().await.is_ok().then(Boot::now);
            }
            let wait = if told { EVERY } else { AGAIN };
            let _asked = timeout(wait, self.0.at_once.notified()).await;
        }
    }

    /// Says that this process lives, and reads who else does.
    async fn beat(&self, leaving: bool) -> Result<(), Error> {
        let Shared { redis, me, script, .. } = &*self.0;
        let row = Row { pod: me.pod.clone(), ready: !self.0.draining.is_cancelled(), leaving };
        let row = serde_json::to_vec(&row).expect("a row is JSON");
        let (deadline, gone) = (redis.deadline_us(key::PODS).await.to_string(), GONE.as_micros().to_string());
        let args = [deadline.as_bytes(), me.process.as_bytes(), &row, gone.as_bytes()];
        let sent = Boot::now();
        let answer: Result<Vec<String>, Error> = redis.run(script, &[key::PODS], &args).await;
        let there = answer.inspect_err(|_| self.0.metrics.failed())?;
        *self.0.confirmed.lock().unwrap_or_else(PoisonError::into_inner) = Some(sent);
        let mut there = there.iter().map(String::as_str);
        let now_us = there.next().and_then(|now| now.parse().ok()).unwrap_or_default();
        let rows = std::iter::from_fn(|| there.next().zip(there.next()));
        self.show(View::new(now_us, rows, sent));
        Ok(())
    }

    fn show(&self, view: View) {
        let before = self.0.view.borrow().clone();
        let view = view.remembering(&before);
        let changes = view.changes(&before);
        self.0.metrics.seen(&view, &changes);
        for change in changes {
            match change {
                Change::Joined { pod, process } => tracing::info!(pod, process, "a pod has joined"),
                Change::Left { pod, process } => tracing::info!(pod, process, "a pod has left"),
            }
        }
        self.0.view.send_replace(Arc::new(view));
    }

    /// For pods of the original, which nothing of ours reads.
    async fn heartbeat(&self) -> Result<(), Error> {
        let Shared { redis, me, .. } = &*self.0;
        let pod = serde_json::Value::from(me.pod.as_str());
        let text = format!(r#"{{"timestamp":{},"podId":{pod}}}"#, now_ms());
        redis.set_for(&key::heartbeat(&me.pod), text.as_bytes(), HEARTBEAT_LIFE_S).await
    }

    /// Best effort: whoever hears nothing waits until the row is old.
    async fn leave(&self) {
        let _told = self.beat(true).await;
    }
}
