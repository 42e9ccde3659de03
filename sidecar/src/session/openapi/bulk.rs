//! The paths of `/v1` that are about more than one session.

use serde_json::{Value, json};

use super::operation::{JSON, operation, reference};
use super::refusals::Surface;

pub(super) fn batch_get() -> Value {
    json!({
        "post": operation(Surface::V1, "Read many sessions; each answers for itself", "batchGetSessions")
            .body(&[(JSON, "Ids")])
            .answer("200", "An answer for each id, in their order", JSON, "Sessions")
            .refusals(&[400, 408, 413, 415, 500, 503]),
    })
}

pub(super) fn schemas() -> Value {
    json!({
        "Ids": {
            "type": "object",
            "properties": { "ids": { "type": "array", "maxItems": 100, "items": { "type": "string" } } },
            "required": ["ids"],
        },
        "Sessions": {
            "type": "object",
            "properties": { "sessions": { "type": "array", "items": {
                "type": "object",
                "description": "With status 200 the session, with any other code and detail as a single read has them.",
                "properties": {
                    "id": { "type": "string" },
                    "status": { "type": "integer" },
                    "etag": { "type": "string" },
                    "version": { "type": ["integer", "null"], "description": "metadata.updated in milliseconds." },
                    "session": reference("schemas", "Session"),
                    "code": { "type": "string" },
                    "detail": { "type": "string" },
                },
                "required": ["id", "status"],
            } } },
            "required": ["sessions"],
        },
    })
}
