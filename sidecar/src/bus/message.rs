//! A message, as the original's pods know it, and what ours tell each other beside it.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::session::id::base36;

/// Of the text of an envelope.
pub(super) const MAX_BYTES: usize = 64 * 1024;
const MAX_NAME: usize = 253;
/// Of a message's text, all but the payload: mostly, with what an event adds.
const HEAD: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    CacheInvalidate,
    JobCoordination,
    RateLimitSync,
    Broadcast,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    Low,
    #[default]
    Normal,
    High,
}

impl Priority {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Priority::Low => "low",
            Priority::Normal => "normal",
            Priority::High => "high",
        }
    }
}

/// The original's six members, in its order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Message {
    pub id: String,
    #[serde(rename = "type")]
    pub kind: Kind,
    /// JSON, as its sender wrote it.
    pub payload: Box<RawValue>,
    /// Milliseconds by the sender's clock.
    pub timestamp: i64,
    #[serde(rename = "sourcePod")]
    pub source_pod: String,
    #[serde(default)]
    pub priority: Priority,
}

/// What is sealed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Letter {
    /// Of the sender.
    pub process: String,
    /// The pod whose app it is for, if not for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Redis TIME in microseconds when it was sent.
    pub at: i64,
    /// The highest term that the sender knows of.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub term: u64,
    /// The term it was sent under, by whoever led then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<u64>,
    /// Each process is to say at once how far it has come.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ack: bool,
    pub message: Message,
}

fn is_zero(term: &u64) -> bool {
    *term == 0
}

/// Why something that came is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rejected {
    /// It does not begin with a place in the order, or is no text of ours at all.
    Garbage,
    TooLarge,
    /// In plain text, and there is a key.
    Unsealed,
    /// By a key that is not known here.
    UnknownKey,
    /// By another key of that name, for other channels, or changed on its way.
    Forged,
    /// Of a type that nobody knows.
    UnknownType,
    /// Sent so long ago that it is a copy of one.
    Old,
    /// Sent by a leader whose time was over.
    Stale,
}

impl Rejected {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Rejected::Garbage => "garbage",
            Rejected::TooLarge => "too_large",
            Rejected::Unsealed => "unsealed",
            Rejected::UnknownKey => "unknown_key",
            Rejected::Forged => "forged",
            Rejected::UnknownType => "unknown_type",
            Rejected::Old => "old",
            Rejected::Stale => "stale",
        }
    }
}

impl Message {
    /// Of a pod of the original.
    pub(crate) fn parse(text: &[u8]) -> Result<Message, Rejected> {
        if text.len() > MAX_BYTES {
            return Err(Rejected::TooLarge);
        }
        let message = serde_json::from_slice::<Message>(text).map_err(|_| rejected(text))?;
        let Message { id, source_pod, .. } = &message;
        let named = !id.is_empty() && id.len() <= MAX_NAME && source_pod.len() <= MAX_NAME;
        if named { Ok(message) } else { Err(Rejected::Garbage) }
    }

    pub(crate) fn text(&self) -> String {
        let mut text = Vec::with_capacity(self.payload.get().len() + HEAD);
        serde_json::to_writer(&mut text, self).expect("a message is JSON");
        String::from_utf8(text).expect("JSON is UTF-8")
    }
}

/// Who leads, as it is told on the channel of elections: no message, and no garbage either.
pub(super) fn is_announcement(text: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Announcement {
        #[serde(rename = "leaderId")]
        _leader_id: String,
    }
    text.len() <= MAX_BYTES && serde_json::from_slice::<Announcement>(text).is_ok()
}

/// A message of a later version is no garbage.
fn rejected(text: &[u8]) -> Rejected {
    #[derive(Deserialize)]
    struct Typed {
        #[serde(rename = "type")]
        kind: String,
    }
    match serde_json::from_slice::<Typed>(text) {
        Ok(Typed { kind }) if serde_json::from_value::<Kind>(kind.as_str().into()).is_err() => {
            Rejected::UnknownType
        }
        Ok(_) | Err(_) => Rejected::Garbage,
    }
}

