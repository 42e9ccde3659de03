//! Messages.

use super::{EVENTS, Value, coordination, json};

pub(super) fn paths() -> Value {
    json!({
        "/v1/events": {
            "get": coordination("Hear what happens, as server-sent events", "getEvents")
                .answer("200", "Events, as long as both sides live; a comment every few seconds", EVENTS, "Events"),
        },
    })
}

pub(super) fn schemas() -> Value {
    json!({
        "Events": {
            "type": "string",
            "description": "First hello: {pod}.",
        },
    })
}
