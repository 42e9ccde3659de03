//! The operator: one process that turns Hyperpages into running apps.

pub mod apply;
pub mod children;
pub mod claims;
pub mod config;
pub mod context;
pub mod health;
pub mod hyperpage;
pub mod kept;
pub mod leader;
pub mod metrics;
pub mod pods;
pub mod pulse;
pub mod scope;
pub mod server;
pub mod settled;
pub mod shape;
pub mod telemetry;
pub mod watch;

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

pub use config::Config;
use context::{Clients, Context};
use health::Health;
use leader::Campaign;
use metrics::Metrics;
pub use shape::Shape;

/// What is under way when a stop is asked for may take this long; a pod is given 30 s.
const FINISH: Duration = Duration::from_secs(20);

pub fn run(config: Config) -> anyhow::Result<()> {
    run_in(Shape::Lean, config)
}

pub fn run_in(shape: Shape, config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    let ended = runtime.block_on(operate(shape, config));
    // Whatever still waits for an answer waits for nobody.
    runtime.shutdown_background();
    ended
}

async fn operate(shape: Shape, config: Config) -> anyhow::Result<()> {
    let listener = TcpListener::bind(config.admin_listen)
        .await
        .with_context(|| format!("failed to listen on {}", config.admin_listen))?;
    tracing::info!(admin_listen = %listener.local_addr()?, identity = config.identity(), "starts");
    let stop = stop_signal()?;
    let (health, metrics) = (Arc::new(Health::default()), Arc::new(Metrics::default()));
    let clients = Clients::connect().await?;
    let admin = server::serve(listener, health.clone(), metrics.clone());
    let work = lead(shape, &config, &clients, health, metrics, stop);
    tokio::select! {
        ended = work => ended,
        ended = admin => bail!("the admin server ended: {ended:?}"),
    }
}

/// Waits for its turn, works, and hands over.
async fn lead(
    shape: Shape,
    config: &Config,
    clients: &Clients,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut campaign = Campaign::new(clients.lease.clone(), &config.namespace, config.identity());
    tokio::select! {
        () = campaign.win() => {}
        () = stop.cancelled() => return Ok(()),
    }
    metrics.leads(true);
    let scopes = config.watch_namespaces.scopes().into_iter();
    let contexts = scopes.map(|scope| Arc::new(Context::new(shape, clients, config, scope, metrics.clone())));
    let deadline = async {
        stop.cancelled().await;
        tokio::time::sleep(FINISH).await;
    };
    let ended = tokio::select! {
        ended = watch::run(clients, contexts.collect(), health, stop.clone()) => ended,
        // It may still write: the Lease runs out by itself, after it.
        () = deadline => bail!("stopped in the middle of a reconcile"),
        // Another may lead from now on: not one more write, and no release of what is not ours.
        () = campaign.keep() => bail!("lost the lease; ends so that another replica can lead"),
    };
    metrics.leads(false);
    campaign.release().await;
    ended
}

fn stop_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let asked = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("asked to stop");
        asked.cancel();
    });
    Ok(stop)
}
