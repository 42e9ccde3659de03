//! Good inputs, spoilt. An edit is a value, so that a failure shrinks to few of them.

use proptest::collection::vec;
use proptest::prelude::*;

const INPUTS: u32 = 1_000_000;
/// What parsers look at.
const TOKENS: [&[u8]; 32] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"\\",
    b"\\u",
    b"\\ud800",
    b"null",
    b"true",
    b"-",
    b"0",
    b"1e9",
    b".",
    b" ",
    b"\n",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\0",
    b"%",
    b"%7B",
    b"&",
    b"=",
    b"/",
    b"~1",
    b"-1",
    b"\"path\"",
    b"\"op\":\"add\"",
    b"{}",
    b"[]",
];

#[derive(Debug, Clone)]
enum Edit {
    Insert(u16, usize),
    Delete(u16, u8),
    Repeat(u16, u8),
    Byte(u16, u8),
    /// The rest becomes that of another line.
    Splice(u16, usize),
}

pub(super) fn inputs() -> u32 {
    std::env::var_os("FUZZ_INPUTS").map_or(INPUTS, |count| {
        count.to_str().and_then(|count| count.parse().ok()).expect("FUZZ_INPUTS is a number")
    })
}

pub(super) fn lines(corpus: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let lines: Vec<&[u8]> = corpus.lines().map(str::as_bytes).collect();
    let edit = prop_oneof![
        (any::<u16>(), 0..TOKENS.len()).prop_map(|(at, token)| Edit::Insert(at, token)),
        (any::<u16>(), 1..9_u8).prop_map(|(at, count)| Edit::Delete(at, count)),
        (any::<u16>(), 1..33_u8).prop_map(|(at, count)| Edit::Repeat(at, count)),
        (any::<u16>(), any::<u8>()).prop_map(|(at, byte)| Edit::Byte(at, byte)),
        (any::<u16>(), 0..lines.len()).prop_map(|(at, line)| Edit::Splice(at, line)),
    ];
    (0..lines.len(), vec(edit, 0..5)).prop_map(move |(line, edits)| {
        edits.iter().fold(lines[line].to_vec(), |bytes, edit| edit.on(bytes, &lines))
    })
}

impl Edit {
    fn on(&self, mut bytes: Vec<u8>, lines: &[&[u8]]) -> Vec<u8> {
        let place = |at: u16, length: usize| usize::from(at) % (length + 1);
        match *self {
            Edit::Insert(at, token) => {
                let at = place(at, bytes.len());
                bytes.splice(at..at, TOKENS[token].iter().copied());
            }
            Edit::Delete(at, count) => {
                let at = place(at, bytes.len());
                bytes.drain(at..(at + usize::from(count)).min(bytes.len()));
            }
            Edit::Repeat(at, count) => {
                let at = place(at, bytes.len());
                let again = bytes[at..(at + usize::from(count)).min(bytes.len())].to_vec();
                bytes.splice(at..at, again);
            }
            Edit::Byte(at, byte) if !bytes.is_empty() => {
                let at = place(at, bytes.len() - 1);
                bytes[at] = byte;
            }
            Edit::Byte(..) => {}
            Edit::Splice(at, line) => {
                let rest = lines[line];
                bytes.truncate(place(at, bytes.len()));
                bytes.extend_from_slice(&rest[place(at, rest.len())..]);
            }
        }
        bytes
    }
}
