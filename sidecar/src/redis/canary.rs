//! Proves that changes are heard of: a key that a link has read is written on another connection, and the link must
//! hear of it in time. A proxy may answer PING itself, and a server may know of no tracking. Where there are replicas,
//! the same connection shows that no other master has taken over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::RedisResult;
use tokio::time::timeout;

use super::dial::{self, Connection, Place};
use super::epoch::Epoch;
use super::error::words;
use super::link::{Link, Tracked};
use super::metrics::Share;
use super::target::Source;
use super::tracking::Heard;
use super::wires::Wires;

const EVERY: Duration = Duration::from_secs(5);
/// Whoever did not hear it may only have been busy.
const AGAIN: Duration = Duration::from_secs(1);
/// A change that is not heard of by then is not heard of.
const IN_TIME: Duration = Duration::from_millis(250);
const CONFIRM_EVERY: Duration = Duration::from_millis(250);
/// Longer than the time between two canaries; if the process is gone, the key goes too.
const LIFE_MS: u64 = 60_000;
/// Allowed out of memory: copies are worth most then.
const WRITE: &str = "#!lua flags=allow-oom\nreturn redis.call('SET', KEYS[1], '', 'PX', ARGV[1])";

pub(super) struct Canary {
    link: Link,
    source: Arc<Source>,
    place: Place,
    wires: Wires,
    heard: Arc<Heard>,
    /// Replicas that confirm that nobody else is the master; none where there are none.
    replicas: u32,
    coherent: Share,
    /// What was written on it has been heard of: it leads where the link does.
    other: Option<Connection>,
}

impl Canary {
    pub(super) fn new(
        link: Link,
        source: Arc<Source>,
        place: Place,
        wires: Wires,
        heard: Arc<Heard>,
    ) -> Canary {
        let (coherent, replicas) = (Share::of(&wires.metrics.coherent), source.replicas());
        Canary { link, source, place, wires, heard, replicas, coherent, other: None }
    }

    /// Ends when nobody keeps the connection any more.
    pub(super) async fn run(mut self) {
        let mut snapshots = self.link.0.snapshot.subscribe();
        loop {
            let present = match snapshots.wait_for(|snapshot| snapshot.tracked().is_some()).await {
                Ok(snapshot) => snapshot.tracked(),
                Err(_) => return,
            };
            let Some(tracked) = present else { continue };
            let mut later = snapshots.clone();
            let gone = later.wait_for(|snapshot| !snapshot.tracked().is_some_and(|now| now.is(&tracked)));
            tokio::select! {
                _ = gone => {}
                () = self.sing(&tracked) => {}
            }
            if tracked.epoch.is_proven() {
                self.wires.metrics.leases_lost.inc();
                tracked.epoch.prove(false);
            }
            self.coherent.set(false);
        }
    }

    async fn sing(&mut self, tracked: &Tracked) {
        let mut due = Instant::now();
        loop {
            if Instant::now() >= due {
                let heard = self.once(tracked).await;
                due = Instant::now() + if heard.is_ok() { EVERY } else { AGAIN };
                self.conclude(&tracked.epoch, heard);
            }
            if self.replicas == 0 {
                tokio::time::sleep_until(due.into()).await;
            } else {
                if let Err(reason) = self.confirm(tracked).await {
                    tracing::debug!(reason, "no replica confirms");
                    // Another connection may lead to another master, whose replicas say nothing of this one.
                    due = due.min(Instant::now() + AGAIN);
                }
                tokio::time::sleep(CONFIRM_EVERY).await;
            }
        }
    }

    /// Reads the canary's key on the link, writes it elsewhere, and listens.
    async fn once(&mut self, tracked: &Tracked) -> Result<(), String> {
        let key = self.heard.key(tracked.tag);
        let mut connection = tracked.connection.clone();
        let get = redis::cmd("GET").arg(&key).to_owned();
        in_time("GET", get.query_async::<Option<String>>(&mut connection)).await?;
        let mut other = self.other().await?;
        let count = self.heard.count();
        let write = self.write(&key);
        in_time("the canary's write", write.query_async::<()>(&mut other)).await?;
        let heard = timeout(IN_TIME, self.heard.more_than(count)).await;
        heard.map_err(|_| format!("a change was not heard of within {} ms", IN_TIME.as_millis()))?;
        self.other = Some(other);
        Ok(())
    }

    /// Only a master that replicas still follow gets this confirmed.
    async fn confirm(&mut self, tracked: &Tracked) -> Result<(), String> {
        let mut other = self.other.take().ok_or("the link has not heard of a write on another connection")?;
        let sent = Instant::now();
        let mut pipe = redis::pipe();
        pipe.add_command(self.write(&self.heard.key(tracked.tag))).ignore();
        pipe.cmd("WAIT").arg(self.replicas).arg(IN_TIME.as_millis() as u64 / 2);
        let (confirmed,): (u32,) = in_time("WAIT", pipe.query_async(&mut other)).await?;
        if confirmed >= self.replicas {
            tracked.epoch.confirmed(sent);
        }
        self.other = Some(other);
        Ok(())
    }

    fn write(&self, key: &str) -> redis::Cmd {
        redis::cmd("EVAL").arg(WRITE).arg(1).arg(key).arg(LIFE_MS).to_owned()
    }

    /// Taken out, so that one that failed is not used again.
    async fn other(&mut self) -> Result<Connection, String> {
        match self.other.take() {
            Some(other) => Ok(other),
            None => match dial::dial(&self.source, &self.place, None).await {
                Ok(held) => Ok(held.connection),
                Err(failure) => Err(failure.reason),
            },
        }
    }

    fn conclude(&mut self, epoch: &Epoch, heard: Result<(), String>) {
        let proven = heard.is_ok();
        if !proven {
            self.wires.metrics.canary_failures.inc();
        }
        if epoch.is_proven() && !proven {
            self.wires.metrics.leases_lost.inc();
        }
        epoch.prove(proven);
        self.coherent.set(proven);
        self.link.incoherent(heard.err());
    }
}

async fn in_time<T>(what: &str, call: impl Future<Output = RedisResult<T>>) -> Result<T, String> {
    match timeout(IN_TIME, call).await {
        Ok(answer) => answer.map_err(|error| format!("{what}: {}", words(&error))),
        Err(_) => Err(format!("{what}: no answer within {} ms", IN_TIME.as_millis())),
    }
}
