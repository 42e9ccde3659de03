//! What a process says of itself, once a second.

use serde::{Deserialize, Serialize};

/// Unknown members are those of newer pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    pub pod: String,
    /// The app behind it is to be sent requests.
    pub ready: bool,
    /// It has been told to end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaving: bool,
}

/// A row, and when it was written by Redis' clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    pub at_us: i64,
    pub row: Row,
}

impl Written {
    /// `us JSON`; None where it is neither.
    pub(super) fn parse(value: &str) -> Option<Written> {
        let (at, row) = value.split_once(' ')?;
        Some(Written { at_us: at.parse().ok()?, row: serde_json::from_str(row).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_with_what_is_new_in_it_and_anything_else_is_none() {
        let written = Written::parse(r#"12 {"pod":"a","ready":true,"mood":"good"}"#).unwrap();
        let row = Row { pod: "a".to_owned(), ready: true, leaving: false };
        assert_eq!(written, Written { at_us: 12, row: row.clone() });
        assert_eq!(serde_json::to_string(&row).unwrap(), r#"{"pod":"a","ready":true}"#);
        for other in ["", "12", "12 ", "x {}", "12 {}", r#"{"pod":"a","ready":true}"#] {
            assert_eq!(Written::parse(other), None, "{other}");
        }
    }
}
