//! Counters and times of the whole process, for /metrics.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Seconds; most answers take less than a millisecond.
pub const LATENCY_BUCKETS: [f64; 13] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];

/// Requests on the app's port.
#[derive(Debug, Clone)]
pub struct Http {
    requests: Family<RequestLabels, Counter>,
    statuses: Family<StatusLabels, Counter>,
    seconds: Family<RouteLabels, Histogram>,
    panics: Counter,
    overloads: Counter,
    streams: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabels {
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

impl Http {
    pub fn new(registry: &mut Registry) -> Http {
        let http = Http {
            requests: Family::default(),
            statuses: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(LATENCY_BUCKETS)),
            panics: Counter::default(),
            overloads: Counter::default(),
            streams: Gauge::default(),
        };
        let Http { requests, statuses, seconds, panics, overloads, streams } = http.clone();
        // The original's dashboard asks for it by this name.
        registry.register("api_requests", "Requests answered, by status", statuses);
        let registry = registry.sub_registry_with_prefix("hyperpage_http");
        registry.register("requests", "Requests answered, by route, method and status", requests);
        registry.register(
            "request_seconds",
            "Time from the head of a request to the head of its answer",
            seconds,
        );
        registry.register("panics", "Handlers that panicked; each answered 500", panics);
        registry.register("overloads", "Requests refused because too much was in flight", overloads);
        registry.register("streams", "Answers that last, now", streams);
        http
    }

    /// `route` is the pattern, never the path: ids are no labels.
    pub fn answered(&self, route: &str, method: &'static str, status: u16, took: Duration) {
        self.requests.get_or_create(&RequestLabels { route: route.to_owned(), method, status }).inc();
        self.statuses.get_or_create(&StatusLabels { status }).inc();
        self.seconds.get_or_create(&RouteLabels { route: route.to_owned() }).observe(took.as_secs_f64());
    }

    pub fn panicked(&self) {
        self.panics.inc();
    }

    pub fn overloaded(&self) {
        self.overloads.inc();
    }

    pub fn streams(&self) -> Gauge {
        self.streams.clone()
    }
}

/// All metrics, to be written out.
#[derive(Clone)]
pub struct Metrics(Arc<Registry>);

impl Metrics {
    pub fn new(registry: Registry) -> Metrics {
        Metrics(Arc::new(registry))
    }

    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.0)?;
        Ok(text)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}
