//! The parts that operations refer to: documents, parameters and headers.

use serde_json::{Value, json};

use super::operation::reference;
use super::{bulk, coordination};
use crate::session::document::{MAX_BYTES, MAX_DEPTH};
use crate::session::id::MAX_LENGTH;

pub(super) fn schemas() -> Value {
    let mut schemas = requests();
    let all = schemas.as_object_mut().expect("an object");
    for more in [answers(), bulk::schemas()] {
        all.extend(more.as_object().expect("an object").clone());
    }
    all.extend(coordination::schemas());
    all.insert("Session".to_owned(), session());
    schemas
}

fn requests() -> Value {
    json!({
        "Change": {
            "type": "object",
            "description": "Members of a session. As application/json null is stored and arrays replace; as \
                            application/merge-patch+json (RFC 7396) null deletes. Nothing but lastActivity is a touch.",
        },
        "JsonPatch": {
            "type": "array",
            "maxItems": 256,
            "description": "RFC 6902; all of it or nothing.",
            "items": {
                "type": "object",
                "properties": {
                    "op": { "enum": ["add", "remove", "replace", "move", "copy", "test"] },
                    "path": { "type": "string" },
                    "from": { "type": "string" },
                    "value": true,
                },
                "required": ["op", "path"],
            },
        },
        "Save": {
            "type": "object",
            "properties": {
                "sessionId": { "type": "string" },
                "sessionData": { "$ref": "#/components/schemas/Session", "description": "Replaces the session." },
                "updates": { "description": "Wins over sessionData. By default the records preferences, uiState and \
                                             metadata merge field by field and everything else replaces.",
                             "anyOf": [reference("schemas", "Change"), reference("schemas", "JsonPatch")] },
            },
            "required": ["sessionId"],
        },
    })
}

fn answers() -> Value {
    let saved = json!({
        "type": "object",
        "properties": { "success": { "const": true }, "sessionId": { "type": "string" }, "message": { "type": "string" } },
        "required": ["success", "sessionId", "message"],
    });
    json!({
        "SessionAnswer": {
            "type": "object",
            "properties": {
                "success": { "const": true },
                "sessionId": { "type": "string" },
                "session": reference("schemas", "Session"),
                "message": { "const": "New session created" },
            },
            "required": ["success", "sessionId", "session"],
        },
        "Saved": saved,
        "Deleted": {
            "type": "object",
            "properties": { "success": { "const": true }, "message": { "type": "string" } },
            "required": ["success", "message"],
        },
        "Readiness": { "type": "object", "properties": { "status": { "type": "string" } }, "required": ["status"] },
        "Envelope": {
            "type": "object",
            "properties": {
                "success": { "const": false },
                "error": {
                    "type": "object",
                    "properties": { "code": { "type": "string" }, "message": { "type": "string" } },
                    "required": ["code", "message"],
                },
            },
            "required": ["success", "error"],
        },
        "Problem": {
            "type": "object",
            "properties": {
                "type": { "const": "about:blank" },
                "title": { "type": "string" },
                "status": { "type": "integer" },
                "detail": { "type": "string" },
                "code": { "type": "string" },
                "current": { "$ref": "#/components/schemas/Session",
                             "description": "412: the session as it is; ETag names it." },
            },
            "required": ["type", "title", "status", "detail", "code"],
        },
    })
}

fn session() -> Value {
    let text = json!({ "type": "string" });
    let time = json!({ "type": "string", "format": "date-time" });
    json!({
        "type": "object",
        "description": format!(
            "Any members, at most {MAX_BYTES} bytes and {MAX_DEPTH} levels. Bytes that nobody changes stay as they \
             are: order, unknown members, the spelling of numbers. lastActivity and metadata.updated are ours; \
             /api/sessions also keeps userId, user and metadata.created."
        ),
        "properties": {
            "userId": text,
            "user": { "type": "object" },
            "preferences": { "type": "object", "properties": {
                "theme": text, "timezone": text, "language": text, "refreshInterval": { "type": "number" } } },
            "uiState": { "type": "object", "properties": {
                "expandedWidgets": { "type": "array", "items": text },
                "lastVisitedTools": { "type": "array", "items": text },
                "dashboardLayout": text,
                "filterSettings": { "type": "object" } } },
            "toolConfigs": { "type": "object" },
            "authenticatedTools": { "type": "object" },
            "lastActivity": time,
            "metadata": { "type": "object", "properties": {
                "ipAddress": text, "userAgent": text, "created": time, "updated": time } },
        },
    })
}

