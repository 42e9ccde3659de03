//! Waiting for something, never for a time.

use std::fmt::Debug;
use std::time::Duration;

use crate::lived::{Lived, timeout};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until `look` answers `Ok`, and returns that; panics with `what` and what it saw last when `within` is over.
pub async fn eventually<T, E: Debug>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let start = Lived::now();
    let mut last = String::new();
    loop {
        // A look that hangs is a look that failed: the deadline holds for it too.
        let left = within.saturating_sub(start.elapsed()).max(PAUSE);
        last = match timeout(left, look()).await {
            Ok(Ok(found)) => return found,
            Ok(Err(error)) => format!("{error:?}"),
            Err(_) => format!("no answer; {last}"),
        };
        assert!(start.elapsed() < within, "not within {within:?}: {what}; last seen: {last}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// `Ok` if it holds, `Err` with what was looked at if it does not.
pub fn check(holds: bool, seen: impl Debug) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("{seen:?}")) }
}
