//! What is told, in the same bytes by everybody.

use std::time::Instant;

use sidecar::clock::Boot;

/// Of Redis' own channels.
pub(crate) const CHANNEL: &str = "bench";
/// After all others.
pub(crate) const END: u64 = 0;

/// Sent when it was due, for whoever hears it.
pub(crate) fn payload(due: Instant) -> String {
    let late = u64::try_from(due.elapsed().as_micros()).unwrap_or_default();
    stamped(Boot::now().micros().saturating_sub(late))
}

pub(crate) fn stamped(at_us: u64) -> String {
    format!(r#"{{"keys":["user:123:settings","user:123:sessions"],"at":{at_us}}}"#)
}

/// Found without parsing: to look at a message is not to cost more than to send it.
pub(crate) fn number(text: &str, before: &str) -> Option<u64> {
    let rest = &text[text.find(before)? + before.len()..];
    let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

pub(crate) fn sent_us(text: &str) -> Option<u64> {
    number(text, r#""at":"#)
}
