//! What a test may break: each rule that a checker must notice is a value, replaced by a constructor's argument.

use crate::{coordination, session};

#[derive(Debug, Clone, Default)]
pub struct Rules {
    pub sessions: session::Rules,
    pub coordination: coordination::Rules,
}