impl Letter {
    pub(crate) fn parse(text: &[u8]) -> Result<Letter, Rejected> {
        #[derive(Deserialize)]
        struct Typed<'a> {
            #[serde(borrow)]
            message: &'a RawValue,
        }
        serde_json::from_slice(text).map_err(|_| match serde_json::from_slice::<Typed<'_>>(text) {
            Ok(Typed { message }) => rejected(message.get().as_bytes()),
            Err(_) => Rejected::Garbage,
        })
    }

    pub(crate) fn text(&self) -> String {
        serde_json::to_string(self).expect("a letter is JSON")
    }
}

/// `msg-base36ms-random`, as the original's.
pub(crate) fn mint(now_ms: i64, random: u64) -> String {
    const DIGITS: u32 = 9;
    let drawn = base36(random % 36u64.pow(DIGITS));
    format!("msg-{}-{drawn:0>9}", base36(now_ms.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a pod of the original sent it.
    const CAPTURED: &str = r#"{"id":"msg-mwpawwss-2nmee5wsk","type":"cache_invalidate","payload":{"keys":["user:123:settings"]},"timestamp":1795198630924,"sourcePod":"pod-b","priority":"high"}"#;

    #[test]
    fn the_originals_message_is_read_and_written_to_the_byte() {
        let message = Message::parse(CAPTURED.as_bytes()).unwrap();
        assert_eq!((message.kind, message.priority), (Kind::CacheInvalidate, Priority::High));
        assert_eq!(message.text(), CAPTURED);
        // What it does not know it does not mind, and a priority is normal unless somebody says.
        let text = CAPTURED.replace(r#","priority":"high""#, r#","more":[1]"#);
        assert_eq!(Message::parse(text.as_bytes()).unwrap().priority, Priority::Normal);
    }

    #[test]
    fn what_is_no_message_is_rejected_by_its_reason() {
        let check = |text: &str, reason| {
            assert_eq!(Message::parse(text.as_bytes()).map(|message| message.text()), Err(reason), "{text}");
        };
        check(&CAPTURED.replace("cache_invalidate", "cache_warm"), Rejected::UnknownType);
        check(&CAPTURED.replace("\"high\"", "\"urgent\""), Rejected::Garbage);
        check(&CAPTURED.replace("msg-mwpawwss-2nmee5wsk", ""), Rejected::Garbage);
        check(&CAPTURED.replace("pod-b", &"b".repeat(254)), Rejected::Garbage);
        check(&" ".repeat(MAX_BYTES + 1), Rejected::TooLarge);
        for garbage in ["", "null", "{}", "[]", "\"", "{\"type\":1}", "\u{0}", &"[".repeat(60_000)] {
            check(garbage, Rejected::Garbage);
        }
        let letter = format!(r#"{{"process":"p","at":1,"message":{CAPTURED}}}"#);
        assert_eq!(Letter::parse(letter.as_bytes()).unwrap().text(), letter);
        let unknown = letter.replace("cache_invalidate", "x");
        assert_eq!(Letter::parse(unknown.as_bytes()).err(), Some(Rejected::UnknownType));
        assert_eq!(Letter::parse(CAPTURED.as_bytes()).err(), Some(Rejected::Garbage));
        assert!(is_announcement(br#"{"leaderId":"pod-a","term":3,"lastHeartbeat":1,"status":"active"}"#));
        assert!(!is_announcement(CAPTURED.as_bytes()) && !is_announcement(b"{}"));
    }

    #[test]
    fn an_id_has_the_originals_shape() {
        assert_eq!(mint(1_795_198_630_924, 5), "msg-mwpawwss-000000005");
        assert_eq!(mint(1_795_198_630_924, u64::MAX).len(), "msg-mwpawwss-2nmee5wsk".len());
    }
}
