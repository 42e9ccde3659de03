//! `Idempotency-Key`: who sends a request again under its key is told what became of it the first time.

use axum::http::{HeaderMap, header};
use sha1::{Digest, Sha1};

use super::Error;

const NAME: &str = "idempotency-key";
const LONGEST: usize = 255;
/// What a condition or a content type says is part of what a request asks for.
const MEANT: [header::HeaderName; 3] = [header::CONTENT_TYPE, header::IF_MATCH, header::IF_NONE_MATCH];

/// The key, and what is asked under it, as digests: what is stored has a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Idempotency {
    bytes: [u8; 40],
}

impl Idempotency {
    pub(crate) fn of(
        headers: &HeaderMap,
        method: &str,
        path: &str,
        body: &str,
    ) -> Result<Option<Idempotency>, Error> {
        let mut keys = headers.get_all(NAME).iter().map(|value| value.as_bytes());
        let (key, more) = (keys.next(), keys.next());
        let Some(key) = key else { return Ok(None) };
        if more.is_some() || !(1..=LONGEST).contains(&key.len()) || !key.iter().all(u8::is_ascii_graphic) {
            return Err(Error::InvalidRequest(
                "Idempotency-Key must be one word of 1 to 255 visible ASCII characters".into(),
            ));
        }
        let mut request = Sha1::new();
        let mut add = |part: &[u8]| {
            request.update(part.len().to_be_bytes());
            request.update(part);
        };
        for part in [method, path, body] {
            add(part.as_bytes());
        }
        for name in MEANT {
            let values: Vec<_> = headers.get_all(name).iter().map(|value| value.as_bytes()).collect();
            add(&values.join(&0));
        }
        let mut bytes = [0; 40];
        bytes[..20].copy_from_slice(&Sha1::digest(key));
        bytes[20..].copy_from_slice(&request.finalize());
        Ok(Some(Idempotency { bytes }))
    }

    /// The key's digest, then the request's.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Of a request that names no session yet: where the id that it was given is kept.
    pub(crate) fn redis_key(&self) -> String {
        let hex: String = self.bytes[..20].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("hyperpage:create:{hex}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(&'static str, &str)], body: &str) -> Result<Option<Idempotency>, Error> {
        let headers = headers.iter().map(|(name, value)| {
            (header::HeaderName::from_static(name), header::HeaderValue::from_str(value).unwrap())
        });
        Idempotency::of(&headers.collect(), "PATCH", "/v1/sessions/a", body)
    }

    #[test]
    fn a_key_is_one_word_of_visible_ascii() {
        assert_eq!(of(&[], ""), Ok(None));
        for good in ["k", "8e03978e-40d5-43dd-bc93-6894a57f9324", "!~", &"x".repeat(255)] {
            assert!(of(&[(NAME, good)], "").unwrap().is_some(), "{good}");
        }
        for bad in ["", "a b", "\u{e9}", &"x".repeat(256)] {
            assert!(matches!(of(&[(NAME, bad)], ""), Err(Error::InvalidRequest(_))), "{bad}");
        }
    }

    #[test]
    fn another_body_or_condition_is_another_request_under_the_same_key() {
        let one = of(&[(NAME, "k")], "{}").unwrap().unwrap();
        assert_eq!(of(&[(NAME, "k")], "{}"), Ok(Some(one)));
        for (headers, body) in [(&[(NAME, "k")][..], "{} "), (&[(NAME, "k"), ("if-match", "*")], "{}")] {
            let other = of(headers, body).unwrap().unwrap();
            assert_eq!(other.as_bytes()[..20], one.as_bytes()[..20]);
            assert_ne!(other.as_bytes()[20..], one.as_bytes()[20..], "{headers:?} {body}");
        }
        assert_eq!(one.redis_key().len(), "hyperpage:create:".len() + 40);
    }
}
