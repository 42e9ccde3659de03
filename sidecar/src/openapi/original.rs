//! The paths of `/api/sessions`.

use serde_json::{Value, json};

use super::operation::{JOURNALED, JSON, JSON_PATCH, MERGE_PATCH, operation, reference};
use super::refusals::Surface;

const READ: [u16; 6] = [400, 401, 403, 500, 502, 503];
const WRITE: [u16; 9] = [400, 401, 403, 408, 409, 413, 500, 502, 503];

pub(super) fn sessions() -> Value {
    let merge = reference("parameters", "Merge");
    json!({
        "get": operation(Surface::Original, "Read a session, or create one", "readOrCreateSession")
            .parameters([
                json!({ "name": "sessionId", "in": "query", "description": "Without it a session is created.",
                        "schema": { "type": "string" } }),
                json!({ "name": "check", "in": "query", "schema": { "const": "ready" },
                        "description": "`ready` creates nothing and answers as /api/sessions/check does." }),
            ])
            .answer("200", "The session", JSON, "SessionAnswer")
            .headers("200", ["X-Hyperpage-Bound-Ms", "X-Hyperpage-Stale-Ms"])
            .answer("202", JOURNALED, JSON, "SessionAnswer")
            .refusals(&READ)
            .refusals(&[429]),
        "post": operation(Surface::Original, "Save a session", "saveSession")
            .parameters([merge.clone()])
            .body(&[(JSON, "Save"), (MERGE_PATCH, "Save"), (JSON_PATCH, "Save")])
            .answer("200", "Saved", JSON, "Saved")
            .answer("202", JOURNALED, JSON, "Saved")
            .refusals(&WRITE)
            .refusals(&[429]),
        "patch": operation(Surface::Original, "Merge into a session", "updateSession")
            .parameters([reference("parameters", "SessionIdQuery"), merge])
            .body(&[(JSON, "Change"), (MERGE_PATCH, "Change"), (JSON_PATCH, "JsonPatch")])
            .answer("200", "Updated", JSON, "Saved")
            .answer("202", JOURNALED, JSON, "Saved")
            .refusals(&WRITE),
        "delete": operation(Surface::Original, "Delete a session", "deleteSession")
            .parameters([reference("parameters", "SessionIdQuery")])
            .answer("200", "Deleted", JSON, "Deleted")
            .answer("202", JOURNALED, JSON, "Deleted")
            .refusals(&READ),
        "options": operation(Surface::Original, "List the methods in Allow", "sessionOptions").empty("204", "Allow names them")
            .refusals(&[500, 503]),
    })
}

pub(super) fn check() -> Value {
    json!({
        "get": operation(Surface::Original, "Whether this pod serves", "checkSessions")
            .answer("200", "Ready, also during an outage of Redis", JSON, "Readiness")
            .answer("503", "Draining", JSON, "Readiness"),
    })
}
