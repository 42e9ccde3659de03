//! A cluster: a link to each primary and a map from slots to links.
//!
//! The `redis` crate's own cluster client sends a command again when its connection broke, which may execute it twice;
//! and one hung node delays calls to the others. A link for each node has the same rules as a single Redis.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures::future::join_all;
use redis::{ErrorKind, Pipeline, ServerErrorKind};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::dial::{self, Address, Place};
use super::error::Error;
use super::link::{ATTEMPT, Answer, Ask, Failed, Link, Snapshot};
use super::slots::{self, Range};
use super::target::{Destination, Source, Target};
use super::wires::Wires;

const REFRESH: Duration = Duration::from_secs(1);
/// However many calls were sent astray.
const REFRESH_AT_MOST: Duration = Duration::from_millis(50);
/// Nodes asked at once for the map.
const ASKED: usize = 3;
const REDIRECTS: usize = 3;
/// So far may the clock of the node that a call is redirected to be behind.
const APART: Duration = Duration::from_millis(100);

#[derive(Debug, Clone)]
pub(super) struct Cluster(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    map: RwLock<Arc<Map>>,
    astray: Notify,
}

#[derive(Debug, Clone, Default)]
struct Map {
    ranges: Vec<Range>,
    links: HashMap<Address, Link>,
    /// Some map has been read.
    ever: bool,
}

impl Cluster {
    pub(super) fn new(
        source: Arc<Source>,
        wires: Wires,
        stop: CancellationToken,
    ) -> (Cluster, impl Future<Output = ()> + Send + 'static) {
        let cluster = Cluster(Arc::default());
        let keeper = Keeper {
            cluster: cluster.clone(),
            source,
            wires,
            stop: stop.clone(),
            tasks: JoinSet::new(),
            guards: HashMap::new(),
            destination: None,
            turn: 0,
        };
        (cluster, keeper.run(stop))
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let map = self.map();
        let snapshots: Vec<Snapshot> = map.links.values().map(Link::snapshot).collect();
        let up = snapshots.iter().filter(|snapshot| snapshot.connection.is_some()).count();
        let all = up == snapshots.len() && slots::whole(&map.ranges);
        let first = snapshots.iter().find(|snapshot| snapshot.connection.is_none());
        let reason = match first {
            _ if !map.ever => "no node of the cluster answers".to_owned(),
            Some(absent) => format!("{up} of {} nodes connected: {}", snapshots.len(), absent.reason),
            None => "the cluster does not cover all slots".to_owned(),
        };
        Snapshot {
            connection: snapshots.iter().find_map(|snapshot| snapshot.connection.clone()).filter(|_| all),
            enrolled: None,
            epoch: None,
            incoherent: snapshots.iter().find_map(|snapshot| snapshot.incoherent.clone()),
            old: snapshots.iter().any(|snapshot| snapshot.old),
            evicting: snapshots.iter().any(|snapshot| snapshot.evicting),
            reason,
            ever: snapshots.iter().any(|snapshot| snapshot.ever),
            lost: None,
            since: None,
            warning: snapshots.into_iter().find_map(|snapshot| snapshot.warning),
        }
    }

    /// The links to all nodes, if they own all slots.
    pub(super) fn all(&self) -> Option<Vec<Link>> {
        let map = self.map();
        slots::whole(&map.ranges).then(|| map.links.values().cloned().collect())
    }

    /// The link to the node that owns the key. Each node has a clock of its own, hours apart perhaps.
    pub(super) fn owner(&self, key: &str) -> Option<Link> {
        let map = self.map();
        owned(&map.ranges, &map.links, key).cloned()
    }

    pub(super) async fn evaluate(&self, key: &str, mut ask: Ask<'_>, end: Instant) -> Result<Answer, Failed> {
        let unowned =
            || Error::unavailable("Redis not connected: no node of the cluster owns the key's slot");
        let mut failed = Failed::from(unowned());
        let mut next = slots::owner(&self.map().ranges, slots::slot(key)).cloned();
        for _ in 0..REDIRECTS {
            let Some(node) = next else { break };
            let Some(link) = self.map().links.get(&node).cloned() else { break };
            failed = match link.evaluate(&ask, end).await {
                Ok(value) => return Ok(value),
                Err(failed) => failed,
            };
            let Some((to, redirect)) = redirected(&failed, &node.0) else { break };
            let now = Instant::now();
            if !in_step(link.now_us(now), self.map().links.get(&to).and_then(|link| link.now_us(now))) {
                break;
            }
            if let Redirect::Ask = redirect {
                ask.asking = true;
            }
            next = Some(to);
        }
        if matches!(failed.error, Error::Unavailable { .. }) {
            self.0.astray.notify_one();
        }
        Err(failed)
    }

