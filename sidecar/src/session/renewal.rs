//! A touch changes no byte, so when the session was last renewed is computed from the life that is left.

use std::ops::Range;

use super::document::Invalid;
use super::rule;
use super::store::Stored;

/// When the session was last renewed, if that was later than `lastActivity` says, and where that value stands.
#[derive(Debug, Clone)]
pub(super) struct Renewal {
    renewed_ms: i64,
    at: Range<usize>,
}

impl Renewal {
    /// Told is only what is later than `lastActivity` by more than the way to Redis may cost. A life longer than
    /// ours was given by somebody else: it does not say when it began.
    pub(super) fn of(stored: &Stored, life_ms: u64, now_ms: i64) -> Result<Option<Renewal>, Invalid> {
        let Stored { text, left_ms } = stored;
        let (Ok(life_ms), Some((at, written_ms))) = (i64::try_from(life_ms), &text.said()?.active) else {
            return Ok(None);
        };
        if !(0..=life_ms).contains(left_ms) {
            return Ok(None);
        }
        let slack_ms = (life_ms / 100).min(1000);
        let renewed_ms = now_ms.saturating_sub(life_ms - left_ms);
        let told = renewed_ms > written_ms.saturating_add(slack_ms);
        Ok(told.then(|| Renewal { renewed_ms, at: at.clone() }))
    }

    /// `text`, with that time in the place of `lastActivity`.
    pub(super) fn told(&self, text: &str) -> String {
        let mut told = text.to_owned();
        told.replace_range(self.at.clone(), &format!("\"{}\"", rule::timestamp(self.renewed_ms)));
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: i64 = 86_400_000;
    /// 2026-11-20T18:20:34.366Z
    const NOW: i64 = 1_795_198_834_366;

    fn answer(text: &str, left_ms: i64) -> String {
        let stored = Stored { text: text.to_owned().into(), left_ms };
        let renewal = Renewal::of(&stored, LIFE as u64, NOW).unwrap();
        renewal.map_or(text.to_owned(), |renewal| renewal.told(text))
    }

    #[test]
    fn an_answer_tells_the_last_touch_and_changes_nothing_else() {
        let text = r#"{"a":"2020-01-01T00:00:00.000Z","lastActivity":"2020-01-01T00:00:00.000Z","b":1.0}"#;
        for (left_ms, expect) in [
            (LIFE, "2026-11-20T18:20:34.366Z"),
            (LIFE - 1000, "2026-11-20T18:20:33.366Z"),
            (0, "2026-11-19T18:20:34.366Z"),
        ] {
            let told = format!(r#"{{"a":"2020-01-01T00:00:00.000Z","lastActivity":"{expect}","b":1.0}}"#);
            assert_eq!(answer(text, left_ms), told);
        }
    }

    #[test]
    fn what_was_written_is_told_as_it_was_written() {
        let written = |time: &str| format!(r#"{{"lastActivity":"{time}"}}"#);
        let long_ago = "2020-01-01T00:00:00.000Z";
        for (text, left_ms) in [
            // Redis was reached 900 ms after the value was made.
            (written("2026-11-20T18:20:33.466Z"), LIFE),
            // Another writer's clock is ahead.
            (written("2026-11-20T19:20:34.366Z"), LIFE),
            // Its sessions live longer, or for ever.
            (written(long_ago), LIFE + 1),
            (written(long_ago), 10 * LIFE),
            (written(long_ago), -1),
            (written("yesterday"), LIFE),
            (r#"{"lastActivity":7}"#.to_owned(), LIFE),
            ("{}".to_owned(), LIFE),
        ] {
            assert_eq!(answer(&text, left_ms), text, "{left_ms}");
        }
    }
}
