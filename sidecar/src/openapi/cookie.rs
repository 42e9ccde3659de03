//! The paths of `/v1/session`.

use serde_json::{Value, json};

use super::operation::{JSON, JSON_PATCH, MERGE_PATCH, Operation, operation, reference};
use super::refusals::Surface;
use super::v1::{READ, WRITE};

const RENEWED: [&str; 2] = ["Content-Location", "Set-Cookie"];

pub(super) fn session() -> Value {
    json!({
        "parameters": [reference("parameters", "Cookie")],
        "get": conditional("Read the session that the cookie names", "getOwnSession")
            .parameters(["IfVersionAtLeast", "CacheControl"].map(parameter))
            .document("200", "The session")
            .headers("200", ["Content-Location", "X-Hyperpage-Bound-Ms", "X-Hyperpage-Stale-Ms"])
            .empty("304", "The session is the one that If-None-Match names")
            .refusals(&READ),
        "patch": conditional("Change the session that the cookie names", "patchOwnSession")
            .parameters(["Merge", "Consistency", "IdempotencyKey"].map(parameter))
            .body(&[(JSON, "Change"), (MERGE_PATCH, "Change"), (JSON_PATCH, "JsonPatch")])
            .written("200", "Changed")
            .headers("200", ["X-Base-ETag"])
            .headers("200", RENEWED)
            .keyed("200")
            .unconfirmed("200")
            .refusals(&WRITE)
            .refusals(&[409]),
        "delete": conditional("Delete the session that the cookie names", "removeOwnSession")
            .parameters(["Consistency", "IdempotencyKey"].map(parameter))
            .empty("204", "Deleted")
            .headers("204", ["X-Hyperpage-Durability", "Set-Cookie"])
            .keyed("204")
            .unconfirmed("204")
            .refusals(&READ)
            .refusals(&[422]),
    })
}

pub(super) fn touch() -> Value {
    json!({
        "parameters": [reference("parameters", "Cookie")],
        "post": conditional("Renew the life of the session that the cookie names", "touchOwnSession")
            .parameters([parameter("Consistency")])
            .empty("204", "It lives for its whole time again, less at most 1 %")
            .headers("204", ["ETag", "X-Hyperpage-Version", "X-Hyperpage-Durability"])
            .headers("204", RENEWED)
            .unconfirmed("204")
            .refusals(&READ),
    })
}

fn conditional(summary: &str, id: &str) -> Operation {
    operation(Surface::V1, summary, id).parameters(["IfMatch", "IfNoneMatch"].map(parameter))
}

fn parameter(name: &str) -> Value {
    reference("parameters", name)
}
