//! Requests that leave a mark, and what their answers say.

use std::time::Duration;

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value;
use tests::history::{Answer, Consistency, Document, Durability, Outcome};
use tests::http::{self, Request};

/// How a mark can be left without any condition.
pub(crate) const DIALECTS: [&str; 5] = ["merge-patch", "json-patch", "deep", "api-post", "api-patch"];

/// `op`'s mark on the session, in the words of `dialect`.
pub(crate) fn mark(id: &str, op: u64, dialect: &str) -> Request {
    let path = format!("/v1/sessions/{id}");
    let merge = format!(r#"{{"metadata":{}}}"#, marks(&[op]));
    match dialect {
        "merge-patch" => typed(Request::new("PATCH", path), "merge-patch").body(merge),
        "json-patch" => typed(Request::new("PATCH", path), "json-patch").body(patch(op, None)),
        "deep" => Request::new("PATCH", path).json(merge),
        "api-post" => {
            let body = format!(r#"{{"sessionId":"{id}","updates":{merge}}}"#);
            Request::new("POST", "/api/sessions").json(body)
        }
        "api-patch" => Request::new("PATCH", format!("/api/sessions?sessionId={id}")).json(merge),
        _ => panic!("no dialect {dialect}"),
    }
}

/// The same, if the last to leave a mark was `last`.
pub(crate) fn tested(id: &str, op: u64, last: u64) -> Request {
    typed(Request::new("PATCH", format!("/v1/sessions/{id}")), "json-patch").body(patch(op, Some(last)))
}

/// The whole session anew, with all the marks that it had.
pub(crate) fn put(id: &str, op: u64, mut seen: Vec<u64>, etag: &str) -> Request {
    seen.push(op);
    let body = format!(r#"{{"metadata":{}}}"#, marks(&seen));
    Request::new("PUT", format!("/v1/sessions/{id}")).json(body).header("if-match", etag)
}

pub(crate) fn create_as(id: &str, op: u64) -> Request {
    let body = format!(r#"{{"sessionId":"{id}","sessionData":{{"metadata":{}}}}}"#, marks(&[op]));
    Request::new("POST", "/api/sessions").json(body)
}

pub(crate) fn create(op: u64) -> Request {
    Request::new("POST", "/v1/sessions").json(format!(r#"{{"metadata":{}}}"#, marks(&[op])))
}

pub(crate) fn read(id: &str, consistency: Consistency) -> Request {
    let request = Request::new("GET", format!("/v1/sessions/{id}"));
    match consistency {
        Consistency::Default => request,
        Consistency::NoCache => request.header("cache-control", "no-cache"),
        Consistency::Strong => request.header("x-consistency", "strong"),
        Consistency::AtLeast(version) => request.header("if-version-at-least", version.to_string()),
    }
}

fn typed(request: Request, media: &str) -> Request {
    request.header("content-type", format!("application/{media}+json"))
}

fn marks(ops: &[u64]) -> String {
    let members: String = ops.iter().map(|op| format!(r#""w{op}":1,"#)).collect();
    format!(r#"{{{members}"last":{}}}"#, ops.last().unwrap())
}

fn patch(op: u64, last: Option<u64>) -> String {
    let test = last.map(|last| format!(r#"{{"op":"test","path":"/metadata/last","value":{last}}},"#));
    format!(
        r#"[{}{{"op":"add","path":"/metadata/w{op}","value":1}},{{"op":"add","path":"/metadata/last","value":{op}}}]"#,
        test.unwrap_or_default()
    )
}

/// What a call ended in, by its answer or the lack of one.
pub(crate) fn outcome(answer: Result<http::Answer, Lost>) -> Outcome {
    let answer = match answer {
        Ok(answer) => answer,
        Err(Lost::Unsent) => return Outcome::Fail,
        Err(Lost::Unanswered) => return Outcome::Unknown,
    };
    match (answer.status, answer.code().as_str()) {
        (200..300 | 304, _) => Outcome::Ok(shown(&answer)),
        (401 | 404 | 410, _) => Outcome::Absent(millis(&answer, "x-hyperpage-bound-ms").unwrap_or_default()),
        (503, "OUTCOME_UNKNOWN") => Outcome::Unknown,
        (503, "VERSION_NOT_REACHED") => Outcome::Behind,
        (403 | 409 | 412 | 429, _) => Outcome::Fail,
        (503, "SESSION_STORE_UNAVAILABLE") => Outcome::Fail,
        _ => Outcome::Strange(format!("{} {}", answer.status, answer.body)),
    }
}

/// Why there is no answer.
pub(crate) enum Lost {
    /// There was no connection to send it on.
    Unsent,
    Unanswered,
}

fn shown(answer: &http::Answer) -> Answer {
    Answer {
        etag: answer.header("etag").map(str::to_owned),
        version: answer.header("x-hyperpage-version").map(|ms| ms.parse().unwrap()),
        base: answer.header("x-base-etag").map(str::to_owned),
        document: document(&answer.body),
        durability: answer.header("x-hyperpage-durability").map(|word| match word {
            "local" => Durability::Local,
            "redis" => Durability::Redis,
            "replicated" => Durability::Replicated,
            other => panic!("no durability {other}"),
        }),
        bound: millis(answer, "x-hyperpage-bound-ms").unwrap_or_default(),
        stale: millis(answer, "x-hyperpage-stale-ms"),
    }
}

fn millis(answer: &http::Answer, header: &str) -> Option<Duration> {
    answer.header(header).map(|ms| Duration::from_millis(ms.parse().unwrap()))
}

/// The marks of a session's text, in their order.
pub(crate) fn document(text: &str) -> Option<Document> {
    #[derive(Deserialize)]
    struct Session {
        metadata: IndexMap<String, Value>,
    }
    let Session { metadata } = serde_json::from_str(text).ok()?;
    let mark = |name: &String| name.strip_prefix('w')?.parse().ok();
    let marks = metadata.keys().filter_map(mark).collect();
    Some(Document { marks, last: metadata.get("last").and_then(Value::as_u64) })
}
