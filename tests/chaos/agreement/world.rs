//! Sidecars with a proxy each before one Redis, and what was seen of them and of their apps so far.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use sidecar::clock::Boot;
use tests::agreement::{Barrier, Claim, Published, Win};
use tests::http::Http;
use tests::proxy::Proxy;
use tests::sidecar::{Settings, Sidecar};
use tokio_util::sync::CancellationToken;

use super::cache::KEYS;
use super::claims::claims;
use super::faults::Family;
use super::heard::Heard;
use crate::servers::{Servers, Setup};
pub(super) use crate::world::NODES;

pub(super) struct World {
    pub(super) family: Family,
    pub(super) redis: tokio::sync::Mutex<Servers>,
    pub(super) nodes: Vec<Node>,
    pub(super) seen: Mutex<Seen>,
    /// What apps keep copies of: each key's version, as their database has it.
    pub(super) versions: [AtomicU64; KEYS],
    /// How often apps have called.
    pub(super) calls: AtomicUsize,
    /// Apps call nobody any more.
    pub(super) quiet: CancellationToken,
    /// Nor do they listen.
    pub(super) over: CancellationToken,
}

/// What is not of one listener.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) wins: Vec<Win>,
    pub(super) claims: Vec<Claim>,
    pub(super) published: Vec<Published>,
    pub(super) barriers: Vec<Barrier>,
    /// By operation and outcome.
    pub(super) calls: BTreeMap<(&'static str, &'static str), usize>,
    /// Answers that no fault explains.
    pub(super) strange: Vec<String>,
}

/// One pod: a sidecar, its way to Redis, and its app.
pub(super) struct Node {
    number: usize,
    settings: Settings,
    /// Sentinels send sidecars past it.
    pub(super) proxy: Proxy,
    pub(super) sidecar: tokio::sync::Mutex<Sidecar>,
    present: RwLock<Process>,
    pub(super) heard: Mutex<Heard>,
}

/// The present process: its name, and where its app finds it.
#[derive(Debug, Clone)]
pub(super) struct Process {
    pub(super) name: String,
    pub(super) address: std::net::SocketAddr,
    pub(super) http: Http,
    generation: usize,
}

/// By the clock of the sidecars.
pub(super) fn now() -> Duration {
    Duration::from_micros(Boot::now().micros())
}

impl World {
    pub(super) async fn new(family: Family, mutant: Option<&'static str>) -> World {
        let setup = match family {
            Family::FailedOver => Setup::Sentinels,
            Family::Parted => Setup::Parted,
            _ if family.is_durable() => Setup::Durable,
            _ => Setup::Volatile,
        };
        let redis = Servers::start(setup).await;
        let nodes = futures::future::join_all((0..NODES).map(|number| Node::start(number, &redis, mutant)));
        let nodes = nodes.await;
        World {
            family,
            redis: tokio::sync::Mutex::new(redis),
            nodes,
            seen: Mutex::default(),
            versions: Default::default(),
            calls: AtomicUsize::new(0),
            quiet: CancellationToken::new(),
            over: CancellationToken::new(),
        }
    }

    pub(super) fn called(&self, operation: &'static str, outcome: &'static str) {
        self.calls.fetch_add(1, Ordering::SeqCst);
        *self.seen.lock().unwrap().calls.entry((operation, outcome)).or_default() += 1;
    }

    /// What a process said of its leases, when it is gone or the run is over.
    pub(super) fn read_claims(&self, process: &Process, sidecar: &Sidecar) {
        let (wins, claims) = claims(&process.name, &sidecar.logs());
        let mut seen = self.seen.lock().unwrap();
        seen.wins.extend(wins);
        seen.claims.extend(claims);
    }
}

/// As sidecars name it.
pub(super) fn pod(number: usize) -> String {
    format!("pod-{number}")
}

impl Node {
    async fn start(number: usize, redis: &Servers, mutant: Option<&'static str>) -> Node {
        let proxy = Proxy::start(redis.master().port()).await;
        let settings = redis
            .settings(number, &proxy)
            .env("POD_NAME", pod(number))
            .env("HYPERPAGE_LOG_LEVEL", "debug")
            .env("COORD_COMPAT", "off")
            .env("COORD_HIGH_PRIORITY_THRESHOLD", "0")
            .env("COORD_NORMAL_PRIORITY_THRESHOLD", "0")
            .env("MUTANT", mutant.unwrap_or_default());
        let sidecar = Sidecar::spawn(&settings).await;
        let present = RwLock::new(Process::new(number, 0, &sidecar));
        let sidecar = tokio::sync::Mutex::new(sidecar);
        Node { number, settings, proxy, sidecar, present, heard: Mutex::default() }
    }

    pub(super) fn present(&self) -> Process {
        self.present.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another process in the place of one that is gone.
    pub(super) async fn replace(&self, world: &World, sidecar: &mut Sidecar) {
        let gone = self.present();
        world.read_claims(&gone, sidecar);
        *sidecar = Sidecar::spawn(&self.settings).await;
        *self.present.write().unwrap() = Process::new(self.number, gone.generation + 1, sidecar);
    }
}

impl Process {
    fn new(number: usize, generation: usize, sidecar: &Sidecar) -> Process {
        let (name, address) = (format!("{}.{generation}", pod(number)), sidecar.app_address);
        Process { name, address, http: Http::new(address), generation }
    }
}
