//! The paths by which pods talk, and what their requests and answers hold. A new one is a file here and a line below.

mod barrier;
mod bus;
mod leader;
mod pods;

use serde_json::{Map, Value, json};

use super::operation::{JSON, Operation, operation, reference};
use super::refusals::Surface;

pub(super) const EVENTS: &str = "text/event-stream";

pub(super) fn paths() -> Map<String, Value> {
    all([barrier::paths(), bus::paths(), leader::paths(), pods::paths()])
}

pub(super) fn schemas() -> Map<String, Value> {
    all([barrier::schemas(), bus::schemas(), leader::schemas(), pods::schemas()])
}

fn all<const N: usize>(parts: [Value; N]) -> Map<String, Value> {
    parts.into_iter().flat_map(|part| part.as_object().expect("an object").clone()).collect()
}

/// Each can be refused because there is no coordination.
fn coordination(summary: &str, id: &str) -> Operation {
    operation(Surface::Coordination, summary, id).refusals(&[404, 500, 503])
}
