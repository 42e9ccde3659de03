//! What is applied where.

use super::{JSON, Operation, Value, coordination, json};

pub(super) fn paths() -> Value {
    json!({
        "/v1/cache/invalidate": {
            "post": waiting(coordination("Tell every pod's app what to drop from its cache", "invalidateCache"))
                .body(&[(JSON, "Invalidation")])
                .refusals(&[400, 408, 413, 415, 429]),
        },
        "/v1/events/acks": {
            "post": coordination("Say what the app has applied", "acknowledgeEvents")
                .body(&[(JSON, "Ack")])
                .empty("204", "Known")
                .refusals(&[400, 408, 413, 415]),
        },
    })
}

/// Of a message that may be waited for.
pub(super) fn waiting(operation: Operation) -> Operation {
    let query = |name: &str, schema: Value, description: &str| json!({ "name": name, "in": "query", "schema": schema, "description": description });
    operation
        .parameters([
            query(
                "wait",
                json!({ "const": "applied" }),
                "Answer when every pod that was there has applied it.",
            ),
            query("timeoutMs", json!({ "type": "integer", "maximum": 1500, "default": 1000 }), "With wait."),
        ])
        .answer(
            "200",
            "All that were there have applied it, or serve nothing that it is about",
            JSON,
            "Applied",
        )
        .answer("202", "It has its place: who listens hears it, or that it was lost", JSON, "Sent")
        .answer("207", "Not all have applied it in time", JSON, "Applied")
}

pub(super) fn schemas() -> Value {
    let names = json!({ "type": "array", "minItems": 1, "items": { "type": "string", "minLength": 1 } });
    let one = |name: &str, schema: &Value| json!({ "properties": { name: schema }, "required": [name] });
    let laggard = json!({
        "type": "object",
        "properties": {
            "pod": { "type": "string" },
            "process": { "type": "string" },
            "position": { "type": ["string", "null"], "description": "What it has applied." },
        },
        "required": ["pod", "process", "position"],
    });
    json!({
        "Ack": {
            "type": "object",
            "properties": {
                "stream": { "type": "integer", "description": "Of hello, where events were asked for with acks=true." },
                "id": { "type": "string", "description": "Of the last event that was applied; all before it were." },
            },
            "required": ["stream", "id"],
            "additionalProperties": false,
        },
        "Applied": {
            "type": "object",
            "properties": {
                "id": { "type": "string" },
                "position": { "type": "string" },
                "applied": { "type": "boolean" },
                "processes": { "type": "integer", "description": "Those that were there." },
                "laggards": { "type": "array", "items": laggard },
                "reason": { "type": "string" },
            },
            "required": ["id", "position", "applied"],
        },
        "Invalidation": {
            "type": "object",
            "oneOf": [
                one("keys", &names),
                one("prefix", &json!({ "type": "string", "minLength": 1 })),
                one("tags", &names),
            ],
        },
    })
}
