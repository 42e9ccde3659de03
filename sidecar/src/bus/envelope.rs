//! How a letter travels: sealed by a key of the app's pods, or in plain text where there is none.
//!
//! `H1`, the length of the key's id and the id, a nonce of 24 bytes drawn at random, and what XChaCha20-Poly1305 makes
//! of a flag and the text. All that stands before the nonce, and the channels' prefix, is authenticated with it.

use std::borrow::Cow;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

use super::keys::{Ring, Seal};
use super::message::{MAX_BYTES, Rejected};

const FORMAT: &[u8; 2] = b"H1";
const NONCE_BYTES: usize = 24;
/// What sealing adds at most: format, id and its length, nonce, flag, tag.
const OVERHEAD: usize = 2 + 1 + 16 + NONCE_BYTES + 1 + 16;
/// Shorter ones gain nothing.
const COMPRESSED_FROM: usize = 1024;
const WHOLE: u8 = 0;
const COMPRESSED: u8 = 1;

/// None where there is no key yet.
pub(super) fn seal(seal: &Seal, prefix: &str, nonce: [u8; NONCE_BYTES], text: String) -> Option<Vec<u8>> {
    match seal {
        Seal::Plain => Some(text.into_bytes()),
        Seal::With(ring) => Some(sealed(ring, prefix, nonce, text.as_bytes())),
        Seal::Missing => None,
    }
}

fn sealed(ring: &Ring, prefix: &str, nonce: [u8; NONCE_BYTES], text: &[u8]) -> Vec<u8> {
    let (id, cipher) = ring.sealing();
    let mut bytes = Vec::with_capacity(OVERHEAD + text.len());
    bytes.extend_from_slice(FORMAT);
    bytes.push(u8::try_from(id.len()).expect("an id is short"));
    bytes.extend_from_slice(id.as_bytes());
    let aad = [&bytes, prefix.as_bytes()].concat();
    bytes.extend_from_slice(&nonce);
    let made = cipher.encrypt(&XNonce::from(nonce), Payload { msg: &packed(text), aad: &aad });
    bytes.extend_from_slice(&made.expect("a letter is not hundreds of gigabytes long"));
    bytes
}

fn packed(text: &[u8]) -> Vec<u8> {
    let mut packed = vec![WHOLE];
    if text.len() > COMPRESSED_FROM {
        let small = lz4_flex::block::compress_prepend_size(text);
        if small.len() < text.len() {
            packed[0] = COMPRESSED;
            packed.extend_from_slice(&small);
            return packed;
        }
    }
    packed.extend_from_slice(text);
    packed
}

/// The text of a letter.
pub(super) fn open<'a>(seal: &Seal, prefix: &str, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>, Rejected> {
    if bytes.len() > MAX_BYTES + OVERHEAD {
        return Err(Rejected::TooLarge);
    }
    match (seal, bytes.starts_with(FORMAT)) {
        (Seal::Plain, false) if bytes.len() > MAX_BYTES => Err(Rejected::TooLarge),
        (Seal::Plain, false) => Ok(bytes.into()),
        (Seal::Plain | Seal::Missing, true) => Err(Rejected::UnknownKey),
        (Seal::With(_) | Seal::Missing, false) if bytes.starts_with(b"{") => Err(Rejected::Unsealed),
        (Seal::With(_) | Seal::Missing, false) => Err(Rejected::Garbage),
        (Seal::With(ring), true) => Ok(opened(ring, prefix, bytes)?.into()),
    }
}

fn opened(ring: &Ring, prefix: &str, bytes: &[u8]) -> Result<Vec<u8>, Rejected> {
    let length = usize::from(*bytes.get(FORMAT.len()).ok_or(Rejected::Garbage)?);
    let (head, rest) = bytes.split_at_checked(FORMAT.len() + 1 + length).ok_or(Rejected::Garbage)?;
    let (nonce, made) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(Rejected::Garbage)?;
    let cipher: &XChaCha20Poly1305 = ring.opening(&head[FORMAT.len() + 1..]).ok_or(Rejected::UnknownKey)?;
    let aad = [head, prefix.as_bytes()].concat();
    let packed = cipher.decrypt(&XNonce::from(*nonce), Payload { msg: made, aad: &aad });
    unpacked(packed.map_err(|_| Rejected::Forged)?)
}

