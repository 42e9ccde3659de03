//! What handlers share.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::in_flight::InFlight;
use crate::metrics::{Http, Metrics};
use crate::redis::Redis;
use crate::session::{Rules, Sessions};

/// A cheap handle: each layer of each request has one.
#[derive(Debug, Clone)]
pub struct App(Arc<Parts>);

#[derive(Debug)]
pub struct Parts {
    pub redis: Redis,
    pub sessions: Sessions,
    pub http: Http,
    pub in_flight: InFlight,
    pub lifecycle: Lifecycle,
}

/// From the first moment to the last.
#[derive(Debug)]
pub struct Lifecycle {
    pub started: Instant,
    /// Cancelled when the process has been told to end.
    pub draining: CancellationToken,
}

impl App {
    /// The caller runs the future, which ends after `stop`.
    pub fn new(
        redis: Redis,
        in_flight: InFlight,
        session: &config::Session,
        rules: Rules,
        mut registry: Registry,
        stop: CancellationToken,
    ) -> (App, Metrics, impl Future<Output = ()> + Send + use<>) {
        let (sessions, task) = Sessions::new(redis.clone(), session, rules, &mut registry, stop);
        let http = Http::new(&mut registry);
        let lifecycle = Lifecycle { started: Instant::now(), draining: CancellationToken::new() };
        let parts = Parts { redis, sessions, http, in_flight, lifecycle };
        (App(Arc::new(parts)), Metrics::new(registry), task)
    }
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
