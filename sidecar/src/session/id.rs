//! Session ids: the original's shape and alphabet, with randomness nobody can guess.

use std::fmt;

use super::Error;

pub(crate) const MAX_LENGTH: usize = 128;

/// Proof that the id is one the original would accept: `^[a-zA-Z0-9._-]+$`, and no longer than 128.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionId(String);

impl SessionId {
    /// Spaces around the id are not part of it, as in the original.
    pub fn parse(text: &str) -> Result<SessionId, Error> {
        let id = text.trim();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if id.is_empty() || id.len() > MAX_LENGTH || !id.bytes().all(allowed) {
            return Err(Error::InvalidId);
        }
        Ok(SessionId(id.to_owned()))
    }

    /// `base36ms-hex`: milliseconds since 1970 keep the original's shape, the hex is what nobody can guess.
    pub fn mint(now_ms: i64, random: u128) -> SessionId {
        SessionId(format!("{}-{random:032x}", base36(now_ms.unsigned_abs())))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(crate) fn base36(mut n: u64) -> String {
    let mut digits = Vec::new();
    while {
        digits.push(char::from_digit((n % 36) as u32, 36).expect("a remainder of 36 is a digit"));
        n /= 36;
        n > 0
    } {}
    digits.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_is_the_originals_and_the_length_is_bounded() {
        let longest = "x".repeat(128);
        for good in ["a", "mwpb19rt-psaxzqngk", "A.b_c-9", longest.as_str()] {
            assert_eq!(SessionId::parse(good).unwrap().as_str(), good);
        }
        let too_long = "x".repeat(129);
        for bad in ["", "   ", "bad!id", "a b", "a{b}", "ünï", "a/b", "a\0", too_long.as_str()] {
            assert!(SessionId::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(SessionId::parse("  spaced\n").unwrap().as_str(), "spaced");
    }

    #[test]
    fn a_minted_id_has_the_originals_shape_and_all_its_random_bits() {
        let id = SessionId::mint(1_795_198_630_924, u128::MAX - 15);
        assert_eq!(id.as_str(), "mwpawwss-fffffffffffffffffffffffffffffff0");
        assert_eq!(SessionId::mint(0, 1).as_str(), "0-00000000000000000000000000000001");
        assert_eq!(SessionId::parse(id.as_str()).unwrap(), id);
    }
}
