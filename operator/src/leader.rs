//! One of the operator's replicas works, the others wait: a Lease says which.
//!
//! No clock is compared between machines. A candidate takes over when the Lease has not changed for its whole
//! duration on the candidate's own clock; the holder stops well before that on its own.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};

const NAME: &str = "hyperpage-operator";
/// Others may take the Lease when it has not changed for so long.
const DURATION: Duration = Duration::from_secs(15);
/// The holder gives up when its last renewal began so long ago; the rest is for what it still does.
const HOLD: Duration = Duration::from_secs(10);
const RENEW: Duration = Duration::from_secs(4);
const RETRY: Duration = Duration::from_secs(2);
const CALL: Duration = Duration::from_secs(3);

/// The Lease as just read.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    Absent,
    Present {
        holder: String,
        version: String,
        duration: Duration,
    },
    /// The API server did not answer in time.
    Unknown,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Create,
    /// Write our name into the Lease of this version.
    Write(String),
    /// Somebody else holds it, or nothing is known.
    Wait,
    /// We held it and can no longer be sure.
    Lost,
}

#[derive(Clone, Debug)]
pub struct State {
    identity: String,
    /// When the write began that last made us the holder.
    held_since: Option<Instant>,
    /// Version last seen under another's name, and when we first saw it.
    other: Option<(String, Instant)>,
}

impl State {
    pub fn new(identity: String) -> Self {
        Self { identity, held_since: None, other: None }
    }

    pub fn step(&mut self, observation: &Observation, now: Instant) -> Step {
        if let Some(since) = self.held_since {
            return self.keep(since, observation, now);
        }
        match observation {
            Observation::Unknown => Step::Wait,
            Observation::Absent => Step::Create,
            // Our own name from before a restart of the container is as good as none.
            Observation::Present { holder, version, .. } if holder.is_empty() || *holder == self.identity => {
                Step::Write(version.clone())
            }
            Observation::Present { version, duration, .. } => self.wait_out(version, *duration, now),
        }
    }

    /// The write that began then has succeeded.
    pub fn written(&mut self, began: Instant) {
        self.held_since = Some(began);
        self.other = None;
    }

    fn keep(&self, since: Instant, observation: &Observation, now: Instant) -> Step {
        if now.duration_since(since) >= HOLD {
            return Step::Lost;
        }
        match observation {
            Observation::Unknown => Step::Wait,
            Observation::Present { holder, version, .. } if *holder == self.identity => {
                Step::Write(version.clone())
            }
            Observation::Absent | Observation::Present { .. } => Step::Lost,
        }
    }

    fn wait_out(&mut self, version: &str, duration: Duration, now: Instant) -> Step {
        match &self.other {
            Some((seen, first)) if seen == version => {
                if now.duration_since(*first) >= duration {
                    return Step::Write(version.to_owned());
                }
            }
            Some(_) | None => self.other = Some((version.to_owned(), now)),
        }
        Step::Wait
    }
}

/// Takes and keeps the Lease.
pub struct Campaign {
    leases: Api<Lease>,
    state: State,
    seen: Option<Lease>,
}

impl Campaign {
    pub fn new(calls: Client, namespace: &str, identity: String) -> Self {
        Self { leases: Api::namespaced(calls, namespace), state: State::new(identity), seen: None }
    }

