//! Writes `sidecar/openapi.json`, and holds it to what the router does.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use expect_test::expect_file;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use prometheus_client::registry::Registry;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::document::{MAX_BYTES, MAX_DEPTH};
use crate::app::App;
use crate::config;
use crate::redis::{Mode, Redis, Source, Url};

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";
const PROBLEM: &str = "application/problem+json";

fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Hyperpage sidecar",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Sessions for the app in the same pod, on localhost",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "http://127.0.0.1:4100" }],
        "tags": [
            { "name": "original", "description": "The original's contract, to the byte." },
            { "name": "v1", "description": "Typed, with ETags and problem details (RFC 9457)." },
        ],
        "paths": {
            "/api/sessions": api_sessions(),
            "/api/sessions/check": api_check(),
            "/v1/sessions": v1_sessions(),
            "/v1/sessions/{id}": v1_session(),
            "/v1/sessions/{id}/touch": v1_touch(),
        },
        "components": {
            "schemas": schemas(),
            "parameters": parameters(),
            "headers": headers(),
            "responses": responses(),
        },
    })
}

fn api_sessions() -> Value {
    let merge = reference("parameters", "Merge");
    json!({
        "get": operation("original", "Read a session, or create one", "readOrCreateSession")
            .parameters([
                json!({ "name": "sessionId", "in": "query", "description": "Without it a session is created.",
                        "schema": { "type": "string" } }),
                json!({ "name": "check", "in": "query", "schema": { "const": "ready" },
                        "description": "`ready` creates nothing and answers as /api/sessions/check does." }),
            ])
            .answer("200", "The session", JSON, "SessionAnswer")
            .refusals(["ApiBadRequest", "ApiNotFound", "ApiInternal", "ApiUnreadable", "ApiUnavailable"]),
        "post": operation("original", "Save a session", "saveSession")
            .parameters([merge.clone()])
            .body(&[(JSON, "Save"), (MERGE_PATCH, "Save"), (JSON_PATCH, "Save")])
            .answer("200", "Saved", JSON, "Saved")
            .refusals(API_WRITE)
            .refusals(["ApiForbidden"]),
        "patch": operation("original", "Merge into a session", "updateSession")
            .parameters([reference("parameters", "SessionIdQuery"), merge])
            .body(&[(JSON, "Change"), (MERGE_PATCH, "Change"), (JSON_PATCH, "JsonPatch")])
            .answer("200", "Updated", JSON, "Saved")
            .refusals(API_WRITE),
        "delete": operation("original", "Delete a session", "deleteSession")
            .parameters([reference("parameters", "SessionIdQuery")])
            .answer("200", "Deleted", JSON, "Deleted")
            .refusals(["ApiBadRequest", "ApiNotFound", "ApiInternal", "ApiUnreadable", "ApiUnavailable"]),
        "options": operation("original", "List the methods in Allow", "sessionOptions").empty("204", "Allow names them"),
    })
}

fn api_check() -> Value {
    json!({
        "get": operation("original", "Whether this pod serves", "checkSessions")
            .answer("200", "Ready, also during an outage of Redis", JSON, "Readiness")
            .answer("503", "Draining", JSON, "Readiness"),
    })
}

fn v1_sessions() -> Value {
    json!({
        "post": operation("v1", "Create a session", "createSession")
            .body(&[(JSON, "Change")])
            .written("201", "Created; Location names it")
            .headers("201", ["Location"])
            .refusals(["BadRequest", "SlowBody", "TooLarge", "UnsupportedMediaType", "Internal", "Unavailable"]),
    })
}

fn v1_session() -> Value {
    let (if_match, if_none_match) =
        (reference("parameters", "IfMatch"), reference("parameters", "IfNoneMatch"));
    json!({
        "parameters": [reference("parameters", "SessionId")],
        "get": operation("v1", "Read a session", "getSession")
            .parameters([if_match.clone(), if_none_match.clone()])
            .document("200", "The session")
            .empty("304", "The session is the one that If-None-Match names")
            .refusals(["BadRequest", "NotFound", "PreconditionFailed", "Internal", "Unreadable", "Unavailable"]),
        "put": operation("v1", "Replace a session", "replaceSession")
            .parameters([if_match.clone(), if_none_match.clone()])
            .body(&[(JSON, "Session")])
            .written("200", "Replaced")
            .refusals(V1_WRITE),
        "patch": operation("v1", "Change a session", "patchSession")
            .parameters([if_match.clone(), if_none_match.clone()])
            .body(&[(JSON, "Change"), (MERGE_PATCH, "Change"), (JSON_PATCH, "JsonPatch")])
            .written("200", "Changed")
            .refusals(V1_WRITE)
            .refusals(["PatchConflict"]),
        "delete": operation("v1", "Delete a session", "removeSession")
            .parameters([if_match, if_none_match])
            .empty("204", "Deleted")
            .refusals(["BadRequest", "NotFound", "PreconditionFailed", "Internal", "Unreadable", "Unavailable"]),
    })
}

