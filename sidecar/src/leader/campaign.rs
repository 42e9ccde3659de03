//! Runs for office as long as the process lives: does what `step` says, and tells it what came of it. On a thread and a
//! connection of its own, so that no amount of requests costs a renewal.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::record::{Lease, head, vacancy};
use super::step::{Action, Answer, Candidate, Event, Phase, Sight, State};
use super::view::{Held, View};
use super::{Leader, Metrics};
use crate::clock::Boot;
use crate::redis::{Error, Own, Redis, Seen};
use crate::telemetry::Seldom;

/// However long a lease lasts, a call that takes longer is given up.
const PATIENCE: Duration = Duration::from_millis(200);
/// The lease is over by itself if it cannot be given away by then.
const RESIGN: Duration = Duration::from_millis(500);
/// A moment without Redis is no news.
const LASTING: Duration = Duration::from_secs(1);
const RENEWED: &str = "}";
const RESIGNED: &str = ",\"resigned\":true}";

pub(super) struct Campaign {
    redis: Redis,
    /// The lease.
    key: String,
    candidate: Candidate,
    leader: Leader,
    metrics: Metrics,
    stop: CancellationToken,
    /// Taken out for each call, so that one that failed is not used again.
    own: Option<Own>,
    /// What does not work, and since when.
    trouble: Option<(&'static str, Instant)>,
    warned: Seldom,
}

type Raw = (u8, Option<Vec<u8>>, i64);

impl Campaign {
    pub(super) fn new(
        redis: Redis,
        key: String,
        candidate: Candidate,
        leader: Leader,
        metrics: Metrics,
        stop: CancellationToken,
    ) -> Campaign {
        Campaign {
            redis,
            key,
            candidate,
            leader,
            metrics,
            stop,
            own: None,
            trouble: None,
            warned: Seldom::default(),
        }
    }

    /// Ends after `stop`, or by a panic, which is a defect.
    pub(super) async fn on_a_thread(self) {
        let (ended, end) = oneshot::channel();
        let spawned = std::thread::Builder::new().name("leader".to_owned()).spawn(move || {
            let _tells_at_the_end = ended;
            let mut builder = tokio::runtime::Builder::new_current_thread();
            match builder.max_blocking_threads(1).enable_all().build() {
                Ok(runtime) => {
                    // As a task: whatever wakes what is blocked on writes to an eventfd, twice for each call here.
                    let _panicked: Result<(), _> = runtime.block_on(runtime.spawn(self.run()));
                    // A name that is still being looked up is not waited for.
                    runtime.shutdown_background();
                }
                Err(error) => tracing::error!(%error, "no leader can be elected here"),
            }
        });
        let _dropped: Result<(), _> = end.await;
        match spawned {
            Ok(thread) => drop(thread.join()),
            Err(error) => tracing::error!(%error, "no thread for the election"),
        }
    }

    async fn run(mut self) {
        let mut state = State::default();
        let mut event = Event::Due;
        loop {
            let (next, action) = self.candidate.step(state, event, Boot::now());
            state = next;
            self.tell(&state);
            event = match action {
                Action::Wait(until) => self.wait(until).await,
                Action::Leave(until) => {
                    self.own = None;
                    self.wait(until).await
                }
                Action::End => return,
                Action::Resign(record) => {
                    let resigned = timeout(RESIGN, self.keep(&record.claim(), RESIGNED)).await;
                    let resigned = resigned.unwrap_or_else(|_| Err(not_in_time()));
                    self.heard_of(resigned.map(Event::Answered), "the lease could not be given away")
                }
                Action::Look => {
                    let looked = self.look().await;
                    self.heard_of(looked.map(Event::Saw), "the lease cannot be seen")
                }
                Action::Keep(record) => {
                    let kept = self.keep(&record.claim(), RENEWED).await;
                    if !kept.as_ref().is_ok_and(|answer| answer.done && answer.confirmed) {
                        self.metrics.renewals_failed.inc();
                    }
                    self.heard_of(kept.map(Event::Answered), "the lease could not be renewed")
                }
                Action::Plant { nonce } => {
                    let planted = self.plant(&nonce).await;
                    self.heard_of(planted.map(Event::Answered), "the lease could not be made")
                }
                Action::Take { expected, nonce, least } => {
                    let taken = self.take(expected, &nonce, least).await;
                    self.heard_of(taken.map(Event::Answered), "the lease could not be taken")
                }
            };
        }
    }

    async fn wait(&self, until: Boot) -> Event {
        let left = until.since(Boot::now());
        match self.stop.run_until_cancelled(sleep(left)).await {
            Some(()) => Event::Due,
            None => Event::Stop,
        }
    }

