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
            .document("200", "The session")
            .headers("200", ["Content-Location"])
            .empty("304", "The session is the one that If-None-Match names")
            .refusals(&READ),
        "patch": conditional("Change the session that the cookie names", "patchOwnSession")
            .body(&[(JSON, "Change"), (MERGE_PATCH, "Change"), (JSON_PATCH, "JsonPatch")])
            .written("200", "Changed")
            .headers("200", RENEWED)
            .refusals(&WRITE)
            .refusals(&[409]),
        "delete": conditional("Delete the session that the cookie names", "removeOwnSession")
            .empty("204", "Deleted")
            .headers("204", ["Set-Cookie"])
            .refusals(&READ),
    })
}

pub(super) fn touch() -> Value {
    json!({
        "parameters": [reference("parameters", "Cookie")],
        "post": conditional("Renew the life of the session that the cookie names", "touchOwnSession")
            .empty("204", "It lives for its whole time again, less at most 1 %")
            .headers("204", ["ETag", "X-Hyperpage-Durability"])
            .headers("204", RENEWED)
            .refusals(&READ),
    })
}

fn conditional(summary: &str, id: &str) -> Operation {
    let conditions = [reference("parameters", "IfMatch"), reference("parameters", "IfNoneMatch")];
    operation(Surface::V1, summary, id).parameters(conditions)
}
