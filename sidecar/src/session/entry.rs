//! One line of an import: which session it is, and what is in it. Pure.

use super::document::{Invalid, MAX_BYTES, Node, Object, compact};
use super::{SessionId, rule};

/// Where the original's page keeps its session's id in the browser.
const IN_THE_BROWSER: &str = "hyperpage_session_id";
const IDS: [&str; 4] = ["id", "sessionId", "key", IN_THE_BROWSER];
const DOCUMENTS: [&str; 4] = ["session", "data", "sessionData", "value"];
/// What a dump of Redis has before the id.
const KEY: &str = "hyperpage:session:";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: SessionId,
    /// Nothing but the id is known where the browser kept no more.
    pub(super) text: Option<String>,
    pub(super) life_ms: Option<u64>,
}

impl Entry {
    /// Whatever is beside the id, the document and `ttlSeconds` is of no importance here.
    pub(super) fn parse(line: &[u8]) -> Result<Entry, String> {
        let line = compact(line).map_err(|invalid| invalid.to_string())?;
        let line = Object::parse(&line).map_err(|invalid| invalid.to_string())?;
        let id = IDS.iter().find_map(|name| line.get(name)).ok_or("there is no id or sessionId")?;
        let id = id.as_string().ok_or("the id must be a string")?;
        let id = SessionId::parse(id.strip_prefix(KEY).unwrap_or(&id)).map_err(|error| error.to_string())?;
        let text = match DOCUMENTS.iter().find_map(|name| line.get(name)) {
            None if line.get(IN_THE_BROWSER).is_some() => None,
            None => return Err("there is no session or data".to_owned()),
            Some(document) => Some(document_text(document)?),
        };
        Ok(Entry { id, text, life_ms: life_ms(line.get("ttlSeconds"))? })
    }
}

/// As Redis had it, or as a string that holds it.
fn document_text(document: &Node<'_>) -> Result<String, String> {
    let text = match document.as_string() {
        Some(text) => compact(text.as_bytes()).map_err(|invalid| invalid.to_string())?,
        None => document.to_text(),
    };
    check(&text).map_err(|invalid| invalid.to_string())?;
    Ok(text)
}

fn check(text: &str) -> Result<(), Invalid> {
    let root = Node::parse(text)?;
    if !root.is_object() {
        return Err(Invalid::NotObject("the session"));
    }
    if text.len() > MAX_BYTES {
        return Err(Invalid::TooLarge);
    }
    let mut session = root.into_object()?;
    time(&session, "lastActivity")?;
    if let Some(metadata) = session.get_mut("metadata") {
        if !metadata.is_object() {
            return Err(Invalid::NotObject("metadata"));
        }
        let metadata = metadata.object()?;
        time(metadata, "created")?;
        time(metadata, "updated")?;
    }
    Ok(())
}

fn time(object: &Object<'_>, name: &'static str) -> Result<(), Invalid> {
    let Some(time) = object.get(name) else { return Ok(()) };
    let known = time.as_string().and_then(|time| rule::milliseconds(&time)).is_some();
    if known { Ok(()) } else { Err(Invalid::Syntax(format!("{name} must be a time as in ISO 8601"))) }
}

fn life_ms(seconds: Option<&Node<'_>>) -> Result<Option<u64>, String> {
    let Some(seconds) = seconds.filter(|seconds| !seconds.is_null()) else { return Ok(None) };
    let seconds = seconds.to_text().parse::<u32>().ok().filter(|seconds| *seconds > 0);
    let seconds = seconds.ok_or("ttlSeconds must be a whole number above 0")?;
    Ok(Some(u64::from(seconds) * 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_original_exports_and_what_a_browser_kept_is_understood() {
        let entry = |id: &str, text: Option<&str>, life_ms| {
            Ok(Entry { id: SessionId::parse(id).unwrap(), text: text.map(str::to_owned), life_ms })
        };
        let session = r#"{"a":9007199254740993,"metadata":{"created":"2026-01-01T00:00:00.000Z"}}"#;
        let quoted = serde_json::Value::from(session).to_string();
        for (line, expect) in [
            (format!(r#"{{"id":"x","session":{session}}}"#), entry("x", Some(session), None)),
            (
                format!(r#"{{"sessionId":"x","data":{session},"ttlSeconds":60}}"#),
                entry("x", Some(session), Some(60_000)),
            ),
            (
                format!(r#" {{ "success":true, "sessionId":"x", "session":{session} }} "#),
                entry("x", Some(session), None),
            ),
            (
                format!(r#"{{"key":"hyperpage:session:x","value":{quoted},"ttlSeconds":null}}"#),
                entry("x", Some(session), None),
            ),
            (r#"{"hyperpage_session_id":"x"}"#.to_owned(), entry("x", None, None)),
        ] {
            assert_eq!(Entry::parse(line.as_bytes()), expect, "{line}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said() {
        let deep = format!(r#"{{"id":"x","session":{}{}}}"#, r#"{"a":"#.repeat(40), "}".repeat(40));
        let large = format!(r#"{{"id":"x","session":{{"a":"{}"}}}}"#, "x".repeat(MAX_BYTES));
        for (line, expect) in [
            ("{", "not valid JSON"),
            ("[]", "not valid JSON"),
            ("\u{0}", "not valid JSON"),
            (r#"{"session":{}}"#, "no id"),
            (r#"{"id":7,"session":{}}"#, "a string"),
            (r#"{"id":"a b","session":{}}"#, "Invalid sessionId"),
            (r#"{"id":"x"}"#, "no session"),
            (r#"{"id":"x","session":[]}"#, "must be a JSON object"),
            (r#"{"id":"x","session":"no"}"#, "not valid JSON"),
            (r#"{"id":"x","session":{"metadata":1}}"#, "metadata must be a JSON object"),
            (r#"{"id":"x","session":{"metadata":{"created":"soon"}}}"#, "created must be a time"),
            (r#"{"id":"x","session":{"metadata":{"updated":7}}}"#, "updated must be a time"),
            (r#"{"id":"x","session":{"lastActivity":null}}"#, "lastActivity must be a time"),
            (r#"{"id":"x","session":{},"ttlSeconds":0}"#, "ttlSeconds"),
            (r#"{"id":"x","session":{},"ttlSeconds":1.5}"#, "ttlSeconds"),
            (&deep, "nested deeper"),
            (&large, "larger than"),
        ] {
            let error = Entry::parse(line.as_bytes()).unwrap_err();
            assert!(error.contains(expect), "{}: {error}", &line[..line.len().min(80)]);
        }
        assert!(Entry::parse(b"{\"id\":\"\xff\"}").is_err());
    }
}
