//! Messages.

use super::barrier::waiting;
use super::{EVENTS, JSON, Value, coordination, json};

pub(super) fn paths() -> Value {
    let last = json!({
        "name": "Last-Event-ID", "in": "header", "schema": { "type": "string" },
        "description": "The id of the event that the client had last: what came after it comes first, or resync.",
    });
    let acks = json!({
        "name": "acks", "in": "query", "schema": { "type": "boolean", "default": false },
        "description": "The app will say what it has applied: hello has the stream's number, and lease says until when \
                        the app may serve what messages can take away.",
    });
    json!({
        "/v1/events": {
            "get": coordination("Hear what happens, as server-sent events", "getEvents")
                .parameters([acks, last])
                .answer("200", "Events, as long as both sides live; a comment every few seconds", EVENTS, "Events")
                .refusals(&[400]),
        },
        "/v1/messages": {
            "post": waiting(coordination("Tell the other pods' apps something, or one of them", "sendMessage"))
                .body(&[(JSON, "Message")])
                .refusals(&[400, 408, 412, 413, 415, 429]),
        },
    })
}

pub(super) fn schemas() -> Value {
    let position =
        json!({ "type": "string", "description": "n-seq: of the same n, one more for each message." });
    json!({
        "Events": {
            "type": "string",
            "description": "hello: {pod, process, stream?}. message: as sent, with id, timestamp and sourcePod; its event id is \
                            its position; unauthenticated where it came from a pod of the original, without a position. \
                            gap: {from, to, reason}, the messages between them are lost. resync: {to, reason}, whatever \
                            was derived from messages is to be made anew. leader: {leaderId, term, isLeader, \
                            validForMs}, at each change. pods: {change, pod, process}. lease: {validMs, \
                            untilMonotonicMs}. An id without an event is the position of what is not for this pod.",
        },
        "Message": {
            "type": "object",
            "properties": {
                "type": { "enum": ["cache_invalidate", "job_coordination", "rate_limit_sync", "broadcast"] },
                "payload": { "description": "Any JSON; all of the message at most 65536 bytes." },
                "priority": { "enum": ["low", "normal", "high"], "default": "normal" },
                "term": { "type": "integer", "description": "Only while this pod leads under this term; otherwise 412." },
                "target": { "type": "string", "description": "A pod's name; without one it is for all, the sender included." },
            },
            "required": ["type", "payload"],
            "additionalProperties": false,
        },
        "Sent": {
            "type": "object",
            "properties": { "id": { "type": "string" }, "position": position },
            "required": ["id", "position"],
        },
    })
}
