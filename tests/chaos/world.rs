//! What clients and nemesis share: sidecars with a proxy each before one Redis, sessions, and the history so far.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tests::history::{Event, Fault, Pod};
use tests::http::Http;
use tests::proxy::Proxy;
use tests::sidecar::{Settings, Sidecar};

use crate::call::document;
use crate::faults::Family;
use crate::servers::Servers;
use crate::totals::is_call;

pub(crate) const NODES: usize = 3;
/// Where there are replicas, they are to confirm whatever is written through this pod.
pub(crate) const STRONG: usize = 0;
/// Each has a quiet session of its own, which bears its number.
pub(crate) const CLIENTS: usize = 8;
/// The first that may expire.
const MORTAL: usize = 14;
/// Those that a run begins with; clients make more.
pub(crate) const SESSIONS: usize = 19;

/// What becomes of a session during a run. Sessions are numbered; their number decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Every client writes it.
    Busy,
    /// Its own client writes it, all read it: a late write finds the version it was made from.
    Quiet,
    /// A client deletes it at some time, and clients try to make it again.
    Deleted,
    /// The nemesis may let it expire while it is written.
    Mortal,
}

pub(crate) fn fate(session: usize) -> Fate {
    match session {
        ..CLIENTS => Fate::Quiet,
        8 | 9 => Fate::Busy,
        10..=13 => Fate::Deleted,
        MORTAL..SESSIONS => Fate::Mortal,
        _ => Fate::Busy,
    }
}

pub(crate) struct World {
    pub(crate) family: Family,
    pub(crate) start: Instant,
    pub(crate) redis: tokio::sync::Mutex<Servers>,
    pub(crate) nodes: Vec<Node>,
    ids: RwLock<Vec<String>>,
    ops: AtomicU64,
    over: AtomicBool,
    /// Held by each call that clients make; whoever has all of it has their silence.
    pub(crate) turns: tokio::sync::RwLock<()>,
    /// Mortal sessions go in their order.
    gone: AtomicUsize,
    events: Mutex<Vec<Event>>,
    pub(crate) faults: Mutex<Vec<Fault>>,
}

impl World {
    pub(crate) async fn new(seed: u64, family: Family, mutant: Option<&'static str>) -> World {
        let redis = Servers::start(family.setup()).await;
        let nodes = (0..NODES).map(|number| Node::start(number, &redis, family, mutant));
        let nodes = futures::future::join_all(nodes).await;
        World {
            family,
            start: Instant::now(),
            redis: tokio::sync::Mutex::new(redis),
            nodes,
            ids: RwLock::new((0..SESSIONS).map(|session| format!("chaos-{seed}-{session}")).collect()),
            ops: AtomicU64::new(0),
            over: AtomicBool::new(false),
            turns: tokio::sync::RwLock::default(),
            gone: AtomicUsize::new(0),
            events: Mutex::default(),
            faults: Mutex::default(),
        }
    }

    pub(crate) fn id(&self, session: usize) -> String {
        self.ids.read().unwrap()[session].clone()
    }

    /// A session that a client has made; how many there are then.
    pub(crate) fn add(&self, id: String) -> usize {
        let mut ids = self.ids.write().unwrap();
        ids.push(id);
        ids.len() - 1
    }

    pub(crate) fn sessions(&self) -> usize {
        self.ids.read().unwrap().len()
    }

    pub(crate) fn session(&self, id: &str) -> Option<usize> {
        self.ids.read().unwrap().iter().position(|one| one == id)
    }

    pub(crate) fn next_op(&self) -> u64 {
        self.ops.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// So many marks at once, from the one that is returned on.
    pub(crate) fn next_ops(&self, count: usize) -> u64 {
        self.ops.fetch_add(count as u64, Ordering::SeqCst) + 1
    }

    /// The mortal session that goes next, or the last of all.
    pub(crate) fn mortal(&self) -> usize {
        (MORTAL + self.gone.load(Ordering::SeqCst)).min(SESSIONS - 1)
    }

    pub(crate) fn expired(&self) {
        self.gone.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    pub(crate) fn over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub(crate) fn record(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }

    pub(crate) fn calls(&self) -> usize {
        self.events.lock().unwrap().iter().filter(|event| is_call(event)).count()
    }

    /// What Redis has now: the marks of each session.
    pub(crate) fn marks(&self, stored: Vec<(String, String)>) -> std::collections::HashMap<usize, Vec<u64>> {
        let known = stored.into_iter().filter_map(|(key, text)| {
            let session = self.session(key.strip_prefix("hyperpage:session:")?)?;
            Some((session, document(&text)?.marks))
        });
        known.collect()
    }
}

/// One pod: a sidecar, and its way to Redis. A new sidecar has a new address and the old way.
pub(crate) struct Node {
    settings: Settings,
    /// Sentinels send sidecars past it.
    pub(crate) proxy: Proxy,
    http: RwLock<Http>,
    pub(crate) sidecar: tokio::sync::Mutex<Sidecar>,
    pub(crate) pod: Mutex<Pod>,
}

impl Node {
    async fn start(number: usize, redis: &Servers, family: Family, mutant: Option<&'static str>) -> Node {
        let proxy = Proxy::start(redis.master().port()).await;
        let forgetful = family.forgets_deletes().then_some("short-tombstone");
        let rules: Vec<_> = [mutant, forgetful].into_iter().flatten().collect();
        let settings = redis
            .settings(number, &proxy)
            .env("POD_NAME", format!("pod-{number}"))
            .env("SESSION_DEFAULT_TTL_SECONDS", family.life_seconds().to_string())
            .env("SESSION_ALLOW_CLIENT_IDS", "true")
            .env("HYPERPAGE_REPAIR_WINDOW_MS", family.repair().as_millis().to_string())
            .env("MUTANT", rules.join(" "));
        let sidecar = Sidecar::spawn(&settings).await;
        let http = RwLock::new(Http::new(sidecar.app_address));
        let sidecar = tokio::sync::Mutex::new(sidecar);
        Node { settings, proxy, http, sidecar, pod: Mutex::default() }
    }

    pub(crate) fn http(&self) -> Http {
        self.http.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another process in the place of one that is gone.
    pub(crate) async fn replace(&self, sidecar: &mut Sidecar) {
        *sidecar = Sidecar::spawn(&self.settings).await;
        *self.http.write().unwrap() = Http::new(sidecar.app_address);
    }
}
