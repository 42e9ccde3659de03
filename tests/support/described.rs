//! Holds every answer that a test gets to `openapi.json`: its status, its media type and its code.

use std::sync::LazyLock;

use serde_json::Value;

use crate::http::Answer;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../sidecar/openapi.json")).expect("openapi.json is JSON")
});

/// Nothing is said about paths that the document does not name, and 405 is for the methods it does not name.
pub fn described(method: &str, path: &str, answer: &Answer) -> Result<(), String> {
    let path = path.split('?').next().unwrap_or_default();
    let Some(item) = item(path) else { return Ok(()) };
    let method = if method == "HEAD" { "get" } else { &method.to_ascii_lowercase() };
    let refuse = |what: &str| {
        Err(format!("sidecar/openapi.json does not describe this {what} of {method} {path}: {answer:?}"))
    };
    let Some(operation) = item.get(method) else {
        return if answer.status == 405 { Ok(()) } else { refuse("method") };
    };
    let response = resolved(&operation["responses"][answer.status.to_string()]);
    if response.is_null() {
        return refuse("status");
    }
    if answer.body.is_empty() {
        return Ok(());
    }
    let content = &response["content"][answer.header("content-type").unwrap_or_default()];
    if content.is_null() {
        return refuse("content type");
    }
    match codes(&content["schema"]) {
        Some(codes) if codes.iter().all(|code| *code != answer.code()) => refuse("code"),
        Some(_) | None => Ok(()),
    }
}

fn item(path: &str) -> Option<&'static Value> {
    let paths = DOCUMENT["paths"].as_object()?;
    paths.iter().find(|(template, _)| matches(template, path)).map(|(_, item)| item)
}

fn matches(template: &str, path: &str) -> bool {
    let (template, path) = (template.split('/'), path.split('/'));
    let same =
        |(template, path): (&str, &str)| template == path || template.starts_with('{') && !path.is_empty();
    template.clone().count() == path.clone().count() && template.zip(path).all(same)
}

fn resolved(value: &'static Value) -> &'static Value {
    let pointer = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    pointer.and_then(|pointer| DOCUMENT.pointer(pointer)).unwrap_or(value)
}

/// The codes of a refusal; nothing else has any.
fn codes(schema: &Value) -> Option<&Vec<Value>> {
    let narrowed = &schema["allOf"][1]["properties"];
    let code = narrowed.get("code").or_else(|| narrowed["error"]["properties"].get("code"))?;
    code["enum"].as_array()
}
