//! What a test may break of messages.

#[derive(Debug, Clone, Default)]
pub struct Rules {}
