//! A session's bytes, shared by whoever holds them. What is asked of them at every read is found once.

use std::ops::{Deref, Range};
use std::sync::{Arc, OnceLock};

use sha1::{Digest, Sha1};

use super::document::{Invalid, members};
use super::rule;

const HEX: &[u8; 16] = b"0123456789abcdef";

#[derive(Debug, Clone, Default)]
pub struct Text(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    bytes: Box<str>,
    digest: OnceLock<Box<str>>,
    said: OnceLock<Said>,
}

/// What an object says about itself.
#[derive(Debug)]
pub(crate) struct Said {
    /// Where the value of `lastActivity` stands, and its milliseconds.
    pub(crate) active: Option<(Range<usize>, i64)>,
    /// `metadata.updated` in milliseconds: a hint at which of two documents is the later one.
    pub(crate) version: Option<i64>,
}

impl Text {
    /// Names the bytes: what a write compares, and the ETag.
    pub(crate) fn digest(&self) -> &str {
        self.0.digest.get_or_init(|| digest(&self.0.bytes).into())
    }

    /// The digest as the headers have it.
    pub(crate) fn etag(&self) -> String {
        format!("\"{}\"", self.digest())
    }

    pub(crate) fn said(&self) -> Result<&Said, Invalid> {
        match self.0.said.get() {
            Some(said) => Ok(said),
            None => {
                let said = Said::by(&self.0.bytes)?;
                Ok(self.0.said.get_or_init(|| said))
            }
        }
    }

    pub(crate) fn version(&self) -> Option<i64> {
        self.said().ok()?.version
    }
}

impl Said {
    fn by(text: &str) -> Result<Said, Invalid> {
        let [active, metadata] = members(text, ["lastActivity", "metadata"])?;
        let active = active.and_then(|value| {
            let at = value.as_ptr() as usize - text.as_ptr() as usize;
            Some((at..at + value.len(), rule::milliseconds(value.trim_matches('"'))?))
        });
        Ok(Said { active, version: metadata.and_then(|metadata| rule::time_in(metadata, "updated")) })
    }
}

impl From<String> for Text {
    fn from(bytes: String) -> Text {
        let bytes = bytes.into_boxed_str();
        Text(Arc::new(Inner { bytes, digest: OnceLock::new(), said: OnceLock::new() }))
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0.bytes
    }
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes.as_bytes()
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Text) -> bool {
        self.0.bytes == other.0.bytes
    }
}

impl Eq for Text {}

fn digest(text: &str) -> String {
    let mut hex = String::with_capacity(40);
    for byte in Sha1::digest(text.as_bytes()) {
        hex.extend([byte >> 4, byte & 15].map(|half| char::from(HEX[usize::from(half)])));
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_what_lua_calls_sha1hex() {
        assert_eq!(digest(""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        assert_eq!(Text::from("abc".to_owned()).digest(), "a9993e364706816aba3e25717850c26c9cd0d89d");
    }

    #[test]
    fn what_a_text_says_is_found_where_it_stands() {
        let text =
            r#"{"metadata":{"updated":"1970-01-01T00:00:00.100Z"},"lastActivity":"1970-01-01T00:00:01Z"}"#;
        let text = Text::from(text.to_owned());
        let Said { active, version } = text.said().unwrap();
        let (at, active_ms) = active.clone().unwrap();
        assert_eq!((&text[at], active_ms, *version), (r#""1970-01-01T00:00:01Z""#, 1000, Some(100)));
        let silent = Text::from(r#"{"lastActivity":7,"metadata":[]}"#.to_owned());
        let Said { active, version } = silent.said().unwrap();
        assert_eq!((active, version), (&None, &None));
        assert!(Text::from("[".to_owned()).said().is_err());
    }
}
