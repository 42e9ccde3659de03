//! Says in the log when Redis comes and goes, and while it is away now and then why.

use std::time::{Duration, Instant};

use super::dial::Place;

const AGAIN: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Reporter {
    node: Option<String>,
    reason: String,
    said: Option<(bool, Instant)>,
}

impl Reporter {
    pub(super) fn new(place: &Place) -> Reporter {
        let node = match place {
            Place::Master => None,
            Place::Node((host, port)) => Some(format!("{host}:{port}")),
        };
        Reporter { node, reason: String::new(), said: None }
    }

    /// Notes the latest reason why there is no connection.
    pub(super) fn why(&mut self, reason: String) {
        self.reason = reason;
    }

    pub(super) fn reason(&self) -> &str {
        &self.reason
    }

    pub(super) fn report(&mut self, up: bool, now: Instant) {
        let first_dial = !up && self.reason.is_empty();
        if first_dial || !due(self.said, up, now) {
            return;
        }
        self.said = Some((up, now));
        let (node, reason) = (self.node.as_deref(), self.reason.as_str());
        if up {
            tracing::info!(node, "Session Manager Redis connection established");
        } else {
            tracing::warn!(node, reason, "Redis not connected");
        }
    }
}

fn due(said: Option<(bool, Instant)>, up: bool, now: Instant) -> bool {
    match said {
        Some((before, when)) => before != up || (!up && now.saturating_duration_since(when) >= AGAIN),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_at_once_and_an_outage_twice_a_minute() {
        let start = Instant::now();
        let mut said = None;
        let mut lines = Vec::new();
        for tenth in 0..1_000u32 {
            let (up, now) = (tenth < 10 || tenth >= 900, start + tenth * Duration::from_millis(100));
            if due(said, up, now) {
                said = Some((up, now));
                lines.push((tenth, up));
            }
        }
        assert_eq!(lines, [(0, true), (10, false), (310, false), (610, false), (900, true)]);
    }
}
