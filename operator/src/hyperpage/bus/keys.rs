//! What the Secret holds: a line for each of at most two keys, of which the first seals and all open.

use std::fmt;

use k8s_openapi::ByteString;
use serde_json::{Value, json};

use crate::apply::Error;

const BYTES: usize = 32;

/// `base64` is nowhere but here and in the Secret.
#[derive(Clone, PartialEq, Eq)]
struct Key {
    id: String,
    base64: String,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Keys {
    first: Key,
    second: Option<Key>,
}

/// By their ids, which every message tells anyway.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.both().map(|key| &key.id)).finish()
    }
}

impl Keys {
    pub(super) fn random() -> Result<Self, Error> {
        Ok(Self { first: Key::random()?, second: None })
    }

    /// `None`: not as the sidecar wants them.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let mut lines = str::from_utf8(text).ok()?.lines().map(str::trim).filter(|line| !line.is_empty());
        let first = Key::read(lines.next()?)?;
        let second = match lines.next() {
            Some(line) => Some(Key::read(line)?),
            None => None,
        };
        let one_id = second.as_ref().is_some_and(|second| second.id == first.id);
        (lines.next().is_none() && !one_id).then_some(Self { first, second })
    }

    pub(super) fn print(&self) -> ByteString {
        let lines = self.both().map(|Key { id, base64 }| format!("{id} {base64}\n"));
        ByteString(lines.collect::<String>().into_bytes())
    }

    pub(super) fn count(&self) -> usize {
        self.both().count()
    }

    /// With a new one behind the first.
    pub(super) fn added(self) -> Result<Self, Error> {
        let mut new = Key::random()?;
        while new.id == self.first.id {
            new = Key::random()?;
        }
        Ok(Self { first: self.first, second: Some(new) })
    }

    /// With the second one first.
    pub(super) fn switched(self) -> Self {
        match self.second {
            Some(second) => Self { first: second, second: Some(self.first) },
            None => self,
        }
    }

    pub(super) fn first_alone(self) -> Self {
        Self { second: None, ..self }
    }

    fn both(&self) -> impl Iterator<Item = &Key> {
        [&self.first].into_iter().chain(&self.second)
    }
}

impl Key {
    fn random() -> Result<Self, Error> {
        let mut bytes = [0; BYTES + 4];
        getrandom::fill(&mut bytes).map_err(|error| Error::Random(error.to_string()))?;
        let (id, key) = bytes.split_at(4);
        let id = id.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { id, base64: base64(key) })
    }

    fn read(line: &str) -> Option<Self> {
        let (id, base64) = line.split_once(' ')?;
        let named = (1..=16).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let base64 = base64.trim();
        let ByteString(key) = serde_json::from_value(json!(base64)).ok()?;
        (named && key.len() == BYTES).then(|| Self { id: id.to_owned(), base64: base64.to_owned() })
    }
}

/// As Kubernetes writes the bytes of a Secret.
fn base64(bytes: &[u8]) -> String {
    match json!(ByteString(bytes.to_vec())) {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "old AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const NEW: &str = "new //////////////////////////////////////////8=";

    #[test]
    fn keys_are_random_and_print_as_they_read() {
        let (one, other) = (Keys::random().unwrap(), Keys::random().unwrap());
        assert_ne!(one, other);
        assert_eq!(Keys::read(&one.print().0), Some(one.clone()));
        let both = one.clone().added().unwrap();
        assert_eq!((one.count(), both.count()), (1, 2));
        assert_eq!(Keys::read(&both.print().0), Some(both.clone()));
        assert_eq!(both.first_alone(), one);
    }

    #[test]
    fn a_new_key_goes_behind_then_before_the_old_one_which_then_goes() {
        let old = Keys::random().unwrap();
        let both = old.clone().added().unwrap();
        let ids = |keys: &Keys| keys.both().map(|key| key.id.clone()).collect::<Vec<_>>();
        let (first, second) = (ids(&both)[0].clone(), ids(&both)[1].clone());
        assert_eq!(vec![first.clone()], ids(&old));
        let switched = both.switched();
        assert_eq!(ids(&switched), [second.clone(), first]);
        assert_eq!(ids(&switched.first_alone()), [second]);
    }

    #[test]
    fn what_a_sidecar_would_not_read_is_no_key() {
        let two = format!("{OLD}\n{NEW}\n");
        for good in [OLD, &two, &format!("\n {OLD} \n\n")] {
            assert!(Keys::read(good.as_bytes()).is_some(), "{good}");
        }
        let bad = [
            "",
            "old",
            "old AAEC",
            "old =",
            "o-d AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            "seventeenletters1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            &format!("{OLD}\n{OLD}"),
            &format!("{OLD}\n{NEW}\nthird AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
        ];
        for bad in bad {
            assert!(Keys::read(bad.as_bytes()).is_none(), "{bad}");
        }
        assert!(Keys::read(&[0xff, b' ', 0]).is_none());
    }

    #[test]
    fn no_key_is_printed_for_people() {
        let keys = Keys::read(format!("{OLD}\n{NEW}").as_bytes()).unwrap();
        assert_eq!(format!("{keys:?}"), r#"["old", "new"]"#);
    }
}
