//! Says in the log when Redis comes and goes, and while it is away now and then why.

use std::time::{Duration, Instant};

use super::dial::Place;

const AGAIN: Duration = Duration::from_secs(30);
/// A new reason is worth a line sooner: a wrong password looks different from nobody there.
const NEW_REASON: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Reporter {
    node: Option<String>,
    reason: String,
    said: Option<Said>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    up: bool,
    reason: String,
    when: Instant,
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

    /// None where there is but one.
    pub(super) fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }

    pub(super) fn reason(&self) -> &str {
        &self.reason
    }

    pub(super) fn report(&mut self, up: bool, now: Instant) {
        let first_dial = !up && self.reason.is_empty();
        let say = Said { up, reason: self.reason.clone(), when: now };
        if first_dial || !due(self.said.as_ref(), &say) {
            return;
        }
        self.said = Some(say);
        let (node, reason) = (self.node.as_deref(), self.reason.as_str());
        if up {
            tracing::info!(node, "Session Manager Redis connection established");
        } else {
            tracing::warn!(node, reason, "Redis not connected");
        }
    }
}

fn due(said: Option<&Said>, say: &Said) -> bool {
    let Some(said) = said else { return true };
    let since = say.when.saturating_duration_since(said.when);
    said.up != say.up || (!say.up && (since >= AGAIN || (since >= NEW_REASON && said.reason != say.reason)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each tenth of a second, what `state` says of it; the tenths at which there is a line.
    fn lines(state: impl Fn(u32) -> (bool, &'static str)) -> Vec<u32> {
        let start = Instant::now();
        let mut said: Option<Said> = None;
        let mut lines = Vec::new();
        for tenth in 0..1_000u32 {
            let (up, reason) = state(tenth);
            let say =
                Said { up, reason: reason.to_owned(), when: start + tenth * Duration::from_millis(100) };
            if due(said.as_ref(), &say) {
                said = Some(say);
                lines.push(tenth);
            }
        }
        lines
    }

    #[test]
    fn changes_at_once_and_an_outage_twice_a_minute() {
        assert_eq!(lines(|tenth| (!(10..900).contains(&tenth), "refused")), [0, 10, 310, 610, 900]);
    }

    #[test]
    fn a_new_reason_sooner_and_no_flood_when_reasons_alternate() {
        assert_eq!(
            lines(|tenth| (false, if tenth < 10 { "refused" } else { "WRONGPASS" })),
            [0, 50, 350, 650, 950]
        );
        let alternating = lines(|tenth| (false, if tenth % 2 == 0 { "refused" } else { "silent" }));
        assert!(alternating.len() <= 20, "{alternating:?}");
    }
}