/// Whoever has the key may still be a version that knows more than this one.
fn unpacked(mut packed: Vec<u8>) -> Result<Vec<u8>, Rejected> {
    match packed.first() {
        Some(&WHOLE) if packed.len() > MAX_BYTES + 1 => Err(Rejected::TooLarge),
        Some(&WHOLE) => {
            packed.remove(0);
            Ok(packed)
        }
        Some(&COMPRESSED) => {
            let (size, block) =
                lz4_flex::block::uncompressed_size(&packed[1..]).map_err(|_| Rejected::Garbage)?;
            if size > MAX_BYTES {
                return Err(Rejected::TooLarge);
            }
            lz4_flex::block::decompress(block, size).map_err(|_| Rejected::Garbage)
        }
        Some(_) | None => Err(Rejected::Garbage),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    const PREFIX: &str = "hyperpage:coord";
    const ONE: &str = "k1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const TWO: &str = "k2 //79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA=";

    fn with(lines: &[&str]) -> Seal {
        Seal::With(Arc::new(Ring::parse(&lines.join("\n")).unwrap()))
    }

    fn sealed_by(seal_by: &Seal, text: &str) -> Vec<u8> {
        seal(seal_by, PREFIX, [7; NONCE_BYTES], text.to_owned()).unwrap()
    }

    #[test]
    fn both_keys_open_and_no_other() {
        let (old, both, new) = (with(&[ONE]), with(&[TWO, ONE]), with(&[TWO]));
        let read = |by: &Seal, bytes: &[u8]| open(by, PREFIX, bytes).map(Cow::into_owned);
        for (sealer, opener, expect) in [
            (&old, &both, Ok(b"{}".to_vec())),
            (&both, &new, Ok(b"{}".to_vec())),
            (&both, &old, Err(Rejected::UnknownKey)),
            (&old, &Seal::Plain, Err(Rejected::UnknownKey)),
            (&old, &Seal::Missing, Err(Rejected::UnknownKey)),
            (&Seal::Plain, &Seal::Plain, Ok(b"{}".to_vec())),
            (&Seal::Plain, &old, Err(Rejected::Unsealed)),
        ] {
            assert_eq!(read(opener, &sealed_by(sealer, "{}")), expect, "{sealer:?} {opener:?}");
        }
        assert_eq!(seal(&Seal::Missing, PREFIX, [0; NONCE_BYTES], String::new()), None);
        // Another key of the same name, and other channels.
        let other = with(&[&format!("k1 {}", &TWO[3..])]);
        assert_eq!(read(&other, &sealed_by(&old, "{}")), Err(Rejected::Forged));
        assert_eq!(open(&old, "other", &sealed_by(&old, "{}")).err(), Some(Rejected::Forged));
    }

    #[test]
    fn long_texts_become_short_and_none_becomes_longer_than_is_taken() {
        let ring = with(&[ONE]);
        let long = "x".repeat(MAX_BYTES);
        let bytes = sealed_by(&ring, &long);
        assert!(bytes.len() < 1_000, "{}", bytes.len());
        assert_eq!(open(&ring, PREFIX, &bytes).unwrap(), long.as_bytes());
        let mut state = 1u64;
        let noise: String = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b' ' + (state >> 57) as u8 % 95)
        })
        .take(MAX_BYTES)
        .collect();
        assert_eq!(open(&ring, PREFIX, &sealed_by(&ring, &noise)).unwrap(), noise.as_bytes());
        for seal_by in [&ring, &Seal::Plain] {
            let too_long = sealed_by(seal_by, &"x".repeat(MAX_BYTES + 1));
            assert_eq!(open(seal_by, PREFIX, &too_long).err(), Some(Rejected::TooLarge));
            assert_eq!(open(seal_by, PREFIX, &vec![b'H'; 1 << 20]).err(), Some(Rejected::TooLarge));
        }
    }

    #[test]
    fn a_block_that_says_it_is_huge_is_not_believed() {
        for block in [vec![COMPRESSED], vec![COMPRESSED, 255, 255, 255, 255, 0], vec![9, 1], vec![]] {
            assert!(unpacked(block).is_err());
        }
        let bomb =
            [&[COMPRESSED][..], &lz4_flex::block::compress_prepend_size(&vec![0; MAX_BYTES + 1])].concat();
        assert_eq!(unpacked(bomb), Err(Rejected::TooLarge));
    }

    proptest! {
        #[test]
        fn what_is_sealed_is_opened_again(text in "\\PC{0,3000}", nonce: [u8; NONCE_BYTES]) {
            let ring = with(&[TWO, ONE]);
            let bytes = seal(&ring, PREFIX, nonce, text.clone()).unwrap();
            prop_assert_eq!(open(&ring, PREFIX, &bytes).unwrap(), text.as_bytes());
        }

        #[test]
        fn whatever_is_changed_on_the_way_is_noticed(at: prop::sample::Index, bit in 0..8u8, cut: prop::sample::Index) {
            let ring = with(&[ONE]);
            let mut bytes = sealed_by(&ring, &"a text ".repeat(300));
            prop_assert!(open(&ring, PREFIX, &bytes[..cut.index(bytes.len())]).is_err());
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(open(&ring, PREFIX, &bytes).is_err());
        }

        #[test]
        fn garbage_is_rejected_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            let named = [b"H1\x02k1".as_slice(), &bytes].concat();
            for garbage in [bytes, named] {
                prop_assert!(open(&with(&[ONE]), PREFIX, &garbage).is_err());
            }
        }
    }
}
