//! What the lease says: `{"nonce":"…","id":"…","term":N,"beat":N}`, and `,"resigned":true` when its holder has left.
//! No time in it: how long it holds is a matter between its holder's clock and those who watch it.

use serde::{Deserialize, Serialize};

/// Every reader of JSON has integers exactly up to here.
const HIGHEST_TERM: u64 = (1 << 53) - 2;

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Of one acquisition; nobody else has it.
    pub nonce: String,
    /// The pod's name.
    pub id: String,
    pub term: u64,
    /// Grows with each renewal.
    pub beat: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resigned: bool,
}

/// The bytes that are there. Who takes over names them all, whether they are a record or not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lease {
    pub bytes: Vec<u8>,
    pub record: Option<Record>,
}

impl Lease {
    pub fn of(bytes: Vec<u8>) -> Lease {
        let record: Option<Record> = serde_json::from_slice(&bytes).ok();
        Lease { record: record.filter(|record| record.term <= HIGHEST_TERM), bytes }
    }
}

/// What is written where nothing is: no record, and watched like one.
pub(super) fn vacancy(nonce: &str) -> String {
    format!(r#"{{"vacant":"{nonce}"}}"#)
}

/// What a record begins with, up to its term.
pub(super) fn head(nonce: &str, id: &str) -> String {
    format!(r#"{{"nonce":"{nonce}","id":{},"term":"#, serde_json::Value::from(id))
}

impl Record {
    /// What it begins with, up to its beat: as long as that is in Redis, nobody has taken over.
    pub(super) fn claim(&self) -> String {
        format!(r#"{}{},"beat":"#, head(&self.nonce, &self.id), self.term)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_written_as_its_claim_and_its_beat() {
        let record =
            Record { nonce: "0f".to_owned(), id: "a\"é".to_owned(), term: 7, beat: 3, resigned: false };
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(text, r#"{"nonce":"0f","id":"a\"é","term":7,"beat":3}"#);
        assert_eq!(text, format!("{}3}}", record.claim()));
        let resigned = Record { resigned: true, ..record.clone() };
        assert_eq!(
            serde_json::to_string(&resigned).unwrap(),
            format!(r#"{}3,"resigned":true}}"#, record.claim())
        );
        for record in [record, resigned] {
            assert_eq!(Lease::of(serde_json::to_vec(&record).unwrap()).record, Some(record));
        }
    }

    #[test]
    fn anything_else_is_bytes_without_a_term() {
        let terms = [u64::MAX, HIGHEST_TERM + 1]
            .map(|term| format!(r#"{{"nonce":"a","id":"b","term":{term},"beat":0}}"#));
        let vacant = vacancy("0f");
        let others =
            ["", "x", "{}", &vacant, r#"{"leaderId":"a","term":1,"lastHeartbeat":1,"status":"active"}"#];
        for other in others.into_iter().chain(terms.iter().map(String::as_str)) {
            assert_eq!(Lease::of(other.into()).record, None, "{other}");
        }
        assert_eq!(Lease::of(vec![0xff]).record, None);
    }
}
