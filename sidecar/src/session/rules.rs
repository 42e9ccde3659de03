//! What a test may break.

use super::Error;
use super::store::Scripts;

/// The rules that a checker must notice when one is broken.
#[derive(Debug, Clone)]
pub struct Rules {
    pub scripts: Scripts,
    /// What a read concludes from an error.
    pub read_failed: fn(Error) -> Error,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { scripts: Scripts::default(), read_failed: |error| error }
    }
}
