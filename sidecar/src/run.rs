//! Start and stop on one page.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use crds::contract::env;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::{self, App, Settings, Work};
use crate::config::{Config, Store, VERSION};
use crate::dev::PrivateRedis;
use crate::in_flight::InFlight;
use crate::redis::Redis;
use crate::rules::Rules;
use crate::server::{Limits, Patience, serve};
use crate::{admin, router};

/// Clients of the app's port keep connections, and a server that closes an idle one may meet a request.
const PATIENCE: Patience = Patience {
    idle: Duration::from_secs(300),
    head: Duration::from_secs(5),
    answer: Duration::from_secs(10),
};
const CONNECTIONS: usize = 1_024;
/// Twice what Node takes from a browser.
const HEAD_BYTES: usize = 32 * 1024;
/// Anybody in the cluster's network can open these and be silent, and probes are to find a place.
const ADMIN_PATIENCE: Patience =
    Patience { idle: Duration::from_secs(5), head: Duration::from_secs(5), answer: Duration::from_secs(5) };
const ADMIN_LIMITS: Limits = Limits {
    connections: 512,
    patience: ADMIN_PATIENCE,
    head_bytes: 8 * 1024,
    drain: Duration::from_secs(1),
};
/// How long a private Redis may take before it is said that we listen: no probe keeps a first request back there.
const PRIVATE_START: Duration = Duration::from_secs(10);

/// `run` on threads of its own.
pub fn block(config: Config, rules: Rules) -> anyhow::Result<()> {
    // Two threads serve a pod's app, and few names are looked up: each thread costs memory in every pod.
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).max_blocking_threads(4).enable_all().build()?;
    let ended = runtime.block_on(run(config, rules));
    // A name that is still being looked up is not waited for.
    runtime.shutdown_timeout(Duration::from_millis(100));
    ended
}

/// Binds, connects, serves, and ends after SIGTERM or SIGINT; with an error if a part ended by itself.
pub async fn run(config: Config, rules: Rules) -> anyhow::Result<()> {
    let Config { server, redis, session, coordination, telemetry, dev: _, notes } = config;
    let mut signals = Signals::new()?;
    // Ports first: the commonest mistake is reported before anything is started.
    let (listener, listen) = bind(server.listen, env::LISTEN).await?;
    let (admin_listener, admin_listen) = bind(server.admin_listen, env::ADMIN_LISTEN).await?;
    for note in notes {
        tracing::warn!("{note}");
    }
    let (private, source) = match redis {
        Store::At(source) => (None, source),
        Store::Private => PrivateRedis::start().await.map(|(private, source)| (Some(private), source))?,
    };

    let stops = Stops::default();
    let mut registry = Registry::default();
    let (redis, supervisor) = Redis::connect(source, &mut registry, stops.redis.clone());
    let in_flight = InFlight::new(server.max_requests);
    let settings = Settings { session: &session, coordination: &coordination, telemetry: &telemetry };
    let (app, metrics, work) = App::new(redis, in_flight, &settings, rules, registry, &stops.blocks);
    let Work { sessions, coordination } = work;
    let (draining, met) = (app.lifecycle.draining.clone(), app.redis.clone());
    let limits = Limits {
        connections: CONNECTIONS,
        patience: PATIENCE,
        head_bytes: HEAD_BYTES,
        drain: server.drain(),
    };
    let admin_router = admin::router(app.clone(), metrics);
    let mut tasks = Tasks {
        app: tokio::spawn(serve(listener, router::router(app), limits, stops.app.clone())),
        coordination: tokio::spawn(coordination),
        sessions: tokio::spawn(sessions),
        redis: tokio::spawn(supervisor),
        admin: tokio::spawn(serve(admin_listener, admin_router, ADMIN_LIMITS, stops.admin.clone())),
    };
    let said = async {
        if private.is_some() {
            let _late = tokio::time::timeout(PRIVATE_START, met.met()).await;
        }
        let pod = telemetry.pod_name;
        tracing::info!(%listen, %admin_listen, version = VERSION, pod, "listening");
        std::future::pending().await
    };

    let ended = tokio::select! {
        never = said => never,
        signal = signals.next() => {
            tracing::info!(signal, "stopping");
            Ok(())
        }
        part = tasks.one_ended() => Err(anyhow::anyhow!("{part} ended by itself; this is a defect")),
    };
    draining.cancel();
    let stopped = tokio::select! {
        () = tasks.stop(&stops) => ended,
        signal = signals.next() => Err(anyhow::anyhow!("{signal} again: ending at once")),
    };
    if let Some(private) = private {
        private.stop().await;
    }
    if stopped.is_ok() {
        tracing::info!("stopped");
    }
    stopped
}

async fn bind(address: SocketAddr, setting: &str) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await;
    let listener = listener.with_context(|| format!("cannot listen on {address} ({setting})"))?;
    let bound = listener.local_addr().context("a listener without an address")?;
    Ok((listener, bound))
}

struct Signals {
    term: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Signals> {
        let of = |kind| signal(kind).context("cannot listen to signals");
        Ok(Signals { term: of(SignalKind::terminate())?, interrupt: of(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// One for each part, cancelled in the order in which nobody loses what he needs.
#[derive(Default)]
struct Stops {
    app: CancellationToken,
    blocks: app::Stops,
    redis: CancellationToken,
    admin: CancellationToken,
}

struct Tasks {
    app: JoinHandle<()>,
    coordination: JoinHandle<()>,
    sessions: JoinHandle<()>,
    redis: JoinHandle<()>,
    admin: JoinHandle<()>,
}

impl Tasks {
    async fn one_ended(&mut self) -> &'static str {
        tokio::select! {
            _ = &mut self.app => "the app's port",
            _ = &mut self.coordination => "coordination",
            _ = &mut self.sessions => "the sessions' own work",
            _ = &mut self.redis => "the connection to Redis",
            _ = &mut self.admin => "the admin port",
        }
    }

    /// Requests in flight still need Redis, and probes an answer until the end.
    async fn stop(&mut self, stops: &Stops) {
        for (stop, task) in [
            (&stops.app, &mut self.app),
            (&stops.blocks.coordination, &mut self.coordination),
            (&stops.blocks.sessions, &mut self.sessions),
            (&stops.redis, &mut self.redis),
            (&stops.admin, &mut self.admin),
        ] {
            stop.cancel();
            if !task.is_finished() {
                let _panicked = task.await;
            }
        }
    }
}
