//! What a test may break of elections.

#[derive(Debug, Clone, Default)]
pub struct Rules {}
