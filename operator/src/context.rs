//! What every reconcile shares.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::http::{HeaderValue, header::USER_AGENT};
use kube::{
    Client, Config as KubeConfig,
    client::ClientBuilder,
    runtime::events::{Recorder, Reporter},
};
use tower::limit::ConcurrencyLimitLayer;

use crate::{
    children::Children,
    claims::Claims,
    config::Config,
    hyperpage::{memory::Memories, validate::Defaults},
    metrics::Metrics,
    pods::Pods,
    scope::Scope,
    shape::Shape,
};
use crds::contract::manager;

/// A plain request that is not answered by then never will be.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// At a time. Each has a connection to itself, which takes 40 kB until it has been idle for minutes.
const CALLS: usize = 32;

/// Watches live for minutes and retry by themselves; calls end soon and are retried by the reconcile, which
/// first looks again at what is wanted.
#[derive(Clone)]
pub struct Clients {
    pub watch: Client,
    pub calls: Client,
    /// Never waits behind calls: the Lease would run out.
    pub lease: Client,
}

impl Clients {
    pub async fn connect() -> anyhow::Result<Self> {
        let mut config = KubeConfig::infer().await.context("failed to find a Kubernetes to work for")?;
        let agent = concat!("hyperpage-operator/", env!("CARGO_PKG_VERSION"));
        config.headers.push((USER_AGENT, HeaderValue::from_static(agent)));
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        let watch = Client::try_from(config.clone()).context("failed to set up the client for watches")?;
        config.read_timeout = Some(READ_TIMEOUT);
        config.reset_reader_on_write = true;
        config.default_retry = false;
        let lease = Client::try_from(config.clone()).context("failed to set up the client for the lease")?;
        let calls = ClientBuilder::try_from(config).context("failed to set up the client for calls")?;
        let calls = calls.with_layer(&ConcurrencyLimitLayer::new(CALLS)).build();
        Ok(Self { watch, calls, lease })
    }
}

/// What reconciles of one scope share.
pub struct Context {
    pub shape: Shape,
    pub scope: Scope,
    pub calls: Client,
    pub recorder: Recorder,
    pub metrics: Arc<Metrics>,
    pub defaults: Defaults,
    /// Of each phase of a bus key's rotation.
    pub bus_key_pace: Duration,
    /// What the watches show.
    pub children: Arc<Children>,
    pub pods: Arc<Pods>,
    pub claims: Arc<Claims>,
    /// What this process remembers of each Hyperpage.
    pub memories: Memories,
}

impl Context {
    pub fn new(
        shape: Shape,
        clients: &Clients,
        config: &Config,
        scope: Scope,
        metrics: Arc<Metrics>,
    ) -> Self {
        let reporter =
            Reporter { controller: manager::OPERATOR.to_owned(), instance: Some(config.identity()) };
        Self {
            shape,
            scope,
            calls: clients.calls.clone(),
            recorder: Recorder::new(clients.calls.clone(), reporter),
            metrics,
            defaults: Defaults {
                sidecar_image: config.sidecar_image.clone(),
                redis_image: config.redis_image.clone(),
            },
            bus_key_pace: Duration::from_secs(config.bus_key_wait),
            children: Arc::default(),
            pods: Arc::default(),
            claims: Arc::default(),
            memories: Memories::of_shape(shape),
        }
    }
}
