//! Logs: one JSON object a line.

use tracing_subscriber::{Layer, filter::LevelFilter, layer::SubscriberExt, util::SubscriberInitExt};

pub fn start(level: LevelFilter) {
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_current_span(true);
    tracing_subscriber::registry().with(lines.with_filter(level)).init();
}
