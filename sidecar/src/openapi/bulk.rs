//! The paths of `/v1` that are about more than one session.

use serde_json::{Value, json};

use super::operation::{JSON, operation, reference};
use super::refusals::Surface;

const NDJSON: &str = "application/x-ndjson";

pub(super) fn batch_get() -> Value {
    json!({
        "post": operation(Surface::V1, "Read many sessions; each answers for itself", "batchGetSessions")
            .body(&[(JSON, "Ids")])
            .answer("200", "An answer for each id, in their order", JSON, "Sessions")
            .refusals(&[400, 408, 413, 415, 500, 503]),
    })
}

pub(super) fn count() -> Value {
    json!({
        "get": operation(Surface::V1, "Count the sessions of all pods", "countSessions")
            .parameters([json!({ "name": "Cache-Control", "in": "header", "schema": { "const": "no-cache" },
                                 "description": "A count that begins after the request, not one of the last minute." })])
            .answer("200", "The count, and how old it is", JSON, "Count")
            .refusals(&[500, 503]),
    })
}

pub(super) fn import() -> Value {
    let query = |name: &str, schema: Value| json!({ "name": name, "in": "query", "schema": schema });
    json!({
        "post": operation(Surface::V1, "Import sessions that were kept elsewhere", "importSessions")
            .parameters([
                query("dryRun", json!({ "type": "boolean", "default": false })),
                query("overwrite", json!({ "const": "older", "description": "By metadata.updated." })),
            ])
            .body(&[(NDJSON, "ImportLine")])
            .answer("200", "A line for each that is not blank; an answer that breaks off is not the whole", NDJSON,
                    "ImportResult")
            .refusals(&[400, 500, 503]),
    })
}

pub(super) fn of_user() -> Value {
    let query = |name: &str, schema: Value| json!({ "name": name, "in": "query", "schema": schema });
    json!({
        "parameters": [reference("parameters", "UserId")],
        "get": operation(Surface::V1, "List a user's sessions", "listUserSessions")
            .parameters([
                query("cursor", json!({ "type": "string", "description": "As the page before gave it." })),
                query("limit", json!({ "type": "integer", "minimum": 1, "maximum": 100, "default": 100 })),
                query("contents", json!({ "type": "boolean", "default": false })),
            ])
            .answer("200", "A page of them, in the order of their expiry", JSON, "UserSessions")
            .refusals(&[400, 500, 502, 503]),
        "delete": operation(Surface::V1, "Sign a user out everywhere", "signOutUser")
            .answer("200", "No session that was the user's by now is valid any more", JSON, "SignedOut")
            .refusals(&[400, 500, 502, 503]),
    })
}

pub(super) fn schemas() -> Value {
    let version = json!({ "type": ["integer", "null"], "description": "metadata.updated in milliseconds." });
    json!({
        "UserSessions": {
            "type": "object",
            "properties": {
                "sessions": { "type": "array", "maxItems": 100, "items": {
                    "type": "object",
                    "properties": {
                        "id": { "type": "string" },
                        "version": version,
                        "lastActivity": { "type": ["string", "null"] },
                        "session": reference("schemas", "Session"),
                    },
                    "required": ["id", "version", "lastActivity"],
                } },
                "cursor": { "type": ["string", "null"], "description": "null after the last page." },
            },
            "required": ["sessions", "cursor"],
        },
        "ImportLine": {
            "type": "object",
            "description": "An id (id, sessionId, or key as in Redis) and a document (session, data, or value as in \
                            Redis; an object or a string that holds one), at most 131072 bytes together. \
                            hyperpage_session_id alone asks whether the session exists.",
            "properties": {
                "id": { "type": "string" },
                "session": reference("schemas", "Session"),
                "ttlSeconds": { "type": "integer", "minimum": 1, "description": "At most, and by default, our own." },
            },
        },
        "ImportResult": {
            "type": "object",
            "properties": {
                "line": { "type": "integer" },
                "id": { "type": ["string", "null"] },
                "status": { "enum": ["created", "replaced", "exists", "missing", "conflict", "tombstoned", "invalid",
                                     "unavailable", "unknown"] },
                "reason": { "type": "string" },
            },
            "required": ["line", "id", "status"],
        },
        "Count": {
            "type": "object",
            "properties": {
                "count": { "type": "integer" },
                "exact": { "type": "boolean", "description": "false where one may have been counted twice." },
                "ageMs": { "type": "integer", "description": "Since the look through the keys began." },
            },
            "required": ["count", "exact", "ageMs"],
        },
        "SignedOut": {
            "type": "object",
            "description": "Sessions that are not deleted yet (failed, or not complete) end when they are next read.",
            "properties": {
                "deleted": { "type": "integer" },
                "failed": { "type": "integer" },
                "complete": { "type": "boolean" },
            },
            "required": ["deleted", "failed", "complete"],
        },
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
                    "version": version,
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
