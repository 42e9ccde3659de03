//! What becomes of a session's bytes when a client creates or changes it. Pure: the clock comes in.

use jiff::Timestamp;

use super::document::{Invalid, MAX_BYTES, Node, Object, check_depth, peek};
use super::merge::Merge;
use super::patch::{Patch, PatchError};

/// What a client wants of an existing session. The texts are compact and within the limits of depth.
#[derive(Debug)]
pub(crate) enum Change {
    Merge(Merge, String),
    Patch(String),
    Replace(String),
}

/// Who the session belongs to: `userId`, `user` and `metadata.created`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity {
    /// Whatever the client sends for them, they stay as they are.
    Kept,
    Writable,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The stored bytes are no session.
    #[error("the stored session is unreadable: {0}")]
    Unreadable(Invalid),
    #[error(transparent)]
    Invalid(Invalid),
    #[error(transparent)]
    Patch(PatchError),
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Refusal {
        Refusal::Invalid(invalid)
    }
}

impl From<PatchError> for Refusal {
    fn from(error: PatchError) -> Refusal {
        match error {
            PatchError::Document(invalid) => Refusal::Invalid(invalid),
            PatchError::Malformed { .. } | PatchError::Unfit { .. } => Refusal::Patch(error),
        }
    }
}

/// Where a new session's client says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) ip_address: String,
    pub(crate) user_agent: String,
}

impl Change {
    /// In bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Change::Merge(_, text) | Change::Patch(text) | Change::Replace(text) => text.len(),
        }
    }

    /// The change that only says "I am still here": it renews the life of the session and changes no byte.
    pub(crate) fn is_touch(&self) -> Result<bool, Invalid> {
        match self {
            Change::Merge(_, text) => Ok(Object::parse(text)?.names().all(|name| name == "lastActivity")),
            Change::Patch(_) | Change::Replace(_) => Ok(false),
        }
    }
}

/// The bytes of a new session: the original's defaults in the original's order, and over them what is given.
pub(crate) fn create(
    origin: &Origin,
    fields: Option<(&Change, Identity)>,
    now_ms: i64,
) -> Result<String, Refusal> {
    let now = timestamp(now_ms);
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let defaults = format!(
        concat!(
            r#"{{"preferences":{{"theme":"system","timezone":"UTC","language":"en","refreshInterval":300000}},"#,
            r#""uiState":{{"expandedWidgets":[],"lastVisitedTools":[],"dashboardLayout":"default","#,
            r#""filterSettings":{{}}}},"toolConfigs":{{}},"authenticatedTools":{{}},"lastActivity":"{now}","#,
            r#""metadata":{{"ipAddress":{ip},"userAgent":{agent},"created":"{now}","updated":"{now}"}}}}"#,
        ),
        now = now,
        ip = quoted(&origin.ip_address),
        agent = quoted(&origin.user_agent),
    );
    match fields {
        None => Ok(defaults),
        Some((change, identity)) => applied(&defaults, change, identity, now_ms, Stamp::New),
    }
}

/// The bytes after `change`, or why they stay.
pub(crate) fn update(
    stored: &str,
    change: &Change,
    identity: Identity,
    now_ms: i64,
    stamp: Stamp,
) -> Result<String, Refusal> {
    applied(stored, change, identity, now_ms, stamp)
}

/// Which version the new bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stamp {
    New,
    /// A version is later than the one before it, whatever the clock says.
    After,
    /// Of one write with the bytes before it.
    With,
}

fn applied(
    stored: &str,
    change: &Change,
    identity: Identity,
    now_ms: i64,
    stamp: Stamp,
) -> Result<String, Refusal> {
    let mut before = Object::parse(stored).map_err(Refusal::Unreadable)?;
    let had_metadata = before.get("metadata").is_some_and(Node::is_object);
    let kept = Kept::of(&mut before).map_err(Refusal::Unreadable)?;
    let version = match stamp {
        Stamp::New => now_ms,
        Stamp::With => kept.updated_ms.unwrap_or(now_ms),
        Stamp::After => kept.updated_ms.map_or(now_ms, |previous| now_ms.max(previous.saturating_add(1))),
    };
    let mut after = match change {
        Change::Merge(merge, text) => {
            merge.apply(&mut before, object(text)?)?;
            before
        }
        Change::Patch(text) => Patch::parse(text)?.apply(before)?,
        Change::Replace(text) => object(text)?,
    };
    if after.get("metadata").is_some_and(|metadata| !metadata.is_object()) {
        if had_metadata {
            return Err(Invalid::NotObject("metadata").into());
        }
        after.set("metadata", Node::Object(Object::default()));
    }
    kept.put_back(&mut after, identity, &timestamp(version))?;
    let text = after.into_text();
    if text.len() > MAX_BYTES {
        return Err(Invalid::TooLarge.into());
    }
    check_depth(&text)?;
    Ok(text)
}

