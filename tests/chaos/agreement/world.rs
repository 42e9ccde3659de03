//! Sidecars with a proxy each before one Redis, and what was seen of them so far.

use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use sidecar::clock::Boot;
use tests::agreement::{Claim, Win};
use tests::proxy::Proxy;
use tests::sidecar::{Settings, Sidecar};

use super::claims::claims;
use super::faults::Family;
use crate::servers::{Servers, Setup};

pub(super) const NODES: usize = 3;

pub(super) struct World {
    pub(super) family: Family,
    pub(super) redis: tokio::sync::Mutex<Servers>,
    pub(super) nodes: Vec<Node>,
    pub(super) seen: Mutex<Seen>,
}

/// What is not of one listener.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) wins: Vec<Win>,
    pub(super) claims: Vec<Claim>,
}

/// One pod: a sidecar, and its way to Redis.
pub(super) struct Node {
    number: usize,
    settings: Settings,
    /// Sentinels send sidecars past it.
    pub(super) proxy: Proxy,
    pub(super) sidecar: tokio::sync::Mutex<Sidecar>,
    /// The present process: its name, and where its app finds it.
    present: RwLock<Process>,
}

#[derive(Debug, Clone)]
pub(super) struct Process {
    pub(super) name: String,
    pub(super) address: std::net::SocketAddr,
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
            _ if family.is_durable() => Setup::Durable,
            _ => Setup::Volatile,
        };
        let redis = Servers::start(setup).await;
        let nodes = futures::future::join_all((0..NODES).map(|number| Node::start(number, &redis, mutant)));
        let nodes = nodes.await;
        let (redis, seen) = (tokio::sync::Mutex::new(redis), Mutex::default());
        World { family, redis, nodes, seen }
    }

    /// What a process said of its leases, when it is gone or the run is over.
    pub(super) fn read_claims(&self, process: &Process, sidecar: &Sidecar) {
        let (wins, claims) = claims(&process.name, &sidecar.logs());
        let mut seen = self.seen.lock().unwrap();
        seen.wins.extend(wins);
        seen.claims.extend(claims);
    }
}

impl Node {
    async fn start(number: usize, redis: &Servers, mutant: Option<&'static str>) -> Node {
        let proxy = Proxy::start(redis.master().port()).await;
        let settings = match redis.sentinels() {
            Some(url) => Settings::redis(url)
                .env("HYPERPAGE_REDIS_MODE", "sentinel")
                .env("HYPERPAGE_REDIS_WAIT_REPLICAS", "1"),
            None => Settings::redis(proxy.url()),
        };
        let settings = settings
            .program(env!("CARGO_BIN_EXE_chaos-node"))
            .env("POD_NAME", format!("pod-{number}"))
            .env("HYPERPAGE_LOG_LEVEL", "debug")
            .env("COORD_HIGH_PRIORITY_THRESHOLD", "0")
            .env("COORD_NORMAL_PRIORITY_THRESHOLD", "0")
            .env("MUTANT", mutant.unwrap_or_default());
        let sidecar = Sidecar::spawn(&settings).await;
        let present = RwLock::new(Process::new(number, 0, &sidecar));
        Node { number, settings, proxy, sidecar: tokio::sync::Mutex::new(sidecar), present }
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
        Process { name: format!("pod-{number}.{generation}"), address: sidecar.app_address, generation }
    }
}
