//! What a test may break.

use std::time::Duration;

use super::Error;
use super::store::Scripts;

/// No late write of ours outlives its deadline by as much as this.
const TOMBSTONE: Duration = Duration::from_secs(600);

/// The rules that a checker must notice when one is broken.
#[derive(Debug, Clone)]
pub struct Rules {
    pub scripts: Scripts,
    /// What a read concludes from an error.
    pub read_failed: fn(Error) -> Error,
    /// How long a deleted session cannot be made again.
    pub tombstone: Duration,
    /// No session is said to be absent within the repair window.
    pub unproven_in_window: bool,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            scripts: Scripts::default(),
            read_failed: |error| error,
            tombstone: TOMBSTONE,
            unproven_in_window: true,
        }
    }
}