pub(super) fn parameters() -> Value {
    let id = json!({ "type": "string", "pattern": "^[a-zA-Z0-9._-]+$", "maxLength": MAX_LENGTH });
    let tags = json!({ "type": "string" });
    json!({
        "SessionId": { "name": "id", "in": "path", "required": true, "schema": id },
        "UserId": { "name": "id", "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 },
                    "description": "What sessions have as userId." },
        "SessionIdQuery": { "name": "sessionId", "in": "query", "required": true, "schema": id },
        "Merge": { "name": "merge", "in": "query", "schema": { "enum": ["deep", "shallow"] },
                   "description": "How application/json is laid over the session, if not as the method does." },
        "Cookie": { "name": "hyperpage-session", "in": "cookie", "schema": id,
                    "description": "The session. Without it sessionId or session-id is read. With SESSION_COOKIE=on." },
        "Consistency": { "name": "X-Consistency", "in": "header", "schema": { "const": "strong" },
                         "description": "`strong`: replicas confirm the write first, where there are any." },
        "IdempotencyKey": {
            "name": "Idempotency-Key", "in": "header",
            "schema": { "type": "string", "pattern": "^[!-~]{1,255}$" },
            "description": "A request that comes again within 10 minutes is told what became of the first; of one \
                            session's keys the last 8 are known.",
        },
        "IfVersionAtLeast": {
            "name": "If-Version-At-Least", "in": "header", "schema": { "type": "integer", "minimum": 0 },
            "description": "Milliseconds: waits 250 ms for X-Hyperpage-Version to get there, then 503.",
        },
        "IfMatch": { "name": "If-Match", "in": "header", "schema": tags },
        "CacheControl": { "name": "Cache-Control", "in": "header", "schema": { "type": "string" },
                          "description": "no-cache: what Redis says now, and nothing from memory." },
        "IfNoneMatch": { "name": "If-None-Match", "in": "header", "schema": tags },
    })
}

pub(super) fn headers() -> Value {
    json!({
        "Content-Location": { "schema": { "type": "string" }, "description": "The session by its id." },
        "ETag": { "schema": { "type": "string" }, "description": "Quoted sha1 of the stored bytes." },
        "Idempotency-Replayed": {
            "schema": { "const": "true" },
            "description": "The request came before under this key, and this is what became of it then. The \
                            document goes with it only as long as it is the same.",
        },
        "Warning": { "schema": { "type": "string" }, "description": "Why it is 202 and not more." },
        "Location": { "schema": { "type": "string" } },
        "Set-Cookie": {
            "schema": { "type": "string" },
            "description": "With SESSION_COOKIE=on, the cookie hyperpage-session; it lives as long as the session.",
        },
        "Retry-After": { "schema": { "type": "integer" }, "description": "Seconds." },
        "X-Base-ETag": {
            "schema": { "type": "string" },
            "description": "The ETag of what the write was applied to; concurrent writes may be applied as one.",
        },
        "X-Hyperpage-Version": {
            "schema": { "type": "integer" },
            "description": "metadata.updated in milliseconds since 1970. A hint: ETags are exact.",
        },
        "X-Hyperpage-Bound-Ms": {
            "schema": { "type": "integer" },
            "description": "How much older than the request the answer may be, in milliseconds; 0: Redis was read.",
        },
        "X-Hyperpage-Durability": {
            "schema": { "enum": ["local", "redis", "replicated"] },
            "description": "What holds the write: `redis` has executed it, and with `replicated` replicas have \
                            confirmed it too; `local` is this pod's memory, from which it reaches Redis once at \
                            most. A stale read with `local` shows such changes, and has no ETag.",
        },
        "X-Hyperpage-Stale-Ms": {
            "schema": { "type": "integer" },
            "description": "Redis is away: the session is told as it was known so long ago.",
        },
    })
}
