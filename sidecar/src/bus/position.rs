//! Where a message stands: which life of Redis' data numbered it, and which number it got.

use std::fmt;
use std::str::FromStr;

/// As the stream's ids are: `n-seq`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The incarnation's.
    pub n: u64,
    pub seq: u64,
}

/// While both stay the same, no number is given twice and none is lost.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Life {
    pub n: u64,
    pub run_id: String,
}

/// What Redis says of the messages there are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Top {
    pub life: Life,
    /// The number of the last one.
    pub seq: u64,
}

impl Top {
    pub fn position(&self) -> Position {
        Position { n: self.life.n, seq: self.seq }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.n, self.seq)
    }
}

impl FromStr for Position {
    type Err = ();

    fn from_str(text: &str) -> Result<Position, ()> {
        let (n, seq) = text.split_once('-').ok_or(())?;
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
            if plain { digits.parse().map_err(|_| ()) } else { Err(()) }
        };
        Ok(Position { n: number(n)?, seq: number(seq)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_ordered_by_life_first_and_read_as_they_are_written() {
        let position = |text: &str| text.parse::<Position>();
        assert!(position("1-9").unwrap() < position("2-1").unwrap());
        for text in ["0-0", "7-1795198630924000", "18446744073709551615-18446744073709551615"] {
            assert_eq!(position(text).unwrap().to_string(), text);
        }
        for other in ["", "1", "1-", "-1", "1-2-3", "+1-2", "1- 2", "a-1", "18446744073709551616-1"] {
            assert_eq!(position(other), Err(()), "{other}");
        }
    }
}
