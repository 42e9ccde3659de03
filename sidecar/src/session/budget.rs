//! The time that a request has. Whatever is slow, its body, other writers or Redis, it is answered within two seconds.

use std::time::Duration;

use tokio::time::Instant;

/// No call to Redis starts later than this after the request's head; the rest is for the call itself. It is more
/// than a body may take.
const START: Duration = Duration::from_millis(1100);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    until: Instant,
}

impl Budget {
    /// With the head of a request, before its body is read.
    pub(crate) fn begin() -> Budget {
        Budget { until: Instant::now() + START }
    }

    pub(crate) fn later(self, other: Budget) -> Budget {
        Budget { until: self.until.max(other.until) }
    }

    /// How long one may wait before a call.
    pub(crate) fn left(self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    pub(crate) fn is_spent(self) -> bool {
        self.left().is_zero()
    }
}
