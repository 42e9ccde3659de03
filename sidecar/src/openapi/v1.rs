//! The paths of `/v1`.

use serde_json::{Value, json};

use super::operation::{JSON, JSON_PATCH, MERGE_PATCH, operation, reference};
use super::refusals::Surface;

pub(super) const READ: [u16; 7] = [400, 403, 404, 412, 500, 502, 503];
pub(super) const WRITE: [u16; 11] = [400, 403, 404, 408, 412, 413, 415, 422, 500, 502, 503];

pub(super) fn sessions() -> Value {
    json!({
        "post": operation(Surface::V1, "Create a session", "createSession")
            .parameters(["Merge", "Consistency", "IdempotencyKey"].map(|name| reference("parameters", name)))
            .body(&[(JSON, "Change")])
            .written("201", "Created; Location names it")
            .headers("201", ["Location", "Set-Cookie"])
            .keyed("201")
            .unconfirmed("201")
            .refusals(&[400, 408, 413, 415, 422, 429, 500, 502, 503]),
    })
}

pub(super) fn session() -> Value {
    let (if_match, if_none_match) =
        (reference("parameters", "IfMatch"), reference("parameters", "IfNoneMatch"));
    let (consistency, key) =
        (reference("parameters", "Consistency"), reference("parameters", "IdempotencyKey"));
    json!({
        "parameters": [reference("parameters", "SessionId")],
        "get": operation(Surface::V1, "Read a session", "getSession")
            .parameters([
                if_match.clone(),
                if_none_match.clone(),
                reference("parameters", "IfVersionAtLeast"),
                reference("parameters", "CacheControl"),
            ])
            .document("200", "The session")
            .headers("200", ["X-Hyperpage-Bound-Ms", "X-Hyperpage-Stale-Ms"])
            .empty("304", "The session is the one that If-None-Match names")
            .headers("304", ["X-Hyperpage-Bound-Ms"])
            .refusals(&READ),
        "put": operation(Surface::V1, "Replace a session", "replaceSession")
            .parameters([if_match.clone(), if_none_match.clone(), consistency.clone(), key.clone()])
            .body(&[(JSON, "Session")])
            .written("200", "Replaced")
            .headers("200", ["X-Base-ETag"])
            .keyed("200")
            .unconfirmed("200")
            .refusals(&WRITE),
        "patch": operation(Surface::V1, "Change a session", "patchSession")
            .parameters([if_match.clone(), if_none_match.clone(), consistency.clone(), key.clone()])
            .parameters([reference("parameters", "Merge")])
            .body(&[(JSON, "Change"), (MERGE_PATCH, "Change"), (JSON_PATCH, "JsonPatch")])
            .written("200", "Changed")
            .headers("200", ["X-Base-ETag"])
            .keyed("200")
            .unconfirmed("200")
            .refusals(&WRITE)
            .refusals(&[409]),
        "delete": operation(Surface::V1, "Delete a session", "removeSession")
            .parameters([if_match, if_none_match, consistency, key])
            .empty("204", "Deleted")
            .headers("204", ["X-Hyperpage-Durability"])
            .keyed("204")
            .unconfirmed("204")
            .refusals(&READ)
            .refusals(&[422]),
    })
}

pub(super) fn touch() -> Value {
    let (if_match, if_none_match) =
        (reference("parameters", "IfMatch"), reference("parameters", "IfNoneMatch"));
    json!({
        "parameters": [reference("parameters", "SessionId")],
        "post": operation(Surface::V1, "Renew a session's life; no byte of it changes", "touchSession")
            .parameters([if_match, if_none_match, reference("parameters", "Consistency")])
            .empty("204", "It lives for its whole time again, less at most 1 %")
            .headers("204", ["ETag", "X-Hyperpage-Version", "X-Hyperpage-Durability"])
            .unconfirmed("204")
            .refusals(&READ),
    })
}