fn object(text: &str) -> Result<Object<'_>, Invalid> {
    let root = Node::parse(text)?;
    if root.is_object() { root.into_object() } else { Err(Invalid::NotObject("the body")) }
}

/// What a change may not take away.
struct Kept<'a> {
    user_id: Option<Node<'a>>,
    user: Option<Node<'a>>,
    created: Option<Node<'a>>,
    updated_ms: Option<i64>,
}

impl<'a> Kept<'a> {
    fn of(session: &mut Object<'a>) -> Result<Kept<'a>, Invalid> {
        let (user_id, user) = (session.get("userId").cloned(), session.get("user").cloned());
        let (mut created, mut updated_ms) = (None, None);
        if let Some(metadata) = session.get_mut("metadata").filter(|metadata| metadata.is_object()) {
            let metadata = metadata.object()?;
            created = metadata.get("created").cloned();
            updated_ms =
                metadata.get("updated").and_then(Node::as_string).and_then(|text| milliseconds(&text));
        }
        Ok(Kept { user_id, user, created, updated_ms })
    }

    fn put_back(self, session: &mut Object<'a>, identity: Identity, version: &str) -> Result<(), Invalid> {
        let Kept { user_id, user, created, updated_ms: _ } = self;
        if identity == Identity::Kept {
            put_back(session, "userId", user_id);
            put_back(session, "user", user);
        }
        session.set("lastActivity", Node::string(version));
        if session.get("metadata").is_none() {
            session.set("metadata", Node::Object(Object::default()));
        }
        let Some(metadata) = session.get_mut("metadata") else { return Ok(()) };
        let metadata = metadata.object()?;
        if identity == Identity::Kept || metadata.get("created").is_none() {
            put_back(metadata, "created", created);
        }
        metadata.set("updated", Node::string(version));
        Ok(())
    }
}

fn put_back<'a>(object: &mut Object<'a>, name: &str, value: Option<Node<'a>>) {
    match value {
        Some(value) => object.set(name, value),
        None => drop(object.remove(name)),
    }
}

/// ISO 8601 with milliseconds and `Z`, as JavaScript writes dates.
pub(crate) fn timestamp(ms: i64) -> String {
    let timestamp = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX);
    timestamp.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// A time of `metadata`, in milliseconds.
pub(crate) fn metadata_time(text: &str, name: &str) -> Option<i64> {
    time_in(peek(text, "metadata").ok()??, name)
}

pub(crate) fn time_in(metadata: &str, name: &str) -> Option<i64> {
    milliseconds(peek(metadata, name).ok()??.trim_matches('"'))
}

