//! Whether all who were there when a message was published have applied it, or serve nothing that it was about.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::bus::Position;
use crate::pods::{GONE, Seen, View};

/// Who has not applied a message yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Laggard {
    pub(crate) process: String,
    pub(crate) pod: String,
    /// What it has applied. None: it has yet to read where messages are.
    pub(crate) cursor: Option<Position>,
}

/// `listed` were there at the publication, which is `passed` ago; `view` was read since. Who has been silent for so
/// long that he is gone has taken himself for cut off before. That a row is missing proves nothing by itself: Redis
/// may have lost it.
pub(crate) fn laggards(
    at: Position,
    listed: &BTreeMap<String, Seen>,
    view: &View,
    passed: Duration,
) -> Vec<Laggard> {
    let behind = listed.iter().filter_map(|(process, then)| {
        let (seen, age) = match view.there.get(process) {
            Some(now) => (now, now.age),
            None => (then, then.age.saturating_add(passed)),
        };
        let applied = seen.row.cursor.is_some_and(|cursor| cursor >= at);
        let (pod, cursor) = (seen.row.pod.clone(), seen.row.cursor);
        (!applied && age <= GONE).then(|| Laggard { process: process.clone(), pod, cursor })
    });
    behind.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Boot;
    use crate::pods::Row;

    const MS: Duration = Duration::from_millis(1);

    fn seen(seq: Option<u64>, age: Duration) -> Seen {
        let cursor = seq.map(|seq| Position { n: 1, seq });
        Seen { row: Row { pod: "a".to_owned(), ready: true, leaving: false, cursor }, age }
    }

    fn behind(then: Seen, now: Option<Seen>, passed: Duration) -> bool {
        let process = || "1".to_owned();
        let there = now.into_iter().map(|seen| (process(), seen)).collect();
        let view = View { there, read: Some(Boot::default()) };
        let listed = BTreeMap::from([(process(), then)]);
        !laggards(Position { n: 1, seq: 5 }, &listed, &view, passed).is_empty()
    }

    #[test]
    fn applied_or_silent_for_long_is_done_and_a_missing_row_is_not() {
        let then = || seen(Some(4), 500 * MS);
        for (name, now, passed, expected) in [
            ("applied", Some(seen(Some(5), MS)), MS, false),
            (
                "a later life",
                Some(Seen { row: Row { cursor: Some(Position { n: 2, seq: 1 }), ..then().row }, age: MS }),
                MS,
                false,
            ),
            ("behind", Some(seen(Some(4), MS)), MS, true),
            ("has not begun", Some(seen(None, MS)), MS, true),
            ("silent", Some(seen(Some(4), GONE)), MS, true),
            ("silent for long", Some(seen(Some(4), GONE + MS)), MS, false),
            ("forgotten by Redis", None, 2_500 * MS, true),
            ("gone", None, 2_501 * MS, false),
        ] {
            assert_eq!(behind(then(), now, passed), expected, "{name}");
        }
    }
}
