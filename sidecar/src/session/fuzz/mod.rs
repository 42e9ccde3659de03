//! What strangers may send, by the million: parsers that must not panic and must agree with somebody else's.
//!
//! Inputs are lines of the corpora beside this file, spoilt here and there; a line that once broke something is added
//! to them. `FUZZ_INPUTS=n` runs more than a million per target.

mod spoil;

use std::fmt::Debug;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::Query;
use axum::http::Uri;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use serde_json::Value;

use super::SessionId;
use super::document::{Invalid, MAX_BYTES, Node, Object, check_depth, compact};
use super::merge::Merge;
use super::patch::Patch;
use super::rule::{Change, Identity, Refusal, Stamp, update};
use crate::key::SessionKeys;

/// 2026-11-20T18:20:34.366Z
const NOW: i64 = 1_795_198_834_366;
const STORED: &str = r#"{"n":9007199254740993,"a":{"b":1.10},"list":[1,2.0,"x"],"userId":"u","metadata":{"created":"2026-01-01T00:00:00.000Z","updated":"2026-01-02T00:00:00.000Z"},"lastActivity":"2026-01-02T00:00:00.000Z","\u0075nknown":[{}]}"#;

/// Whether the input was good, for the count.
type Verdict = Result<bool, TestCaseError>;

fn fuzz(target: &str, inputs: impl Strategy<Value = Vec<u8>>, check: impl Fn(Vec<u8>) -> Verdict) {
    let cases = spoil::inputs();
    let good = AtomicU64::new(0);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 10_000, ..Config::default() };
    let ran = TestRunner::new(config).run(&inputs, |input| {
        good.fetch_add(u64::from(check(input)?), Ordering::Relaxed);
        Ok(())
    });
    // Past the harness, which keeps the words of a test that passes.
    let words = format!("fuzz {target}: {cases} inputs, {} of them good", good.into_inner());
    let _unwritable = writeln!(std::io::stderr(), "{words}");
    match ran {
        Ok(()) => {}
        Err(TestError::Fail(why, input)) => panic!("{why}, by {:?}", String::from_utf8_lossy(&input)),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}

fn ensure(holds: bool, what: impl Debug) -> Result<(), TestCaseError> {
    if holds { Ok(()) } else { Err(TestCaseError::fail(format!("{what:?}"))) }
}

#[test]
fn fuzz_ids_and_queries() {
    fuzz("ids and queries", spoil::lines(include_str!("ids.txt")), |bytes| {
        let Ok(uri) = Uri::try_from([b"/api/sessions?", bytes.as_slice()].concat()) else { return Ok(false) };
        let Ok(Query(parameters)) = Query::<Vec<(String, String)>>::try_from_uri(&uri) else {
            return Ok(false);
        };
        let Some((_, id)) = parameters.iter().find(|(name, _)| name == "sessionId") else { return Ok(false) };
        let Ok(parsed) = SessionId::parse(id) else { return Ok(false) };
        let text = parsed.as_str();
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        ensure(text == id.trim() && (1..=128).contains(&text.len()) && text.chars().all(allowed), text)?;
        let keys = SessionKeys::new(&parsed);
        ensure(
            keys.sibling == format!("{{{}}}:m", keys.session) && !keys.session.contains(['{', '}']),
            keys,
        )?;
        Ok(true)
    });
}

#[test]
fn fuzz_json_bodies() {
    fuzz("JSON bodies", spoil::lines(include_str!("bodies.txt")), |bytes| {
        let text = match compact(&bytes) {
            Ok(text) => text,
            Err(Invalid::TooDeep) => return Ok(false),
            Err(_) => {
                ensure(std::str::from_utf8(&bytes).is_err(), "refused as no UTF-8")?;
                return Ok(false);
            }
        };
        let node = Node::parse(&text);
        // Somebody else's parser reads the bytes as they came; it refuses lone surrogates, which JSON allows.
        let theirs = serde_json::from_slice::<Value>(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes));
        match (&node, theirs) {
            (Ok(_), Ok(theirs)) => {
                ensure(
                    serde_json::from_str::<Value>(&text).ok() == Some(theirs),
                    "compacting changed a value",
                )?;
            }
            (Err(_), Ok(_)) => ensure(false, "valid JSON was refused")?,
            (Ok(_), Err(error)) => {
                let text = error.to_string();
                ensure(
                    text.contains("surrogate")
                        || text.contains("number out of range")
                        || text.contains("hex escape"),
                    text,
                )?;
            }
            (Err(_), Err(_)) => return Ok(false),
        }
        if !node.is_ok_and(|node| node.is_object()) {
            return Ok(false);
        }
        for merge in [Merge::Deep, Merge::Shallow, Merge::Records, Merge::Rfc7396] {
            updated(&Change::Merge(merge, text.clone()))?;
        }
        updated(&Change::Replace(text))
    });
}

#[test]
fn fuzz_json_patches() {
    fuzz("JSON patches", spoil::lines(include_str!("patches.txt")), |bytes| {
        let Ok(text) = compact(&bytes) else { return Ok(false) };
        if Patch::parse(&text).is_err() {
            return Ok(false);
        }
        updated(&Change::Patch(text))
    });
}

/// A change is refused, or leaves a session with all that a change may not take away.
fn updated(change: &Change) -> Verdict {
    let after = match update(STORED, change, Identity::Kept, NOW, Stamp::After) {
        Ok(after) => after,
        Err(Refusal::Unreadable(invalid)) => {
            return Err(TestCaseError::fail(format!("the stored one: {invalid}")));
        }
        Err(Refusal::Invalid(_) | Refusal::Patch(_)) => return Ok(false),
    };
    ensure(after.len() <= MAX_BYTES && check_depth(&after).is_ok(), "beyond the limits")?;
    ensure(compact(after.as_bytes()).as_ref() == Ok(&after), &after)?;
    let session = Object::parse(&after).map_err(|invalid| TestCaseError::fail(invalid.to_string()))?;
    ensure(session.get("userId").map(Node::to_text).as_deref() == Some("\"u\""), &after)?;
    let metadata = session.get("metadata").map(Node::to_text).unwrap_or_default();
    ensure(metadata.contains(r#""created":"2026-01-01T00:00:00.000Z""#), &after)?;
    ensure(metadata.contains(r#""updated":"2026-11-20T18:20:34.366Z""#), &after)?;
    Ok(true)
}
