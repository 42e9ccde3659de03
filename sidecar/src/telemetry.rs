//! The log: JSON lines for machines, plain text for people at a terminal.

use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::time::{Duration, Instant};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

/// Whoever floods us does not flood the log: one warning of a kind a minute.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Option<Instant>);

impl Seldom {
    const EVERY: Duration = Duration::from_secs(60);

    /// Whether it is to be said now; then it is said.
    pub(crate) fn is_due(&mut self) -> bool {
        let due = self.0.is_none_or(|said| said.elapsed() >= Seldom::EVERY);
        if due {
            self.0 = Some(Instant::now());
        }
        due
    }
}

/// Once, at the start.
pub fn init(level: LevelFilter, dev: bool) {
    // Libraries speak when something is wrong, and only ours speaks at the level asked for.
    let targets = Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("sidecar", level);
    let terminal = std::io::stdout().is_terminal();
    let human = fmt::layer().with_ansi(terminal);
    let machine = fmt::layer().json().flatten_event(true).with_span_list(false);
    let layer = if dev || terminal { human.boxed() } else { machine.boxed() };
    registry().with(layer.with_filter(targets)).init();
    std::panic::set_hook(Box::new(log_panic));
}

/// A panic is a defect of ours: one line like any other, so that it is found where the log is read.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string);
    let payload = panic.payload();
    let message =
        payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref().map(String::as_str));
    let message = message.unwrap_or("no message");
    tracing::error!(location, "panicked at: {message}");
}