    fn map(&self) -> Arc<Map> {
        self.0.map.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_map(&self, map: Map) {
        *self.0.map.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(map);
    }
}

/// What is known of the node that owns the key.
fn owned<'a, T>(ranges: &[Range], nodes: &'a HashMap<Address, T>, key: &str) -> Option<&'a T> {
    nodes.get(slots::owner(ranges, slots::slot(key))?)
}

/// Whether a deadline by the one clock is none that comes late by the next. A call sent astray was not executed:
/// the map is read again, and whoever calls again starts with the right node.
fn in_step(asked_us: Option<i64>, next_us: Option<i64>) -> bool {
    let Some((asked, next)) = asked_us.zip(next_us) else { return false };
    i128::from(asked) - i128::from(next) <= APART.as_micros().cast_signed()
}

enum Redirect {
    Moved,
    /// For this once: the slot is on its way.
    Ask,
}

fn redirected(failed: &Failed, asked: &str) -> Option<(Address, Redirect)> {
    let error = failed.redis.as_ref()?;
    let (address, _) = error.redirect_node()?;
    let moved = error.kind() == ErrorKind::Server(ServerErrorKind::Moved);
    let redirect = if moved { Redirect::Moved } else { Redirect::Ask };
    Some((slots::redirect(address, asked)?, redirect))
}

/// Reads the map again and again, and owns the links.
struct Keeper {
    cluster: Cluster,
    source: Arc<Source>,
    wires: Wires,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    /// Dropping one ends its link.
    guards: HashMap<Address, DropGuard>,
    /// Where the URL led when its seeds were last asked.
    destination: Option<Destination>,
    turn: usize,
}

impl Keeper {
    async fn run(mut self, stop: CancellationToken) {
        match stop.run_until_cancelled(self.keep()).await {
            // The links hear of the stop by their own tokens.
            None => while self.tasks.join_next().await.is_some() {},
            Some(()) => self.tasks.shutdown().await,
        }
    }

    /// Returns only when a link has panicked: then whoever runs this must hear of it.
    async fn keep(&mut self) {
        loop {
            match self.read().await {
                Ok(ranges) => self.apply(ranges),
                Err(reason) if !self.cluster.map().ever => {
                    tracing::debug!(reason, "no map of the cluster yet")
                }
                Err(_) => {}
            }
            while let Some(ended) = self.tasks.try_join_next() {
                if ended.is_err() {
                    return;
                }
            }
            tokio::time::sleep(REFRESH_AT_MOST).await;
            let rest = if self.cluster.map().ever { REFRESH } else { REFRESH / 5 };
            let _astray_or_due = timeout(rest, self.cluster.0.astray.notified()).await;
        }
    }

    /// The best of a few nodes' answers: the one that covers most slots, then the one whose primaries answer.
    async fn read(&mut self) -> Result<Vec<Range>, String> {
        let target = self.source.target();
        let moved = target.as_ref().is_ok_and(|target| self.destination != Some(target.destination()));
        let mut answers = if moved { Vec::new() } else { self.ask_links().await };
        if answers.is_empty() {
            let target = target?;
            let destination = target.destination();
            let Target::Cluster { seeds } = target else {
                return Err("the topology has changed: restart".to_owned());
            };
            answers = answered(seeds.into_iter().take(4 * ASKED).map(ask_seed)).await;
            if moved && self.destination.replace(destination).is_some() {
                tracing::warn!("the URL has changed");
                if answers.is_empty() {
                    // Nobody is to write to the cluster before, whether or not there is another.
                    self.guards.clear();
                    self.cluster.set_map(Map::default());
                }
            }
        }
        let map = self.cluster.map();
        let worth = |ranges: &Vec<Range>| {
            let live = |range: &&Range| {
                map.links.get(&range.node).is_some_and(|link| link.snapshot().connection.is_some())
            };
            (slots::covered(ranges), ranges.iter().filter(live).count())
        };
        answers.into_iter().max_by_key(worth).ok_or_else(|| "no node answers".to_owned())
    }