fn v1_touch() -> Value {
    let (if_match, if_none_match) =
        (reference("parameters", "IfMatch"), reference("parameters", "IfNoneMatch"));
    json!({
        "parameters": [reference("parameters", "SessionId")],
        "post": operation("v1", "Renew a session's life; no byte of it changes", "touchSession")
            .parameters([if_match, if_none_match])
            .empty("204", "It lives for its whole time again, less at most 1 %")
            .headers("204", ["ETag", "X-Hyperpage-Durability"])
            .refusals(["BadRequest", "NotFound", "PreconditionFailed", "Internal", "Unreadable", "Unavailable"]),
    })
}

const API_WRITE: [&str; 8] = [
    "ApiBadRequest",
    "ApiNotFound",
    "ApiSlowBody",
    "ApiPatchConflict",
    "ApiTooLarge",
    "ApiInternal",
    "ApiUnreadable",
    "ApiUnavailable",
];
const V1_WRITE: [&str; 9] = [
    "BadRequest",
    "NotFound",
    "SlowBody",
    "PreconditionFailed",
    "TooLarge",
    "UnsupportedMediaType",
    "Internal",
    "Unreadable",
    "Unavailable",
];

/// Status, title, and the codes it comes with. `/api/sessions` tells each in the original's envelope.
const REFUSALS: [(&str, &str, &str, &[&str]); 12] = [
    (
        "BadRequest",
        "400",
        "The request is wrong",
        &["INVALID_SESSION_ID", "INVALID_JSON", "INVALID_SESSION_REQUEST"],
    ),
    ("Forbidden", "403", "Clients do not choose ids here", &["CLIENT_ID_REFUSED"]),
    ("NotFound", "404", "There is no such session", &["SESSION_NOT_FOUND"]),
    ("SlowBody", "408", "The body did not arrive within a second", &["REQUEST_TIMEOUT"]),
    ("PatchConflict", "409", "The JSON Patch does not fit the session", &["PATCH_CONFLICT"]),
    ("PreconditionFailed", "412", "The session is another, or gone", &["PRECONDITION_FAILED"]),
    ("TooLarge", "413", "The session would be too large", &["PAYLOAD_TOO_LARGE"]),
    ("UnsupportedMediaType", "415", "The content type means nothing here", &["UNSUPPORTED_MEDIA_TYPE"]),
    (
        "Internal",
        "500",
        "Something that should not happen",
        &[
            "INTERNAL_SERVER_ERROR",
            "SESSION_FETCH_ERROR",
            "SESSION_SAVE_ERROR",
            "SESSION_UPDATE_ERROR",
            "SESSION_DELETE_ERROR",
        ],
    ),
    ("Unreadable", "502", "The stored bytes are no session", &["SESSION_UNREADABLE"]),
    (
        "Unavailable",
        "503",
        "Redis did not answer; try again after Retry-After",
        &["SESSION_STORE_UNAVAILABLE", "OUTCOME_UNKNOWN"],
    ),
    ("ApiNotFound", "401", "There is no such session", &["SESSION_NOT_FOUND"]),
];

fn responses() -> Value {
    let mut responses = Map::new();
    for (name, status, title, codes) in REFUSALS {
        let mut response = json!({ "description": format!("{title}: {}", codes.join(", ")) });
        if status == "503" {
            response["headers"] = json!({ "Retry-After": { "schema": { "type": "integer" } } });
        }
        let with = |media: &str, schema: &str| {
            let mut response = response.clone();
            response["content"] = json!({ media: { "schema": reference("schemas", schema) } });
            response
        };
        if let Some(name) = name.strip_prefix("Api") {
            responses.insert(format!("Api{name}"), with(JSON, "Envelope"));
            continue;
        }
        responses.insert(name.to_owned(), with(PROBLEM, "Problem"));
        responses.entry(format!("Api{name}")).or_insert_with(|| with(JSON, "Envelope"));
    }
    // 404, 412 and 415 are of /v1 alone, 403 of /api/sessions.
    for name in ["Forbidden", "ApiPreconditionFailed", "ApiUnsupportedMediaType"] {
        responses.remove(name);
    }
    Value::Object(responses)
}

