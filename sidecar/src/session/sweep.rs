//! What nobody cleans up in passing, now and then: members of indexes whose sessions are gone. Sessions that others
//! wrote are never touched; those that never expire are counted, and told.

use std::time::Duration;

use futures::{StreamExt, stream};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use redis::Script;

use super::batch::AT_ONCE;
use super::count::jittered;
use super::index::Tie;
use super::owned::PAGE;
use super::scan::Scan;
use super::{Error, SessionId, Sessions, index, user};
use crate::key::{self, UserKeys};
use crate::redis::Redis;

/// Of one index in one sweep: the next takes the rest.
const PAGES: usize = 100;

#[derive(Debug)]
pub(super) struct Sweep {
    redis: Redis,
    turn: Script,
    life: Script,
    /// Never, if it is off.
    every: Option<Duration>,
    removed: Counter,
    endless: Gauge,
}

/// What a sweep found.
#[derive(Debug, Default)]
struct Found {
    removed: u64,
    endless: u64,
}

impl Sweep {
    pub(super) fn new(redis: Redis, every: Option<Duration>, registry: &mut Registry) -> Sweep {
        let sweep = Sweep {
            redis,
            turn: Script::new(include_str!("sweep_turn.lua")),
            life: Script::new(include_str!("sweep_life.lua")),
            every,
            removed: Counter::default(),
            endless: Gauge::default(),
        };
        let (removed, endless) = (sweep.removed.clone(), sweep.endless.clone());
        registry.register(
            "sessions_swept",
            "Members of users' indexes removed by this pod's sweeps",
            removed,
        );
        registry.register(
            "sessions_endless",
            "Sessions without an expiry, written by others, by this pod's last sweep",
            endless,
        );
        sweep
    }

    async fn is_ours(&self, every: Duration) -> Result<bool, Error> {
        let deadline = self.redis.deadline_us(key::SWEPT).await.to_string();
        // Its own next turn shall not come too early.
        let time = (every.as_millis() * 7 / 10).to_string();
        let args = [deadline.as_bytes(), time.as_bytes()];
        let ours: u8 = self.redis.run(&self.turn, &[key::SWEPT], &args).await.map_err(Error::read)?;
        Ok(ours == 1)
    }

    async fn is_endless(&self, session: &str) -> bool {
        let life: Result<i64, _> = self.redis.run(&self.life, &[session], &[]).await;
        life == Ok(-1)
    }
}

impl Sessions {
    pub(super) async fn sweep_now_and_then(&self) {
        let sweep = &self.0.sweep;
        let Some(every) = sweep.every else { return std::future::pending().await };
        let mut rest = every / 20;
        loop {
            tokio::time::sleep(jittered(rest)).await;
            rest = every;
            let swept =
                async { if sweep.is_ours(every).await? { self.sweep().await.map(Some) } else { Ok(None) } };
            match swept.await {
                Ok(None) => {}
                Ok(Some(Found { removed, endless })) => {
                    sweep.endless.set(i64::try_from(endless).unwrap_or(i64::MAX));
                    tracing::info!(removed, endless, "swept the indexes of sessions");
                    if endless > 0 {
                        tracing::warn!(
                            endless,
                            "sessions without an expiry, written by others, will stay for ever: give them one with EXPIRE"
                        );
                    }
                }
                Err(error) => tracing::warn!(%error, "a sweep did not come to its end; the next one goes on"),
            }
        }
    }

    async fn sweep(&self) -> Result<Found, Error> {
        let mut found = Found::default();
        let mut scan = Scan::new(&self.0.sweep.redis, key::ALL_INDEXES)?;
        while let Some(keys) = scan.next().await? {
            for keys in keys.iter().filter_map(|key| UserKeys::of_index(key)) {
                found.removed += self.sweep_index(&keys).await?;
            }
        }
        let mut scan = Scan::new(&self.0.sweep.redis, key::ALL_SESSIONS)?;
        while let Some(keys) = scan.next().await? {
            let lives = stream::iter(keys).map(async |key| self.0.sweep.is_endless(&key).await);
            let endless = lives.buffer_unordered(AT_ONCE).filter(|endless| std::future::ready(*endless));
            found.endless += endless.count().await as u64;
        }
        Ok(found)
    }

    /// How many members were removed.
    async fn sweep_index(&self, keys: &UserKeys) -> Result<u64, Error> {
        let mut removed = 0;
        for _ in 0..PAGES {
            let due = self.0.users.index.due(keys, PAGE).await?;
            let last = due.len() < PAGE;
            let kept = stream::iter(due).map(async |place| self.renewed(keys, place.id).await);
            let mut kept = kept.buffer_unordered(AT_ONCE);
            while let Some(kept) = kept.next().await {
                if !kept? {
                    self.0.sweep.removed.inc();
                    removed += 1;
                }
            }
            if last {
                break;
            }
        }
        Ok(removed)
    }

    /// Whether a member whose life should be over stays: then the index learns how long it really lives.
    async fn renewed(&self, keys: &UserKeys, id: String) -> Result<bool, Error> {
        if let Ok(id) = SessionId::parse(&id)
            && let Some(stored) = self.0.store.read(&id).await?
            && user::of(&stored.text).is_some_and(|user| UserKeys::new(&user) == *keys)
        {
            let left_ms = u64::try_from(stored.left_ms).unwrap_or(self.0.store.life_ms());
            self.0.users.index.add(keys, &id, left_ms, Tie::Old).await.map_err(index::failed)?;
            return Ok(true);
        }
        self.0.users.forget(keys, &id).await;
        Ok(false)
    }
}
