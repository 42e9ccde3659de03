//! What a process says of itself, once a second.

use serde::{Deserialize, Serialize};

use crate::bus::Position;

/// Unknown members are those of newer pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    pub pod: String,
    /// The app behind it is to be sent requests.
    pub ready: bool,
    /// It has been told to end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaving: bool,
    /// What its app has applied of the messages.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "text")]
    pub cursor: Option<Position>,
}

/// As `n-seq`.
mod text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Position;

    pub(super) fn serialize<S: Serializer>(cursor: &Option<Position>, to: S) -> Result<S::Ok, S::Error> {
        cursor.map(|cursor| cursor.to_string()).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Position>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        Ok(text.and_then(|text| text.parse().ok()))
    }
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
        let row = Row { pod: "a".to_owned(), ready: true, leaving: false, cursor: None };
        assert_eq!(written, Written { at_us: 12, row: row.clone() });
        assert_eq!(serde_json::to_string(&row).unwrap(), r#"{"pod":"a","ready":true}"#);
        let at = |text| Written::parse(text).unwrap().row.cursor;
        assert_eq!(at(r#"1 {"pod":"a","ready":true,"cursor":"2-7"}"#), Some(Position { n: 2, seq: 7 }));
        assert_eq!(at(r#"1 {"pod":"a","ready":true,"cursor":"?"}"#), None);
        for other in ["", "12", "12 ", "x {}", "12 {}", r#"{"pod":"a","ready":true}"#] {
            assert_eq!(Written::parse(other), None, "{other}");
        }
    }
}