    /// The log is told when it lasts.
    fn heard_of(&mut self, event: Result<Event, Error>, what: &'static str) -> Event {
        let known = self.trouble.filter(|(known, _)| *known == what);
        match event {
            Ok(event) => {
                if known.is_some() {
                    self.trouble = None;
                }
                event
            }
            Err(error) => {
                let (_, since) = known.unwrap_or((what, Instant::now()));
                self.trouble = Some((what, since));
                let lasts = since.elapsed() >= LASTING;
                if lasts && self.warned.is_due() {
                    tracing::warn!(%error, "{what}");
                } else {
                    tracing::debug!(%error, "{what}");
                }
                Event::Failed
            }
        }
    }

    fn tell(&self, state: &State) {
        let now = Boot::now();
        let view = View::of(&self.candidate, state, now);
        let before = self.leader.view().held;
        let id = &self.candidate.id;
        let lost = before.as_ref().filter(|before| !view.holds(before.term));
        if let Some(Held { term, .. }) = lost {
            let why = if let Phase::Resigning { .. } = state.phase { "resigned" } else { "lost its lease" };
            tracing::info!("Pod {id} is leader no longer (term {term}): {why}");
        }
        let won =
            view.held.as_ref().filter(|held| before.as_ref().is_none_or(|before| before.term != held.term));
        if let Some(Held { term, .. }) = won {
            self.metrics.elections.inc();
            tracing::info!("Pod {id} became leader (term {term})");
        }
        if let Some(held) = view.held.as_ref().filter(|held| before.as_ref() != Some(held)) {
            let Held { term, nonce, until } = held;
            let (now_us, until_us) = (now.micros(), until.micros());
            let from_us = until_us.saturating_sub(self.candidate.timing.ttl.as_micros() as u64);
            tracing::debug!(term, nonce, from_us, until_us, now_us, "may act");
        }
        self.metrics.is_leader.set(i64::from(view.is_self()));
        self.metrics.term.set(i64::try_from(state.highest).unwrap_or(i64::MAX));
        self.leader.publish(view);
    }

    async fn own(&mut self) -> Result<Own, Error> {
        match self.own.take() {
            Some(own) => Ok(own),
            None => self.redis.own(&self.key).await,
        }
    }

    async fn look(&mut self) -> Result<Sight, Error> {
        let mut own = self.own().await?;
        let Seen { master, incarnation, value, time_us } = own.look(self.patience()).await?;
        self.clock(time_us);
        let connection = own.id();
        self.own = Some(own);
        let (lease, heard) = (value.map(Lease::of), self.leader.heard());
        Ok(Sight { connection, incarnation: incarnation.filter(|_| master), lease, time_us, heard })
    }

    async fn plant(&mut self, nonce: &str) -> Result<Answer, Error> {
        let script = self.candidate.rules.scripts.plant.clone();
        self.ask(&script, &[vacancy(nonce).as_bytes()]).await
    }

    async fn take(&mut self, expected: Lease, nonce: &str, least: u64) -> Result<Answer, Error> {
        let (head, least) = (head(nonce, &self.candidate.id), least.to_string());
        let script = self.candidate.rules.scripts.take.clone();
        self.ask(&script, &[&expected.bytes, head.as_bytes(), least.as_bytes()]).await
    }

    async fn keep(&mut self, claim: &str, ending: &str) -> Result<Answer, Error> {
        let script = self.candidate.rules.scripts.keep.clone();
        self.ask(&script, &[claim.as_bytes(), ending.as_bytes()]).await
    }

    async fn ask(&mut self, script: &str, args: &[&[u8]]) -> Result<Answer, Error> {
        if self.own.as_ref().is_none_or(|own| own.now_us().is_none()) {
            self.look().await?;
        }
        let mut own = self.own().await?;
        let sent = Boot::now();
        let (answer, confirmed): (Raw, bool) =
            own.run(script, args, self.redis.replicas(), self.patience()).await?;
        let (done, lease, time_us) = answer;
        self.clock(time_us);
        self.own = Some(own);
        let (lease, heard) = (lease.map(Lease::of), self.leader.heard());
        Ok(Answer { done: done == 1, confirmed, lease, sent, time_us, heard })
    }

    fn clock(&self, time_us: i64) {
        *self.leader.clock() = Some((time_us, Boot::now()));
    }

    /// A call that hangs leaves time for another.
    fn patience(&self) -> Duration {
        PATIENCE.min(self.candidate.timing.ttl / 3)
    }
}

fn not_in_time() -> Error {
    Error::Unknown { reason: "no answer in time".to_owned() }
}
