//! One leader among all pods of an app. The lease is watched, never timed by anybody else's clock; what a leader does
//! bears its term, so that whoever is told to do something can refuse what is late.

mod campaign;
mod coordinate;
mod http;
mod metrics;
mod mirror;
mod record;
mod rules;
mod step;
#[cfg(test)]
mod tests;
mod timing;
mod view;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) use http::{either, soon, tell, wants_events};
pub use record::{Lease, Record};
pub use rules::{Rules, Scripts, TakeOver, Term};
pub use step::{Action, Answer, Candidate, Event, Hold, Other, Phase, Place, Sight, State, Watch};
pub use timing::{Profile, Timing};
pub use view::{Held, View};

use campaign::Campaign;
use metrics::Metrics;
use mirror::Mirror;

use crate::clock::Boot;
use crate::config;
use crate::redis::Redis;

/// A term is a time of Redis': one that is further ahead than this is an error of somebody's.
const AHEAD: Duration = Duration::from_secs(24 * 60 * 60);

/// A cheap handle: who leads, and whether this pod may act.
#[derive(Debug, Clone)]
pub struct Leader(Arc<Shared>);

/// What the campaign tells, and is told.
#[derive(Debug)]
struct Shared {
    view: watch::Sender<View>,
    /// Redis TIME, and when it was read.
    clock: Mutex<Option<(i64, Boot)>>,
    heard: AtomicU64,
    rules: Rules,
}

impl Leader {
    /// The caller runs the future, which ends after `stop`, when the lease is given away.
    pub(crate) fn new(
        redis: Redis,
        settings: &config::Coordination,
        pod: &str,
        rules: Rules,
        registry: &mut Registry,
        stop: CancellationToken,
    ) -> (Leader, impl Future<Output = ()> + Send + use<>) {
        let metrics = Metrics::new(registry);
        let leader = Leader::nobody(rules.clone());
        let candidate = Candidate { id: pod.to_owned(), seed: seed(), timing: settings.timing(), rules };
        let (key, telling) = (settings.keys().lease, leader.clone());
        let campaign = Campaign::new(redis.clone(), key, candidate, telling, metrics.clone(), stop.clone());
        let mirror = Mirror::new(redis, leader.clone(), settings, pod, metrics);
        let work = async move {
            let stop = stop.child_token();
            tokio::join!(mirror.run(stop.clone()), async {
                campaign.on_a_thread().await;
                stop.cancel();
            });
        };
        (leader, work)
    }

    /// Before anything is known.
    fn nobody(rules: Rules) -> Leader {
        let (view, clock, heard) = (watch::Sender::default(), Mutex::default(), AtomicU64::new(0));
        Leader(Arc::new(Shared { view, clock, heard, rules }))
    }

    /// As it is known now.
    pub fn view(&self) -> View {
        self.0.view.borrow().clone()
    }

    /// Wakes whoever waits when another leads, or nobody does.
    pub fn changes(&self) -> watch::Receiver<View> {
        self.0.view.subscribe()
    }

    /// Asked before each act of a leader. It may be over a moment later: only whoever is told the term can know.
    pub fn held(&self, now: Boot) -> Option<Held> {
        let view = self.0.view.borrow();
        view.held.clone().filter(|held| held.until > now || !self.0.rules.validity_checked)
    }

    /// What somebody of this fleet has proven to know. Terms to come are above it.
    pub fn seen(&self, term: u64) {
        let clock = *self.clock();
        let Some((time_us, at)) = clock else { return };
        let limit = i128::from(time_us) + (Boot::now().since(at) + AHEAD).as_micros() as i128;
        if i128::from(term) <= limit {
            self.0.heard.fetch_max(term, Ordering::Relaxed);
        }
    }

    fn heard(&self) -> u64 {
        self.0.heard.load(Ordering::Relaxed)
    }

    fn clock(&self) -> std::sync::MutexGuard<'_, Option<(i64, Boot)>> {
        self.0.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever waits is woken when there is something new to be told, not when a lease goes on.
    fn publish(&self, view: View) {
        self.0.view.send_if_modified(|known| {
            let news = !known.tells_the_same(&view);
            *known = view;
            news
        });
    }
}

/// Of this process alone. Without any randomness there is no safe name, and it is better not to start.
fn seed() -> String {
    let mut bytes = [0; 12];
    getrandom::fill(&mut bytes).expect("the system has random numbers: sessions' ids need them too");
    bytes.iter().fold(String::new(), |seed, byte| format!("{seed}{byte:02x}"))
}