    /// Others each time.
    async fn ask_links(&mut self) -> Vec<Vec<Range>> {
        let map = self.cluster.map();
        let mut live: Vec<(String, Link)> = map
            .links
            .iter()
            .filter(|(_, link)| link.snapshot().connection.is_some())
            .map(|((host, _), link)| (host.clone(), link.clone()))
            .collect();
        self.turn = self.turn.wrapping_add(1);
        let turn = self.turn % live.len().max(1);
        live.rotate_left(turn);
        live.truncate(ASKED);
        answered(live.into_iter().map(|(host, link)| ask_link(link, host))).await
    }

    fn apply(&mut self, ranges: Vec<Range>) {
        let before = self.cluster.map();
        if ranges.is_empty() || (before.ever && before.ranges == ranges) {
            return;
        }
        let mut links = HashMap::new();
        for range in &ranges {
            if links.contains_key(&range.node) {
                continue;
            }
            let link = before
                .links
                .get(&range.node)
                .cloned()
                .unwrap_or_else(|| self.link(range.node.clone(), before.ever));
            links.insert(range.node.clone(), link);
        }
        self.guards.retain(|node, _| links.contains_key(node));
        self.cluster.set_map(Map { ranges, links, ever: true });
    }

    fn link(&mut self, node: Address, heir: bool) -> Link {
        let stop = self.stop.child_token();
        let place = Place::Node(node.clone());
        let (link, task) = Link::new(self.source.clone(), place, self.wires.clone(), heir, stop.clone());
        self.tasks.spawn(task);
        self.guards.insert(node, stop.drop_guard());
        link
    }
}

async fn answered(asked: impl Iterator<Item = impl Future<Output = Option<Vec<Range>>>>) -> Vec<Vec<Range>> {
    join_all(asked).await.into_iter().flatten().collect()
}

async fn ask_link(link: Link, host: String) -> Option<Vec<Range>> {
    slots::parse(link.call(&cluster_slots(), Instant::now() + ATTEMPT).await.ok()?, &host)
}

async fn ask_seed(seed: redis::ConnectionInfo) -> Option<Vec<Range>> {
    let (mut connection, host) = match dial::dial_seed(&seed).await {
        Ok(reached) => reached,
        Err(failure) => {
            tracing::debug!(reason = failure.reason, "a seed does not answer");
            return None;
        }
    };
    let answer =
        timeout(ATTEMPT, connection.send_packed_commands(&cluster_slots(), 0, 1)).await.ok()?.ok()?;
    slots::parse(answer.into_iter().next()?, &host)
}

fn cluster_slots() -> Pipeline {
    let mut pipe = redis::pipe();
    pipe.cmd("CLUSTER").arg("SLOTS");
    pipe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::clock::Clock;

    const HOUR_US: i64 = 3_600_000_000;

    /// A deadline by another node's clock is past for ever, or never.
    #[test]
    fn a_key_goes_by_the_clock_of_its_own_node() {
        let start = Instant::now();
        let node = |name: &str| (name.to_owned(), 6379);
        let mut clocks: HashMap<Address, Clock> = HashMap::new();
        for (name, redis_us) in [("a", HOUR_US), ("b", 2 * HOUR_US)] {
            clocks.entry(node(name)).or_default().observe(redis_us, start);
        }
        let ranges = [Range::new(0, 12_181, node("a")), Range::new(12_182, 16_383, node("b"))];
        let now = |ranges: &[Range], key| owned(ranges, &clocks, key)?.now_us(start);
        // Their slots are 866 and 12182.
        assert_eq!(now(&ranges, "hello"), Some(HOUR_US));
        assert_eq!(now(&ranges, "foo"), Some(2 * HOUR_US));
        assert_eq!(now(&ranges[..1], "foo"), None);
    }

    #[test]
    fn no_redirect_makes_a_deadline_come_late() {
        assert!(in_step(Some(HOUR_US), Some(HOUR_US)) && in_step(Some(HOUR_US), Some(HOUR_US - 50_000)));
        // It answers LATE, and has done no harm.
        assert!(in_step(Some(HOUR_US), Some(2 * HOUR_US)));
        for next in [None, Some(0), Some(HOUR_US - 200_000)] {
            assert!(!in_step(Some(HOUR_US), next), "{next:?}");
        }
        assert!(!in_step(None, Some(HOUR_US)));
    }
}
