//! Who leads.

use super::{EVENTS, JSON, Value, coordination, json};

pub(super) fn paths() -> Value {
    json!({
        "/v1/leader": {
            "get": coordination("Ask who leads, wait until another does, or hear of each", "getLeader")
                .parameters([
                    json!({ "name": "term", "in": "query", "schema": { "type": "integer", "minimum": 0 },
                            "description": "The term that is known." }),
                    json!({ "name": "wait", "in": "query", "schema": { "type": "integer", "minimum": 0, "maximum": 60 },
                            "description": "Seconds: answers when a leader of another term is known than `term`, and as it is when the time is over." }),
                    super::reference("parameters", "IfNoneMatch"),
                ])
                .answer("200", "As far as this pod knows; with Accept: text/event-stream each change as an event `leader`", JSON, "Leader")
                .also("200", EVENTS, "Leaders")
                .empty("304", "The term, and whether anybody leads, are as If-None-Match has them")
                .refusals(&[400]),
        },
        "/v1/leader/coordinate": {
            "post": coordination("As the leader, tell all pods' apps to do something", "coordinate")
                .body(&[(JSON, "Coordinate")])
                .answer("202", "It has its place as a message of the type job_coordination, and this pod led then", JSON, "Coordinated")
                .refusals(&[400, 408, 409, 412, 413, 415, 429]),
        },
    })
}

pub(super) fn schemas() -> Value {
    json!({
        "Leader": {
            "type": "object",
            "properties": {
                "leaderId": { "type": ["string", "null"], "description": "The pod's name; null while nobody leads." },
                "term": { "type": "integer", "description": "The highest that is known. Every effect of a leader bears its term, and whoever has seen a higher one refuses it." },
                "isLeader": { "type": "boolean", "description": "Whether it is this pod." },
                "validForMs": { "type": "integer", "description": "Unless it is renewed. A leader asks before each act." },
            },
            "required": ["leaderId", "term", "isLeader", "validForMs"],
        },
        "Coordinate": {
            "type": "object",
            "properties": {
                "operation": { "enum": ["cache_warmup", "bg_job_balance", "cleanup"] },
                "data": { "description": "Any JSON." },
                "term": { "type": "integer", "description": "The one under which the app began; 412 if it is another by now." },
            },
            "required": ["operation"],
            "additionalProperties": false,
        },
        "Coordinated": {
            "type": "object",
            "properties": { "id": { "type": "string" }, "position": { "type": "string" }, "term": { "type": "integer" } },
            "required": ["id", "position", "term"],
        },
        "Leaders": { "type": "string", "description": "Each event's data is a Leader." },
    })
}
