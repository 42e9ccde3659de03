//! Which pods there are: each process says once a second that it lives, and hears who else does.

mod http;
mod lease;
mod metrics;
mod row;
mod view;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

pub(crate) use http::router;
use prometheus_client::registry::Registry;
use redis::Script;
pub use row::Row;
use serde_json::json;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
pub use view::{Change, GONE, Seen, View};

use crate::bus::{Bus, Position};
use crate::clock::{Boot, now_ms};
use crate::coordination::Identity;
use crate::key::{self, GroupKeys};
use crate::redis::{Error, Redis};
use crate::stream::Event;
use lease::Lease;
pub use lease::Rules;
use metrics::Metrics;

const EVERY: Duration = Duration::from_secs(1);
/// After one that failed.
const AGAIN: Duration = Duration::from_millis(250);
/// The original's pods look for a key that lives for thirty seconds.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(10);
const HEARTBEAT_LIFE_S: u32 = 30;

/// A cheap handle.
#[derive(Debug, Clone)]
pub struct Pods(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    redis: Redis,
    script: Script,
    view: RwLock<Arc<View>>,
    at_once: Notify,
    lease: Mutex<Lease>,
    /// What the app has applied.
    applied: watch::Receiver<Option<Position>>,
    draining: CancellationToken,
    bus: Bus,
    metrics: Metrics,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beat {
    /// And who else is there. As many replicas of Redis have it as are to have it.
    Whole,
    /// Nothing but that this process is there, and what it has applied.
    Quick,
    /// As quick, and replicas have it.
    Confirmed,
    /// It will not be.
    Last,
}

impl Pods {
    /// The caller runs the future, which ends after `stop`.
    pub fn new(
        redis: Redis,
        bus: Bus,
        draining: CancellationToken,
        applied: watch::Receiver<Option<Position>>,
        rules: Rules,
        registry: &mut Registry,
        stop: CancellationToken,
    ) -> (Pods, impl Future<Output = ()> + Send + use<>) {
        let shared = Shared {
            redis,
            script: Script::new(include_str!("beat.lua")),
            view: RwLock::default(),
            at_once: Notify::new(),
            lease: Mutex::new(Lease::new(rules)),
            applied,
            draining,
            bus,
            metrics: Metrics::new(registry),
        };
        let pods = Pods(Arc::new(shared));
        (pods.clone(), async move {
            stop.run_until_cancelled(pods.live()).await;
            pods.leave().await;
        })
    }

    /// As it was read last.
    pub fn view(&self) -> Arc<View> {
        self.0.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Others are to hear of this process now.
    pub fn beat_at_once(&self) {
        self.0.at_once.notify_one();
    }

    /// Until when the app may serve what messages can take away. None: it may not.
    pub fn serves_until(&self) -> Option<Boot> {
        let mut lease = self.lease();
        if let Some(applied) = *self.0.applied.borrow() {
            lease.applied(applied);
        }
        lease.until(Boot::now())
    }

    /// Redis is still followed by its replicas: nobody is silent because there is another master.
    pub async fn is_confirmed(&self) -> bool {
        self.0.redis.replicas() == 0 || self.beat(Beat::Confirmed).await.is_ok()
    }

    /// Those of `rows`, as Redis had them a moment ago, who live, and those who did by what was read last.
    pub fn listed(&self, rows: Vec<(String, String)>) -> BTreeMap<String, Seen> {
        let now_us = self.0.redis.now_us(&self.keys().pods).unwrap_or_default();
        let view = View::new(now_us, rows, Boot::now()).remembering(&self.view());
        view.there.into_iter().filter(|(_, seen)| seen.age <= GONE).collect()
    }

    /// Redis has lost who was there, or may have, so lately that not all have said so anew.
    pub fn may_forget(&self) -> bool {
        let since = self.0.redis.incarnation(&self.keys().pods).map(|incarnation| incarnation.since_us);
        let age =
            self.0.redis.now_us(&self.keys().pods).zip(since).map(|(now, since)| now.saturating_sub(since));
        age.is_none_or(|age| u128::try_from(age).unwrap_or_default() <= GONE.as_micros())
    }

    /// Who is there now, and what they have applied.
    pub async fn read(&self) -> Result<View, Error> {
        let sent = Boot::now();
        let (now_us, rows) = self.0.redis.hash_at(&self.keys().pods).await?;
        Ok(View::new(now_us, rows, sent))
    }

    async fn live(&self) {
        let mut heartbeat = None::<Boot>;
        let mut asked = false;
        loop {
            let told = self.beat(if asked { Beat::Quick } else { Beat::Whole }).await.is_ok();
            if told && heartbeat.is_none_or(|last| Boot::now().since(last) >= HEARTBEAT_EVERY) {
                heartbeat = self.heartbeat().await.is_ok().then(Boot::now);
            }
            let due = self.view().read.map_or(Boot::default(), |read| read + EVERY);
            let wait = if told { due.since(Boot::now()) } else { AGAIN };
            // However often it is asked, who else is there is read once a second.
            asked = timeout(wait, self.0.at_once.notified()).await.is_ok() && Boot::now() < due;
        }
    }

    async fn beat(&self, what: Beat) -> Result<(), Error> {
        self.say(what).await.inspect_err(|_| self.0.metrics.failed())
    }

    /// Says that this process lives, and mostly reads who else does.
    async fn say(&self, what: Beat) -> Result<(), Error> {
        let (Shared { redis, bus, script, .. }, keys) = (&*self.0, self.keys());
        let Identity { pod, process } = bus.me();
        let row = Row {
            pod: pod.clone(),
            ready: !self.0.draining.is_cancelled() && !bus.is_deaf(),
            leaving: what == Beat::Last,
            cursor: *self.0.applied.borrow(),
        };
        let row = serde_json::to_vec(&row).expect("a row is JSON");
        let (deadline, gone) =
            (redis.deadline_us(&keys.pods).await.to_string(), GONE.as_micros().to_string());
        let whole = matches!(what, Beat::Whole | Beat::Last);
        let asked: &[u8] = if whole { b"1" } else { b"0" };
        let args = [deadline.as_bytes(), process.as_bytes(), &row, gone.as_bytes(), asked];
        let sent = Boot::now();
        let keys = [keys.pods.as_str(), &keys.top];
        let answer = match what {
            Beat::Whole | Beat::Confirmed => redis.run_replicated(script, &keys, &args).await,
            Beat::Quick | Beat::Last => {
                redis.run(script, &keys, &args).await.map(|there| (there, redis.replicas() == 0))
            }
        };
        let (there, replicated): (Vec<String>, bool) = answer?;
        let mut there = there.into_iter();
        let now_us = there.next().and_then(|now| now.parse().ok());
        let top = there.next().and_then(|top| top.parse().ok());
        let (now_us, top) = now_us.zip(top).ok_or_else(|| unexpected("no time, or no top"))?;
        self.lease().said(sent, top, replicated);
        if whole {
            let rows = std::iter::from_fn(|| there.next().zip(there.next()));
            self.show(View::new(now_us, rows, sent));
        }
        let enough = replicated || matches!(what, Beat::Quick | Beat::Last);
        if enough { Ok(()) } else { Err(unexpected("no replica has it")) }
    }

    fn keys(&self) -> &GroupKeys {
        self.0.bus.group()
    }

    fn lease(&self) -> MutexGuard<'_, Lease> {
        self.0.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, view: View) {
        let before = self.view();
        let view = view.remembering(&before);
        let changes = view.changes(&before);
        self.0.metrics.seen(&view, &changes);
        *self.0.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
        for change in changes {
            let what = change.what();
            let Change { joined: _, pod, process } = change;
            tracing::info!(pod, process, "a pod has {what}");
            let data = json!({ "change": what, "pod": pod, "process": process }).to_string();
            self.0.bus.feed().tell(Event { name: "pods", id: None, data });
        }
    }

    /// For pods of the original, which nothing of ours reads.
    async fn heartbeat(&self) -> Result<(), Error> {
        let Shared { redis, bus, .. } = &*self.0;
        let name = &bus.me().pod;
        let pod = serde_json::Value::from(name.as_str());
        let text = format!(r#"{{"timestamp":{},"podId":{pod}}}"#, now_ms());
        redis.set_for(&key::heartbeat(name), text.as_bytes(), HEARTBEAT_LIFE_S).await
    }

    /// Best effort: whoever hears nothing waits until the row is old.
    async fn leave(&self) {
        let _told = self.beat(Beat::Last).await;
    }
}

fn unexpected(reason: &str) -> Error {
    Error::Unexpected { reason: reason.to_owned() }
}