pub(crate) fn milliseconds(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-20T18:20:34.366Z
    const NOW: i64 = 1_795_198_834_366;
    const STORED: &str = r#"{"n":9007199254740993,"userId":"u","metadata":{"created":"2026-01-01T00:00:00.000Z","updated":"2026-01-02T00:00:00.000Z"},"lastActivity":"2026-01-02T00:00:00.000Z"}"#;

    fn origin() -> Origin {
        Origin { ip_address: "1.2.3.4".to_owned(), user_agent: "U\"A".to_owned() }
    }

    fn merge(text: &str) -> Change {
        Change::Merge(Merge::Deep, text.to_owned())
    }

    #[test]
    fn a_new_session_has_the_originals_bytes() {
        let expect = r#"{"preferences":{"theme":"system","timezone":"UTC","language":"en","refreshInterval":300000},"uiState":{"expandedWidgets":[],"lastVisitedTools":[],"dashboardLayout":"default","filterSettings":{}},"toolConfigs":{},"authenticatedTools":{},"lastActivity":"2026-11-20T18:20:34.366Z","metadata":{"ipAddress":"1.2.3.4","userAgent":"U\"A","created":"2026-11-20T18:20:34.366Z","updated":"2026-11-20T18:20:34.366Z"}}"#;
        assert_eq!(create(&origin(), None, NOW).unwrap(), expect);
        assert!(expect.len() < 1024);
    }

    #[test]
    fn given_fields_lie_over_the_defaults_and_owners_only_where_allowed() {
        let fields = merge(r#"{"preferences":{"theme":"dark"},"userId":"github:1","extra":[]}"#);
        let kept = create(&origin(), Some((&fields, Identity::Kept)), NOW).unwrap();
        assert!(kept.starts_with(r#"{"preferences":{"theme":"dark","timezone":"UTC","#), "{kept}");
        assert!(kept.ends_with(r#","extra":[]}"#) && !kept.contains("userId"), "{kept}");
        let written = create(&origin(), Some((&fields, Identity::Writable)), NOW).unwrap();
        assert!(written.contains(r#""userId":"github:1""#), "{written}");
    }

    #[test]
    fn an_update_moves_the_version_and_touches_no_other_byte() {
        let now = r#""2026-11-20T18:20:34.366Z""#;
        let expect = STORED.replace(r#""2026-01-02T00:00:00.000Z""#, now);
        assert_eq!(update(STORED, &merge("{}"), Identity::Kept, NOW, Stamp::After).unwrap(), expect);
    }

    #[test]
    fn a_version_is_later_than_the_one_before_even_when_the_clock_is_not() {
        let ahead = STORED.replace("2026-01-02", "2027-01-02");
        let after = update(&ahead, &merge("{}"), Identity::Kept, NOW, Stamp::After).unwrap();
        assert_eq!(after.matches("2027-01-02T00:00:00.001Z").count(), 2, "{after}");
        let last = STORED.replace("2026-01-02T00:00:00.000Z", "9999-12-31T23:59:59.999Z");
        assert!(update(&last, &merge("{}"), Identity::Kept, NOW, Stamp::After).is_ok());
    }

    #[test]
    fn identity_stays_whatever_the_kind_of_change() {
        let changes = [
            merge(r#"{"userId":"x","user":{"id":"x"},"metadata":{"created":"x"}}"#),
            Change::Replace(r#"{"userId":"x","user":{"id":"x"}}"#.to_owned()),
            Change::Replace("{}".to_owned()),
            Change::Merge(Merge::Rfc7396, r#"{"userId":null,"metadata":null}"#.to_owned()),
            Change::Patch(
                r#"[{"op":"remove","path":"/userId"},{"op":"remove","path":"/metadata"}]"#.to_owned(),
            ),
        ];
        for change in changes {
            let after = update(STORED, &change, Identity::Kept, NOW, Stamp::After).unwrap();
            let identity = [r#""userId":"u""#, r#""created":"2026-01-01T00:00:00.000Z""#];
            assert!(identity.iter().all(|part| after.contains(part)), "{change:?}: {after}");
            assert!(!after.contains(r#""user":"#), "{change:?}: {after}");
        }
        let given = merge(r#"{"userId":"x","metadata":{"created":"x"}}"#);
        let after = update(STORED, &given, Identity::Writable, NOW, Stamp::After).unwrap();
        assert!(after.contains(r#""userId":"x""#) && after.contains(r#""created":"x""#), "{after}");
    }

    #[test]
    fn only_last_activity_is_a_touch() {
        for (text, expect) in
            [("{}", true), (r#"{"lastActivity":1}"#, true), (r#"{"lastActivity":1,"a":1}"#, false)]
        {
            assert_eq!(merge(text).is_touch(), Ok(expect), "{text}");
        }
        assert_eq!(Change::Patch("[]".to_owned()).is_touch(), Ok(false));
        assert_eq!(Change::Replace("{}".to_owned()).is_touch(), Ok(false));
    }

    #[test]
    fn what_cannot_be_a_session_is_refused() {
        let check = |stored: &str, change: Change, expect: Refusal| {
            assert_eq!(update(stored, &change, Identity::Kept, NOW, Stamp::After), Err(expect), "{change:?}");
        };
        let not = Invalid::NotObject("metadata");
        check(STORED, merge(r#"{"metadata":[]}"#), Refusal::Invalid(not));
        let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_BYTES));
        check(STORED, merge(&large), Refusal::Invalid(Invalid::TooLarge));
        let wrap = r#"{"op":"move","from":"/a","path":"/b"},{"op":"add","path":"/a","value":{}},{"op":"move","from":"/b","path":"/a/b"}"#;
        let deep = format!(r#"[{{"op":"add","path":"/a","value":0}},{}]"#, [wrap; 33].join(","));
        check(STORED, Change::Patch(deep), Refusal::Invalid(Invalid::TooDeep));
        for stored in ["", "[]", "null", r#"{"a":"#] {
            assert!(matches!(
                update(stored, &merge("{}"), Identity::Kept, NOW, Stamp::After),
                Err(Refusal::Unreadable(_))
            ));
        }
    }

    #[test]
    fn a_foreign_session_without_our_fields_gets_them() {
        let after =
            update(r#"{"metadata":null}"#, &merge(r#"{"a":1}"#), Identity::Kept, NOW, Stamp::After).unwrap();
        let now = timestamp(NOW);
        assert_eq!(after, format!(r#"{{"metadata":{{"updated":"{now}"}},"a":1,"lastActivity":"{now}"}}"#));
    }
}
