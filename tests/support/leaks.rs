//! Where a secret is to be read that should not be.

/// Names of the texts that hold `secret`, plainly or in base64 at any offset.
pub fn leaks<'a>(secret: &str, texts: &'a [(String, String)]) -> Vec<&'a str> {
    let needles: Vec<_> =
        std::iter::once(secret.to_owned()).chain((0..3).map(|at| inner(secret, at))).collect();
    let holds = |text: &str| needles.iter().any(|needle| text.contains(needle.as_str()));
    texts.iter().filter(|(_, text)| holds(text)).map(|(name, _)| name.as_str()).collect()
}

/// The base64 digits that depend on `secret` alone when `offset` other bytes stand before it.
fn inner(secret: &str, offset: usize) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes = &secret.as_bytes()[(3 - offset) % 3..];
    let digits = bytes.chunks_exact(3).flat_map(|three| {
        let bits = u32::from(three[0]) << 16 | u32::from(three[1]) << 8 | u32::from(three[2]);
        [18, 12, 6, 0].map(|shift| char::from(DIGITS[(bits >> shift) as usize & 63]))
    });
    digits.collect()
}
