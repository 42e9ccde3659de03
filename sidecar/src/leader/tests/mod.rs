//! The decisions of an election: printed, held to laws, explored to the end, and played with clocks that are wrong.

mod drift;
mod model;
mod steps;
mod store;

use super::*;
use crate::redis::Incarnation;

/// A pod by its letter.
fn candidate(name: &str, timing: Timing, rules: Rules) -> Candidate {
    Candidate { id: format!("pod-{name}"), seed: name.to_owned(), timing, rules }
}