fn schemas() -> Value {
    let mut schemas = requests();
    let all = schemas.as_object_mut().expect("an object");
    all.extend(answers().as_object().expect("an object").clone());
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

fn parameters() -> Value {
    let id = json!({ "type": "string", "pattern": "^[a-zA-Z0-9._-]+$", "maxLength": 128 });
    let tags = json!({ "type": "string" });
    json!({
        "SessionId": { "name": "id", "in": "path", "required": true, "schema": id },
        "SessionIdQuery": { "name": "sessionId", "in": "query", "required": true, "schema": id },
        "Merge": { "name": "merge", "in": "query", "schema": { "enum": ["deep", "shallow"] },
                   "description": "How application/json is laid over the session, if not as the method does." },
        "IfMatch": { "name": "If-Match", "in": "header", "schema": tags },
        "IfNoneMatch": { "name": "If-None-Match", "in": "header", "schema": tags },
    })
}

fn headers() -> Value {
    json!({
        "ETag": { "schema": { "type": "string" }, "description": "Quoted sha1 of the stored bytes." },
        "Location": { "schema": { "type": "string" } },
        "X-Hyperpage-Durability": {
            "schema": { "enum": ["redis"] },
            "description": "What holds the write: `redis` has executed it.",
        },
    })
}

fn reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

/// One operation, built up part by part.
#[derive(serde::Serialize)]
#[serde(transparent)]
struct Operation(Value);

fn operation(tag: &str, summary: &str, id: &str) -> Operation {
    Operation(json!({ "tags": [tag], "summary": summary, "operationId": id, "responses": {} }))
}

impl Operation {
    fn parameters<const N: usize>(mut self, parameters: [Value; N]) -> Operation {
        self.0["parameters"] = parameters.into_iter().collect();
        self
    }

    fn body(mut self, content: &[(&str, &str)]) -> Operation {
        let content: Map<String, Value> = content
            .iter()
            .map(|(media, schema)| ((*media).to_owned(), json!({ "schema": reference("schemas", schema) })))
            .collect();
        self.0["requestBody"] = json!({ "content": content });
        self
    }

    fn answer(mut self, status: &str, description: &str, media: &str, schema: &str) -> Operation {
        let content = json!({ media: { "schema": reference("schemas", schema) } });
        self.0["responses"][status] = json!({ "description": description, "content": content });
        self
    }

    fn empty(mut self, status: &str, description: &str) -> Operation {
        self.0["responses"][status] = json!({ "description": description });
        self
    }

    fn headers<const N: usize>(mut self, status: &str, names: [&str; N]) -> Operation {
        for name in names {
            self.0["responses"][status]["headers"][name] = reference("headers", name);
        }
        self
    }

    fn document(self, status: &str, description: &str) -> Operation {
        self.answer(status, description, JSON, "Session").headers(status, ["ETag"])
    }

    fn written(self, status: &str, description: &str) -> Operation {
        self.document(status, description).headers(status, ["X-Hyperpage-Durability"])
    }

    fn refusals<const N: usize>(mut self, names: [&str; N]) -> Operation {
        for name in names {
            let own = REFUSALS.iter().find(|(known, ..)| *known == name);
            let (_, status, ..) = own
                .or_else(|| REFUSALS.iter().find(|(known, ..)| name.strip_prefix("Api") == Some(known)))
                .expect("a refusal that is described");
            self.0["responses"][*status] = reference("responses", name);
        }
        self
    }
}

#[test]
fn openapi_json_is_fresh() {
    let text = format!("{:#}\n", document());
    expect_file!["../../openapi.json"].assert_eq(&text);
}

#[test]
fn every_reference_in_openapi_json_leads_somewhere() {
    fn walk(root: &Value, node: &Value, seen: &mut Vec<String>) {
        match node {
            Value::Object(members) => {
                if let Some(target) = members.get("$ref").and_then(Value::as_str) {
                    let pointer = target.strip_prefix('#').expect("a local reference");
                    assert!(root.pointer(pointer).is_some(), "{target}");
                    seen.push(pointer.to_owned());
                }
                members.values().for_each(|value| walk(root, value, seen));
            }
            Value::Array(items) => items.iter().for_each(|item| walk(root, item, seen)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let root = document();
    let mut seen = Vec::new();
    walk(&root, &root, &mut seen);
    for kind in ["schemas", "parameters", "headers", "responses"] {
        for name in root["components"][kind].as_object().unwrap().keys() {
            let pointer = format!("/components/{kind}/{name}");
            assert!(seen.contains(&pointer), "{pointer} is used nowhere");
        }
    }
}

#[tokio::test]
async fn openapi_json_names_every_method_of_every_path_and_no_other() {
    let source = Source {
        mode: Mode::Standalone,
        url: Url::Given("redis://127.0.0.1:1".to_owned()),
        password_file: None,
        ca_file: None,
    };
    let mut registry = Registry::default();
    // Nobody runs the supervisor, so Redis is never there: what answers is told from what does not exist.
    let stop = CancellationToken::new();
    let (redis, _supervisor) = Redis::connect(source, &mut registry, stop.clone());
    let settings = config::Session { ttl_seconds: 60, allow_client_ids: false, allow_identity_writes: false };
    let (app, _metrics, _sessions) =
        App::new(redis, &settings, crate::session::Rules::default(), registry, stop);
    let service = TowerToHyperService::new(crate::router::router(app));
    for (path, described) in document()["paths"].as_object().unwrap() {
        for method in ["get", "post", "put", "patch", "delete", "options"] {
            let request =
                Request::builder().method(method.to_uppercase().as_str()).uri(path.replace("{id}", "x"));
            let response = service.call(request.body(Body::from("{}")).unwrap()).await.unwrap();
            let answered = response.status() != StatusCode::METHOD_NOT_ALLOWED;
            assert_eq!(answered, described.get(method).is_some(), "{method} {path}: {}", response.status());
            assert_ne!(response.status(), StatusCode::NOT_FOUND, "{method} {path}");
        }
    }
}
