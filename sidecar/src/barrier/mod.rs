//! When a message is applied everywhere: each pod says what its app has applied, and whoever asks waits until all that
//! were there have, or have been silent for so long that they serve nothing it was about.

mod consumers;
mod http;
mod verdict;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use consumers::Consumers;
pub(crate) use http::{Waiting, acknowledged, publish, router};
pub(crate) use verdict::Laggard;
use verdict::laggards;

use crate::bus::{Bus, Position, Told};
use crate::clock::Boot;
use crate::pods::{Pods, Seen, View};

/// Streams that are gone cease to count at some time, and nobody says when.
const LOOK: Duration = Duration::from_millis(250);
/// Messages that come together are looked at together, if nobody waits.
const TOGETHER: Duration = Duration::from_millis(100);
/// Between two readings of who has applied what.
const READ: Duration = Duration::from_millis(10);

/// A cheap handle.
#[derive(Debug, Clone)]
pub struct Barrier(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bus: Bus,
    pods: Pods,
    state: Mutex<State>,
    changed: Notify,
    applied: watch::Sender<Option<Position>>,
}

#[derive(Debug, Default)]
struct State {
    consumers: Consumers,
    /// Somebody waits for this.
    wanted: Option<Position>,
}

/// A stream of the app that says what it has applied, until it is dropped.
#[derive(Debug)]
pub struct Stream {
    barrier: Barrier,
    pub id: u64,
}

impl Barrier {
    /// `applied` tells the row of this pod what it has applied. The caller runs the future, which ends after `stop`.
    pub fn new(
        bus: Bus,
        pods: Pods,
        applied: watch::Sender<Option<Position>>,
        stop: CancellationToken,
    ) -> (Barrier, impl Future<Output = ()> + Send + use<>) {
        let shared = Shared { bus, pods, state: Mutex::default(), changed: Notify::new(), applied };
        let barrier = Barrier(Arc::new(shared));
        let told = Arc::downgrade(&barrier.0);
        barrier.0.bus.observe(move |what| {
            if let Some(shared) = told.upgrade() {
                Barrier(shared).tells(what);
            }
        });
        (barrier.clone(), async move {
            stop.run_until_cancelled(barrier.run()).await;
        })
    }

    async fn run(&self) {
        let mut delivered = self.0.bus.applied();
        loop {
            self.tell();
            let news = async {
                tokio::select! {
                    _ = delivered.changed() => if self.state().wanted.is_none() {
                        drop(timeout(TOGETHER, self.0.changed.notified()).await);
                    },
                    () = self.0.changed.notified() => (),
                }
            };
            let _changed = timeout(LOOK, news).await;
        }
    }

    /// Before the app is told.
    fn tells(&self, told: &Told<'_>) {
        match told {
            Told::Message(delivered) => {
                let mut state = self.state();
                let target = delivered.letter.target.as_ref();
                if target.is_none_or(|target| *target == self.0.bus.me().pod) {
                    state.consumers.tells(delivered.at);
                }
                if delivered.letter.ack {
                    state.wanted = Some(delivered.at);
                    self.0.changed.notify_one();
                }
            }
            Told::Gap { from: _, to } | Told::Resync { to } => self.state().consumers.tells(*to),
            Told::Foreign(_) => {}
        }
    }

    /// A stream that begins with what comes after `at`.
    pub fn join(&self, at: Position) -> Stream {
        Stream { barrier: self.clone(), id: self.state().consumers.join(at) }
    }

    /// The app has applied all up to this that came by its stream. False: there is no such stream.
    pub fn applied(&self, stream: u64, at: Position) -> bool {
        let known = self.state().consumers.applied_by(stream, at);
        self.0.changed.notify_one();
        known
    }

    /// Those of `listed` that have not applied a message when `within` is over.
    pub(crate) async fn wait(
        &self,
        at: Position,
        listed: &BTreeMap<String, Seen>,
        within: Duration,
    ) -> Vec<Laggard> {
        let published = Boot::now();
        // What was known at the publication is all there is, as long as nothing is read.
        let mut view = View::default();
        loop {
            let left = within.saturating_sub(Boot::now().since(published));
            if let Ok(Ok(read)) = timeout(left, self.0.pods.read()).await {
                view = read;
            }
            let passed = Boot::now().since(published);
            let behind = laggards(at, listed, &view, passed);
            if behind.is_empty() || passed >= within {
                return behind;
            }
            tokio::time::sleep(READ).await;
        }
    }

    fn tell(&self) {
        let mut state = self.state();
        let State { consumers, wanted } = &mut *state;
        let applied = self.0.bus.cursor().map(|delivered| consumers.applied(delivered, Boot::now()));
        let at_once = wanted.take_if(|wanted| applied >= Some(*wanted)).is_some();
        drop(state);
        self.0.applied.send_if_modified(|told| std::mem::replace(told, applied) != applied);
        if at_once {
            self.0.pods.beat_at_once();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    /// Until when the app may serve what messages can take away: to be told to it, and kept to.
    pub fn lease(&self) -> Option<Boot> {
        let until = self.barrier.0.pods.serves_until()?;
        self.barrier.state().consumers.lets_serve(self.id, until);
        Some(until)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.barrier.state().consumers.leave(self.id);
        self.barrier.0.changed.notify_one();
    }
}
