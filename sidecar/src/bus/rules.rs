//! What a test may break of messages.

/// The rules that a checker must notice when one is broken.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Who hears a message that is not the next reads what lies between.
    pub gap_check: bool,
    /// After Redis may have lost messages, numbers are of another life, and whoever listens is told.
    pub lives: bool,
    /// Where Redis has replicas, a message is acknowledged when they have it: no other master has begun without it.
    pub confirmed: bool,
    /// A message that was sent again is the same message.
    pub dedupe: bool,
    /// What a leader says is refused when it leads no longer, and by whoever has heard a later one.
    pub fence: bool,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { gap_check: true, lives: true, confirmed: true, dedupe: true, fence: true }
    }
}
