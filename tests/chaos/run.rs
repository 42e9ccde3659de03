//! One run: three sidecars with a proxy each before one Redis, clients, a nemesis, and the history they leave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prometheus_client::registry::Registry;
use sidecar::app::App;
use sidecar::config;
use sidecar::redis::{Mode, Redis, Source, Url};
use sidecar::session::Rules;
use tests::eventually::{check, eventually};
use tests::history::{Action, Event, Outcome};
use tests::http::Http;
use tests::proxy::{self, Proxy};
use tests::random::Random;
use tests::redis::RedisServer;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::nemesis;

const NODES: usize = 3;
/// Each has a quiet session of its own, which bears its number.
pub(crate) const CLIENTS: usize = 8;
pub(crate) const SESSIONS: usize = 19;
const LENGTH: Duration = Duration::from_secs(7);
const RECOVERY: Duration = Duration::from_secs(20);

/// What becomes of a session during a run. Sessions are numbered; their number decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Every client writes it.
    Busy,
    /// Its own client writes it, all read it: a late write finds the version it was made from.
    Quiet,
    /// A client deletes it at some time, and clients try to make it again.
    Deleted,
    /// The nemesis lets it expire while it is written.
    Expired,
}

pub(crate) fn fate(session: usize) -> Fate {
    match session {
        ..CLIENTS => Fate::Quiet,
        8 | 9 => Fate::Busy,
        10..=13 => Fate::Deleted,
        _ => Fate::Expired,
    }
}

/// All that clients and nemesis share.
pub(crate) struct World {
    seed: u64,
    start: Instant,
    pub(crate) redis: Mutex<RedisServer>,
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) apps: Vec<Http>,
    ops: AtomicU64,
    history: std::sync::Mutex<Vec<Event>>,
}

impl World {
    pub(crate) fn id(&self, session: usize) -> String {
        format!("chaos-{}-{session}", self.seed)
    }

    pub(crate) fn next_op(&self) -> u64 {
        self.ops.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn over(&self) -> bool {
        self.start.elapsed() > LENGTH
    }

    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub(crate) fn record(&self, session: usize, invoked: Duration, action: Action, outcome: Outcome) {
        let event = Event { session, invoked, ended: self.now(), action, outcome };
        self.history.lock().unwrap().push(event);
    }
}

/// Runs `seed` against sidecars that follow `rules`, and returns what was seen.
pub(crate) async fn run(seed: u64, rules: Rules) -> Vec<Event> {
    println!("seed {seed}");
    let redis = RedisServer::durable().await;
    let stop = CancellationToken::new();
    let (mut proxies, mut apps) = (Vec::new(), Vec::new());
    for _ in 0..NODES {
        let proxy = Proxy::start(redis.port()).await;
        apps.push(Http::new(node(proxy.url(), rules.clone(), &stop).await));
        proxies.push(proxy);
    }
    let world = Arc::new(World {
        seed,
        start: Instant::now(),
        redis: Mutex::new(redis),
        proxies,
        apps,
        ops: AtomicU64::new(0),
        history: std::sync::Mutex::default(),
    });
    let mut random = Random::new(seed);
    serving(&world).await;
    let mut first = Client::new(world.clone(), 0, random.fork());
    for session in 0..SESSIONS {
        first.create(session).await;
    }
    let nemesis = nemesis::run(&world, random.fork());
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let client = Client::new(world.clone(), number, random.fork());
        clients.push(tokio::spawn(client.run()));
    }
    tokio::time::timeout(LENGTH + RECOVERY, nemesis).await.expect("the nemesis ends");
    for client in clients {
        tokio::time::timeout(RECOVERY, client).await.expect("clients end").unwrap();
    }
    serving(&world).await;
    for session in 0..SESSIONS {
        for node in 0..NODES {
            first.read(session, node).await;
        }
    }
    stop.cancel();
    world.history.lock().unwrap().clone()
}

async fn serving(world: &World) {
    for proxy in &world.proxies {
        proxy.set(proxy::Mode::Pass);
    }
    for app in &world.apps {
        eventually("the sidecar serves", RECOVERY, async || {
            let answer = app.get("/v1/sessions/no-such-session").await;
            check(answer.status == 404, answer)
        })
        .await;
    }
}

/// A sidecar in this process: everything but its `main`.
async fn node(redis_url: String, rules: Rules, stop: &CancellationToken) -> SocketAddr {
    let mut registry = Registry::default();
    let url = Url::Given(redis_url);
    let source = Source { mode: Mode::Standalone, url, password_file: None, ca_file: None };
    let (redis, supervisor) = Redis::connect(source, &mut registry, stop.clone());
    let settings =
        config::Session { ttl_seconds: 3600, allow_client_ids: true, allow_identity_writes: false };
    let (app, _metrics, sessions) = App::new(redis, &settings, rules, registry, stop.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = axum::serve(listener, sidecar::router::router(app));
    let stopped = stop.clone().cancelled_owned();
    tokio::spawn(async move {
        tokio::select! {
            () = supervisor => {}
            () = sessions => {}
            end = serve.into_future() => end.unwrap(),
            () = stopped => {}
        }
    });
    address
}
