//! What the sessions do when nobody asks: they watch whether Redis answers, and when it is back they bring to it what
//! it has lost and what it has yet to hear of, slowly, because every other sidecar does so at the same time.

use std::time::{Duration, Instant};

use tokio::time::{Interval, MissedTickBehavior, interval, sleep, sleep_until};

use super::budget::Budget;
use super::reseed::HELD;
use super::{Error, SessionId, Sessions, random};

const LOOK: Duration = Duration::from_millis(100);
/// Between two sessions: not more than 500 a second.
const PACE: Duration = Duration::from_millis(2);
/// A hundred sidecars begin within this.
const START: Duration = Duration::from_millis(500);
/// After the last request and before the connection goes: so long without a change that has reached Redis.
const STALLED: Duration = Duration::from_secs(2);
/// However well it goes: of the 30 s that Kubernetes gives a pod, its app may have taken most.
const LAST: Duration = Duration::from_secs(10);

impl Sessions {
    pub(super) async fn tend(&self) {
        tokio::join!(self.watch(), self.recover());
    }

    async fn watch(&self) {
        let mut changes = self.0.redis.changes();
        let mut away_since = None;
        let mut looks = looks();
        loop {
            let now = Instant::now();
            let connected = self.0.redis.status().connected;
            if let Some(since) = away_since.filter(|_| connected) {
                self.0.away.was_lost(since);
            }
            away_since = (!connected).then(|| away_since.unwrap_or(now));
            self.0.away.look(away_since, now);
            if connected {
                self.0.away.ring.prune(now, |id| self.incarnation(id));
            }
            tokio::select! {
                _ = looks.tick() => {}
                _ = changes.changed() => {}
            }
        }
    }

    async fn recover(&self) {
        let mut losses = 0;
        let mut unrepaired = false;
        let mut waited = false;
        let mut looks = looks();
        loop {
            looks.tick().await;
            let seen = self.0.redis.changes().borrow().losses;
            if std::mem::replace(&mut losses, seen) != seen {
                unrepaired = true;
                self.sow(Instant::now());
            }
            if unrepaired {
                unrepaired = self.repair_all().await;
            }
            self.reseed_all().await;
            let ready = self.ready();
            if ready.is_empty() {
                waited = false;
                continue;
            }
            if !std::mem::replace(&mut waited, true) {
                sleep(jittered(START)).await;
            }
            self.replay_all(&ready).await;
        }
    }

    /// Whether anything is left.
    async fn repair_all(&self) -> bool {
        let ids = self.0.away.ring.all_unrepaired(|id| self.incarnation(id));
        let mut pace = Pace::new(PACE);
        for id in &ids {
            pace.wait().await;
            told(self.repaired(id, Budget::begin()).await, "repair");
        }
        !ids.is_empty()
    }

    /// What was certain to be current when Redis was lost may be all that is left of it.
    fn sow(&self, now: Instant) {
        if self.0.redis.is_cluster() {
            return;
        }
        let lost = self.0.away.lost(now);
        let seeds = self.0.l1.known_since(lost.checked_sub(HELD).unwrap_or(lost), now);
        self.0.away.metrics.reseed.inc_by(self.0.away.seeds.keep(seeds) as u64);
    }

    async fn reseed_all(&self) {
        let mut pace = Pace::new(PACE / 2);
        for id in self.0.away.seeds.ids() {
            pace.wait().await;
            told(self.reseeded(&id).await, "re-seed");
        }
    }

    /// The sessions with changes in the journal, the longest waiting first. A node of a cluster may be away while the
    /// others answer.
    fn ready(&self) -> Vec<SessionId> {
        let mut ids = self.0.away.journal.sessions();
        ids.retain(|id| self.down_since(id).is_none());
        ids
    }

    /// After what was lost of them: a write to the new incarnation ends what is known of the one before.
    async fn replay_all(&self, ids: &[SessionId]) {
        let mut pace = Pace::new(PACE);
        for id in ids {
            pace.wait().await;
            told(self.caught_up(id, Budget::begin()).await, "replay");
        }
    }

    /// Redis may be back any moment; what it cannot be told until then is lost, and that is said.
    pub(super) async fn take_leave(&self) {
        let journal = &self.0.away.journal;
        let last = async {
            while !journal.is_empty() {
                for id in &self.ready() {
                    // Nobody is there to repair it later; what waits is told in any case.
                    told(self.repaired(id, Budget::begin()).await, "repair");
                    told(self.replayed(id, Budget::begin()).await, "replay");
                }
                sleep(LOOK / 10).await;
            }
        };
        tokio::select! {
            () = last => {}
            () = self.stalled() => {}
        }
        let changes = journal.depth(Instant::now()).entries;
        if changes > 0 {
            tracing::warn!(changes, "stopping while Redis is away: journaled changes are lost");
        }
    }

    /// Ends when nothing of the journal reaches Redis any more, or the time is over.
    async fn stalled(&self) {
        let (start, mut since, mut least) = (Instant::now(), Instant::now(), usize::MAX);
        while since.elapsed() < STALLED && start.elapsed() < LAST {
            let waiting = self.0.away.journal.depth(Instant::now()).entries;
            if waiting < least {
                (since, least) = (Instant::now(), waiting);
            }
            sleep(LOOK).await;
        }
    }
}

/// It is tried again, and what hinders it is told by the connection.
fn told(result: Result<(), Error>, what: &str) {
    if let Err(error) = result {
        tracing::debug!(%error, "a {what} has to wait");
    }
}

/// Those that begin together stay together: a pod at rest is woken once for all.
fn looks() -> Interval {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    looks
}

fn jittered(longest: Duration) -> Duration {
    longest.mul_f64(f64::from(random().map_or(0, |random| random as u8)) / 255.0)
}

/// Not more often than so.
struct Pace {
    next: tokio::time::Instant,
    gap: Duration,
}

impl Pace {
    fn new(gap: Duration) -> Pace {
        Pace { next: tokio::time::Instant::now(), gap }
    }

    async fn wait(&mut self) {
        sleep_until(self.next).await;
        self.next = tokio::time::Instant::now() + self.gap;
    }
}
