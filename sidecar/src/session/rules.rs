//! What a test may break.

use std::time::Duration;

use super::Error;
use super::store::Scripts;
use crate::redis::Wait;

/// No late write of ours outlives its deadline by as much as this.
const TOMBSTONE: Duration = Duration::from_secs(600);

/// The rules that a checker must notice when one is broken.
#[derive(Debug, Clone)]
pub struct Rules {
    pub scripts: Scripts,
    /// What a read concludes from an error.
    pub read_failed: fn(Error) -> Error,
    /// How long a deleted session cannot be made again, where the journal keeps changes so long.
    pub tombstone: fn(Duration) -> Duration,
    /// How a strong write is confirmed.
    pub wait: Wait,
    /// No session is said to be absent within the repair window.
    pub unproven_in_window: bool,
    /// Replay lays a change over what the session has become, not over what this process knew of it.
    pub replay_checks_base: bool,
    /// A replay that comes again is the same operation.
    pub replay_once: bool,
    /// A change that was meant for one version waits too, for any.
    pub journal_conditional: bool,
    /// What was lost is told by the bytes, not by the version that they bear.
    pub repair_by_digest: bool,
    pub coherence: Coherence,
}

/// Of what is kept in memory.
#[derive(Debug, Clone, Copy)]
pub struct Coherence {
    /// Nothing is served that was read before Redis was emptied.
    pub flush_on_null: bool,
    /// Nothing is kept or served that an own write has overtaken.
    pub bump_on_own_write: bool,
    /// Nothing is served that nobody would have said was changed.
    pub lease_checked: bool,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            scripts: Scripts::default(),
            read_failed: |error| error,
            tombstone: |journaled| TOMBSTONE.max(journaled + Duration::from_secs(60)),
            wait: Wait::Here,
            unproven_in_window: true,
            replay_checks_base: true,
            replay_once: true,
            journal_conditional: false,
            repair_by_digest: true,
            coherence: Coherence { flush_on_null: true, bump_on_own_write: true, lease_checked: true },
        }
    }
}
