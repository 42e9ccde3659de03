//! How many sessions there are. No write counts, for a session may also expire, or be written by others: one pod at a
//! time looks through the keys, and the others go by what it found.

use std::time::{Duration, Instant};

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use redis::Script;
use tokio::sync::watch;
use tokio::time::timeout;

use super::budget::Budget;
use super::scan::{Scan, Tally};
use super::{Error, random};
use crate::key;
use crate::redis::Redis;

/// A count is told for so long, and then made anew.
const MAX_AGE: Duration = Duration::from_secs(60);
/// The first of a pod comes soon, at a moment of its own.
const FIRST: Duration = Duration::from_secs(2);
/// A pod that dies while it counts keeps the others from it for so long.
const LOCK_MS: u64 = 30_000;
const KEPT_MS: u64 = 3_600_000;
/// Between two looks whether another pod has counted, and how often one looks.
const LOOK: Duration = Duration::from_millis(100);
const LOOKS: u32 = 400;
/// After a failure.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) count: u64,
    pub(super) exact: bool,
    /// When the look through the keys began.
    begun: Instant,
    /// The last who asked for a count of his own before it began.
    ticket: u64,
}

#[derive(Debug)]
pub(super) struct Count {
    redis: Redis,
    begin: Script,
    end: Script,
    latest: watch::Sender<Option<Counted>>,
    asked: watch::Sender<Asked>,
    gauge: Gauge,
}

#[derive(Debug, Clone, Copy, Default)]
struct Asked {
    all: u64,
    /// For a count that begins after the question.
    anew: u64,
}

impl Counted {
    pub(super) fn age(&self) -> Duration {
        self.begun.elapsed()
    }
}

impl Count {
    pub(super) fn new(redis: Redis, registry: &mut Registry) -> Count {
        let gauge = Gauge::default();
        registry.register(
            "sessions_active",
            "Sessions in Redis, of all pods, by the last count",
            gauge.clone(),
        );
        Count {
            redis,
            begin: Script::new(include_str!("count_begin.lua")),
            end: Script::new(include_str!("count_end.lua")),
            latest: watch::Sender::new(None),
            asked: watch::Sender::default(),
            gauge,
        }
    }

    /// Within the budget one that is young, or was begun `anew`; else the last one, however old, unless it must be new.
    pub(super) async fn get(&self, anew: bool, budget: Budget) -> Result<Counted, Error> {
        let mut latest = self.latest.subscribe();
        let known = *latest.borrow_and_update();
        if let Some(counted) = known.filter(|counted| !anew && counted.age() < MAX_AGE) {
            return Ok(counted);
        }
        let mut ticket = 0;
        self.asked.send_modify(|asked| {
            asked.all += 1;
            asked.anew += u64::from(anew);
            ticket = asked.anew;
        });
        let will_do = |counted: &Option<Counted>| {
            counted.is_some_and(
                |counted| {
                    if anew { counted.ticket >= ticket } else { counted.age() < MAX_AGE }
                },
            )
        };
        let counted = match timeout(budget.left(), latest.wait_for(will_do)).await {
            Ok(Ok(counted)) => *counted,
            Ok(Err(_)) | Err(_) => known.filter(|_| !anew),
        };
        counted.ok_or_else(|| Error::Unavailable { reason: "the sessions are not counted yet".to_owned() })
    }

    pub(super) async fn work(&self) {
        let mut asked = self.asked.subscribe();
        let (mut answered, mut rest) = (0, jittered(FIRST));
        loop {
            let _due_or_asked = timeout(rest, asked.changed()).await;
            let ticket = asked.borrow_and_update().anew;
            match self.refresh(ticket > answered).await {
                Ok(counted) => {
                    answered = ticket;
                    rest = MAX_AGE.saturating_sub(counted.age()) + jittered(FIRST);
                    self.publish(Counted { ticket, ..counted });
                }
                Err(error) => {
                    tracing::debug!(%error, "the sessions are not counted");
                    rest = AGAIN;
                    tokio::time::sleep(LOOK).await;
                }
            }
        }
    }

    fn publish(&self, counted: Counted) {
        self.gauge.set(i64::try_from(counted.count).unwrap_or(i64::MAX));
        self.latest.send_replace(Some(counted));
    }

    async fn refresh(&self, anew: bool) -> Result<Counted, Error> {
        let token = random()?.to_string();
        let max_age_ms = if anew { 0 } else { MAX_AGE.as_millis() }.to_string();
        for _ in 0..LOOKS {
            let begun = Instant::now();
            let args = [&*max_age_ms, &token, &LOCK_MS.to_string()];
            let (word, count, exact, ms): (String, u64, u8, u64) = self.run(&self.begin, &args).await?;
            match word.as_str() {
                "FRESH" => {
                    let begun = begun.checked_sub(Duration::from_millis(ms)).unwrap_or(begun);
                    return Ok(Counted { count, exact: exact == 1, begun, ticket: 0 });
                }
                "YOURS" => {
                    let found = self.scan().await;
                    let (count, exact) = found
                        .as_ref()
                        .map_or((String::new(), false), |(count, exact)| (count.to_string(), *exact));
                    let exact = if exact { "1" } else { "0" };
                    let args = [&*token, &ms.to_string(), &count, exact, &KEPT_MS.to_string()];
                    // If it does not arrive, the other pods count for themselves.
                    let _told: Result<(String, u64, u8, u64), Error> = self.run(&self.end, &args).await;
                    return found.map(|(count, exact)| Counted { count, exact, begun, ticket: 0 });
                }
                _ => tokio::time::sleep(LOOK).await,
            }
        }
        Err(Error::Unavailable { reason: "another pod counts for too long".to_owned() })
    }

    async fn scan(&self) -> Result<(u64, bool), Error> {
        let (mut scan, mut tally) = (Scan::new(&self.redis, key::ALL_SESSIONS)?, Tally::default());
        while let Some(keys) = scan.next().await? {
            keys.iter().for_each(|key| tally.add(key));
        }
        Ok(tally.total())
    }

    async fn run<T: redis::FromRedisValue>(&self, script: &Script, args: &[&str]) -> Result<T, Error> {
        let keys = key::COUNT;
        let deadline = self.redis.deadline_us(keys[0]).await.to_string();
        let args: Vec<&[u8]> =
            std::iter::once(&*deadline).chain(args.iter().copied()).map(str::as_bytes).collect();
        self.redis.run(script, &keys, &args).await.map_err(Error::read)
    }
}

/// Pods that start together do not ask together.
pub(super) fn jittered(time: Duration) -> Duration {
    let random = getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX));
    time.mul_f64(0.8 + 0.2 * random)
}
