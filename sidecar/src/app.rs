//! What handlers share.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::config::{self, Telemetry};
use crate::coordination::{Coordination, Needs};
use crate::in_flight::InFlight;
use crate::metrics::{Http, Metrics};
use crate::redis::Redis;
use crate::rules::Rules;
use crate::session::Sessions;
use crate::stream::Streams;

/// A cheap handle: each layer of each request has one.
#[derive(Debug, Clone)]
pub struct App(Arc<Parts>);

#[derive(Debug)]
pub struct Parts {
    pub redis: Redis,
    pub sessions: Sessions,
    /// None where it is off.
    pub coordination: Option<Coordination>,
    pub http: Http,
    pub in_flight: InFlight,
    pub streams: Streams,
    pub lifecycle: Lifecycle,
}

/// From the first moment to the last.
#[derive(Debug)]
pub struct Lifecycle {
    pub started: Instant,
    /// Cancelled when the process has been told to end.
    pub draining: CancellationToken,
}

/// What is asked of its blocks.
#[derive(Debug)]
pub struct Settings<'a> {
    pub session: &'a config::Session,
    pub coordination: &'a config::Coordination,
    pub telemetry: &'a Telemetry,
}

/// What a block does of its own accord. The caller runs each, and it ends after its stop.
pub struct Work<S, C> {
    pub sessions: S,
    pub coordination: C,
}

/// One for each block with work of its own.
#[derive(Debug, Clone, Default)]
pub struct Stops {
    pub sessions: CancellationToken,
    pub coordination: CancellationToken,
}

impl App {
    pub fn new(
        redis: Redis,
        in_flight: InFlight,
        settings: &Settings<'_>,
        rules: Rules,
        mut registry: Registry,
        stops: &Stops,
    ) -> (App, Metrics, Work<impl Future<Output = ()> + Send + use<>, impl Future<Output = ()> + Send + use<>>)
    {
        let Settings { session, coordination, telemetry } = settings;
        let stop = stops.sessions.clone();
        let (sessions, keeping) = Sessions::new(redis.clone(), session, rules.sessions, &mut registry, stop);
        let lifecycle = Lifecycle { started: Instant::now(), draining: CancellationToken::new() };
        let needs = Needs {
            redis: redis.clone(),
            settings: coordination,
            pod: &telemetry.pod_name,
            draining: lifecycle.draining.clone(),
        };
        let (coordination, coordinating) =
            Coordination::new(needs, rules.coordination, &mut registry, stops.coordination.clone());
        let http = Http::new(&mut registry);
        let streams = Streams::new(&http);
        let parts = Parts { redis, sessions, coordination, http, in_flight, streams, lifecycle };
        let work = Work { sessions: Box::pin(keeping), coordination: coordinating };
        (App(Arc::new(parts)), Metrics::new(registry), work)
    }
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