    /// Comes back once we hold the Lease.
    pub async fn win(&mut self) {
        while self.turn().await != Turn::Holds {
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Renews; comes back when the Lease is lost. Nothing may be written after that.
    pub async fn keep(&mut self) {
        while let Some(left) = self.left(Instant::now()) {
            let pause = match tokio::time::timeout(left, self.turn()).await {
                Ok(Turn::Holds) => RENEW,
                Ok(Turn::Waits) => RETRY,
                Ok(Turn::Lost) | Err(_) => return,
            };
            let Some(left) = self.left(Instant::now()) else { return };
            tokio::time::sleep(pause.min(left)).await;
        }
    }

    /// Lets another replica take over at once.
    pub async fn release(mut self) {
        let Some(mut lease) = self.seen.take() else { return };
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = Some(String::new());
        }
        match in_time(self.leases.replace(NAME, &PostParams::default(), &lease)).await {
            Ok(_) => tracing::info!(lease = NAME, "released the lease"),
            Err(error) => tracing::warn!(lease = NAME, error, "failed to release the lease"),
        }
    }

    fn left(&self, now: Instant) -> Option<Duration> {
        HOLD.checked_sub(now.duration_since(self.state.held_since?))
    }

    async fn turn(&mut self) -> Turn {
        let observation = self.observe().await;
        let began = Instant::now();
        let held = self.state.held_since.is_some();
        let step = self.state.step(&observation, began);
        let written = match &step {
            Step::Wait => return Turn::Waits,
            Step::Lost => return Turn::Lost,
            Step::Create => in_time(self.leases.create(&PostParams::default(), &self.lease(None))).await,
            Step::Write(_) => {
                let lease = self.lease(self.seen.as_ref());
                in_time(self.leases.replace(NAME, &PostParams::default(), &lease)).await
            }
        };
        match written {
            Ok(lease) => {
                self.seen = Some(lease);
                self.state.written(began);
                if !held {
                    tracing::info!(lease = NAME, identity = self.state.identity, "leads");
                }
                Turn::Holds
            }
            Err(error) => {
                tracing::warn!(lease = NAME, error, "failed to write the lease");
                Turn::Waits
            }
        }
    }

    async fn observe(&mut self) -> Observation {
        match in_time(self.leases.get_opt(NAME)).await {
            Ok(lease) => {
                self.seen = lease;
                self.seen.as_ref().map_or(Observation::Absent, present)
            }
            Err(error) => {
                tracing::warn!(lease = NAME, error, "failed to read the lease");
                Observation::Unknown
            }
        }
    }

    fn lease(&self, seen: Option<&Lease>) -> Lease {
        let now = MicroTime(Timestamp::now());
        let (metadata, spec) = match seen {
            Some(lease) => (lease.metadata.clone(), lease.spec.clone().unwrap_or_default()),
            None => {
                (ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() }, LeaseSpec::default())
            }
        };
        let ours = spec.holder_identity.as_deref() == Some(&self.state.identity);
        let taken = spec.lease_transitions.unwrap_or(0);
        Lease {
            metadata,
            spec: Some(LeaseSpec {
                holder_identity: Some(self.state.identity.clone()),
                lease_duration_seconds: Some(DURATION.as_secs() as i32),
                acquire_time: spec.acquire_time.filter(|_| ours).or_else(|| Some(now.clone())),
                lease_transitions: Some(if ours { taken } else { taken + 1 }),
                renew_time: Some(now),
                ..spec
            }),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Turn {
    Holds,
    Waits,
    Lost,
}

fn present(lease: &Lease) -> Observation {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    Observation::Present {
        holder: spec.holder_identity.unwrap_or_default(),
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
        duration: seconds.map_or(DURATION, Duration::from_secs),
    }
}

async fn in_time<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, String> {
    match tokio::time::timeout(CALL, call).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", CALL.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str, version: &str) -> Observation {
        Observation::Present { holder: holder.to_owned(), version: version.to_owned(), duration: DURATION }
    }

    fn write(version: &str) -> Step {
        Step::Write(version.to_owned())
    }

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    fn leader(start: Instant) -> State {
        let mut state = State::new("a".to_owned());
        state.written(start);
        state
    }

    #[test]
    fn an_absent_or_released_lease_is_taken_at_once() {
        let (mut state, now) = (State::new("a".to_owned()), Instant::now());
        assert_eq!(state.step(&Observation::Absent, now), Step::Create);
        assert_eq!(state.step(&lease("", "7"), now), write("7"));
    }

    #[test]
    fn anothers_lease_is_taken_only_after_it_stood_still_for_its_duration() {
        let (mut state, start) = (State::new("a".to_owned()), Instant::now());
        assert_eq!(state.step(&lease("b", "1"), start), Step::Wait);
        assert_eq!(state.step(&lease("b", "1"), at(start, 14)), Step::Wait);
        assert_eq!(state.step(&lease("b", "2"), at(start, 16)), Step::Wait, "it was renewed");
        assert_eq!(state.step(&lease("b", "2"), at(start, 30)), Step::Wait);
        assert_eq!(state.step(&lease("b", "2"), at(start, 31)), write("2"));
    }

    #[test]
    fn silence_of_the_server_takes_nothing() {
        let (mut state, start) = (State::new("a".to_owned()), Instant::now());
        assert_eq!(state.step(&Observation::Unknown, start), Step::Wait);
        assert_eq!(state.step(&Observation::Unknown, at(start, 60)), Step::Wait);
        assert_eq!(state.step(&lease("b", "1"), at(start, 60)), Step::Wait);
    }

    #[test]
    fn the_holder_renews_and_outlives_a_short_silence() {
        let start = Instant::now();
        let mut state = leader(start);
        assert_eq!(state.step(&lease("a", "3"), at(start, 4)), write("3"));
        assert_eq!(state.step(&Observation::Unknown, at(start, 9)), Step::Wait);
    }

    #[test]
    fn the_holder_stops_before_anybody_else_may_start() {
        let start = Instant::now();
        let mut holder = leader(start);
        let mut candidate = State::new("b".to_owned());
        assert_eq!(candidate.step(&lease("a", "3"), start), Step::Wait);
        let lost = (0..60).find(|s| holder.step(&Observation::Unknown, at(start, *s)) == Step::Lost).unwrap();
        let taken = (0..60).find(|s| candidate.step(&lease("a", "3"), at(start, *s)) == write("3")).unwrap();
        assert!(lost < taken, "lost at {lost} s, taken at {taken} s");
    }

    #[test]
    fn a_lease_under_another_name_or_gone_is_lost() {
        let start = Instant::now();
        assert_eq!(leader(start).step(&lease("b", "4"), at(start, 1)), Step::Lost);
        assert_eq!(leader(start).step(&Observation::Absent, at(start, 1)), Step::Lost);
    }
}
