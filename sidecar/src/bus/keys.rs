//! The keys that an app's pods share, from a file that somebody replaces now and then.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};

const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Two lines, and some.
const MAX_FILE: u64 = 4 * 1024;
const KEY_BYTES: usize = 32;
const MAX_ID: usize = 16;
/// Whoever makes a key by hand may leave its padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One or two; the first seals.
pub(super) struct Ring(Vec<(String, XChaCha20Poly1305)>);

impl Ring {
    pub(super) fn parse(text: &str) -> Result<Ring, String> {
        let mut keys: Vec<(String, XChaCha20Poly1305)> = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let wrong = |what: &str| format!("line {}: {what}", keys.len() + 1);
            let (id, key) = line.split_once(' ').ok_or_else(|| wrong("not an id, a blank and a key"))?;
            let plain = id.len() <= MAX_ID && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
            if !plain || keys.iter().any(|(known, _)| known == id) {
                return Err(wrong("its id is not one to 16 letters or digits, or is that of another line"));
            }
            let key = BASE64.decode(key.trim_start()).ok().filter(|key| key.len() == KEY_BYTES);
            let key = key.ok_or_else(|| wrong("its key is not 32 bytes in base64"))?;
            let cipher = XChaCha20Poly1305::new_from_slice(&key).expect("32 bytes");
            keys.push((id.to_owned(), cipher));
        }
        match keys.len() {
            0 => Err("it holds no key".to_owned()),
            1 | 2 => Ok(Ring(keys)),
            _ => Err("it holds more than two keys".to_owned()),
        }
    }

    pub(super) fn sealing(&self) -> (&str, &XChaCha20Poly1305) {
        let (id, cipher) = &self.0[0];
        (id, cipher)
    }

    pub(super) fn opening(&self, id: &[u8]) -> Option<&XChaCha20Poly1305> {
        self.0.iter().find(|(known, _)| known.as_bytes() == id).map(|(_, cipher)| cipher)
    }
}

/// Ids are no secret.
impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(id, _)| id)).finish()
    }
}

/// With what messages are sealed now.
#[derive(Debug, Clone)]
pub(super) enum Seal {
    /// With nothing: whoever reaches Redis reads and writes them.
    Plain,
    With(Arc<Ring>),
    /// There is to be a key, and none could be read yet.
    Missing,
}

#[derive(Debug)]
pub(super) struct Keys {
    file: Option<PathBuf>,
    seal: RwLock<Seal>,
    /// What is wrong with the file, and was said.
    told: Mutex<Option<String>>,
}

impl Keys {
    pub(super) fn new(file: Option<PathBuf>) -> Keys {
        let seal = if file.is_some() { Seal::Missing } else { Seal::Plain };
        let keys = Keys { file, seal: RwLock::new(seal), told: Mutex::default() };
        keys.look();
        keys
    }

    pub(super) fn seal(&self) -> Seal {
        self.seal.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks into the file now and then; never ends.
    pub(super) async fn watch(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.look();
        }
    }

    /// What is wrong is told once, and the last good keys stay.
    fn look(&self) {
        let Some(file) = &self.file else { return };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match read(file).and_then(|text| Ring::parse(&text)) {
            Ok(ring) => {
                let before = self.seal();
                let (named, known) = (format!("{ring:?}"), format!("{before:?}"));
                *self.seal.write().unwrap_or_else(PoisonError::into_inner) = Seal::With(Arc::new(ring));
                let was_wrong = told.take().is_some();
                if was_wrong || known != format!("With({named})") {
                    tracing::info!(keys = named, "messages are sealed with the first of these keys");
                }
            }
            Err(error) if told.as_ref() != Some(&error) => {
                let file = file.display();
                tracing::warn!(%file, error, "the keys of the bus cannot be read; those known before stay");
                *told = Some(error);
            }
            Err(_) => {}
        }
    }
}

fn read(file: &Path) -> Result<String, String> {
    let length = std::fs::metadata(file).map_err(|error| error.to_string())?.len();
    if length > MAX_FILE {
        return Err("it is too long".to_owned());
    }
    std::fs::read_to_string(file).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "k1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const TWO: &str = "k2 //79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA=";

    #[test]
    fn a_key_is_read_with_its_padding_and_without() {
        let padded = Ring::parse(ONE).unwrap();
        let bare = Ring::parse(ONE.trim_end_matches('=')).unwrap();
        assert_eq!(format!("{padded:?}"), format!("{bare:?}"));
        for (digit, other) in [("8=", "8=="), ("8=", "9="), ("8=", "8 ="), ("/", "_"), ("8=", "é=")] {
            let text = ONE.replace(digit, other);
            assert!(text == ONE || Ring::parse(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_first_of_two_keys_seals_and_both_open() {
        let ring = Ring::parse(&format!("{TWO}\n\n{ONE}\n")).unwrap();
        assert_eq!(ring.sealing().0, "k2");
        assert!(ring.opening(b"k1").is_some() && ring.opening(b"k2").is_some());
        assert!(ring.opening(b"k3").is_none() && ring.opening(b"").is_none());
        assert_eq!(format!("{ring:?}"), r#"["k2", "k1"]"#);
    }

    #[test]
    fn a_file_that_is_wrong_says_where_and_never_what() {
        let three = format!("{ONE}\n{TWO}\nk3 {}", &ONE[3..]);
        let cases = [
            ("", "no key"),
            (three.as_str(), "more than two"),
            ("k1", "line 1: not an id"),
            (&format!("{ONE}\n{ONE}"), "line 2: its id"),
            (&format!("k-1 {}", &ONE[3..]), "its id"),
            (&format!("{} {}", "k".repeat(17), &ONE[3..]), "its id"),
            ("k1 AAEC", "32 bytes"),
            (&ONE[..ONE.len() - 2], "32 bytes"),
        ];
        for (text, expect) in cases {
            let error = Ring::parse(text).unwrap_err();
            assert!(error.contains(expect) && !error.contains("AAEC"), "{text}: {error}");
        }
    }

    #[test]
    fn a_replaced_file_is_followed_and_a_broken_one_leaves_the_last_good_keys() {
        let file = std::env::temp_dir().join(format!("hyperpage-bus-keys-{}", std::process::id()));
        let keys = Keys::new(Some(file.clone()));
        let ids = || format!("{:?}", keys.seal());
        let wrong_now = || keys.told.lock().unwrap().is_some();
        assert_eq!(ids(), "Missing");
        for (text, expect, wrong) in [
            (ONE, r#"With(["k1"])"#, false),
            ("k1 AAEC", r#"With(["k1"])"#, true),
            (&format!("{TWO}\n{ONE}"), r#"With(["k2", "k1"])"#, false),
            (&" ".repeat(5_000), r#"With(["k2", "k1"])"#, true),
            (TWO, r#"With(["k2"])"#, false),
        ] {
            std::fs::write(&file, text).unwrap();
            keys.look();
            assert_eq!((ids().as_str(), wrong_now()), (expect, wrong));
        }
        std::fs::remove_file(&file).unwrap();
        keys.look();
        assert_eq!((ids().as_str(), wrong_now()), (r#"With(["k2"])"#, true));
    }
}
