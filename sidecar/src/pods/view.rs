//! Who is there, as it was read last, and what has changed since the reading before.

use std::collections::BTreeMap;
use std::time::Duration;

use super::row::{Row, Written};
use crate::clock::Boot;

/// Whoever has said nothing for this long is gone, or cut off and knows it.
pub const GONE: Duration = Duration::from_secs(3);

/// Two readings that lie further apart had an outage between them.
const OUTAGE: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// By process.
    pub there: BTreeMap<String, Seen>,
    /// When this was so. None: nothing was read yet.
    pub read: Option<Boot>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub row: Row,
    /// When it was read.
    pub age: Duration,
}

/// A process that was not there before, or is no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub joined: bool,
    pub pod: String,
    pub process: String,
}

impl Change {
    pub(super) fn what(&self) -> &'static str {
        if self.joined { "joined" } else { "left" }
    }
}

impl View {
    /// `rows` are those that Redis had at `now_us` of its clock; `sent` is when it was asked. What is no row is
    /// nobody's.
    pub(super) fn new(
        now_us: i64,
        rows: impl IntoIterator<Item = (impl Into<String>, impl AsRef<str>)>,
        sent: Boot,
    ) -> View {
        let seen = rows.into_iter().filter_map(|(process, value)| {
            let Written { at_us, row } = Written::parse(value.as_ref())?;
            let age = u64::try_from(now_us.saturating_sub(at_us)).unwrap_or_default();
            Some((process.into(), Seen { row, age: Duration::from_micros(age) }))
        });
        View { there: seen.collect(), read: Some(sent) }
    }

    /// With those that a reading before found and this one did not, until they have been silent for long: Redis may
    /// have lost what it knew. A time in which nothing could be said is not counted.
    pub(super) fn remembering(mut self, before: &View) -> View {
        let passed = self.read.zip(before.read).map_or(Duration::MAX, |(now, then)| now.since(then));
        let passed = if passed > OUTAGE { Duration::ZERO } else { passed };
        for (process, seen) in &before.there {
            let age = seen.age.saturating_add(passed);
            if age <= GONE && !self.there.contains_key(process) {
                self.there.insert(process.clone(), Seen { row: seen.row.clone(), age });
            }
        }
        self
    }

    /// How old what is said here is, beyond the age of each row.
    pub fn age(&self, now: Boot) -> Duration {
        self.read.map_or(Duration::MAX, |read| now.since(read))
    }

    /// Those that take part: a process that is about to end does not.
    pub fn present(&self) -> impl Iterator<Item = (&String, &Seen)> {
        self.there.iter().filter(|(_, seen)| !seen.row.leaving)
    }

    /// From the first reading nothing follows about who came.
    pub fn changes(&self, before: &View) -> Vec<Change> {
        if before.read.is_none() {
            return Vec::new();
        }
        let (was, is): (BTreeMap<_, _>, BTreeMap<_, _>) =
            (before.present().collect(), self.present().collect());
        let change = |joined, process: &String, seen: &Seen| Change {
            joined,
            pod: seen.row.pod.clone(),
            process: process.clone(),
        };
        let left = was.iter().filter(|(process, _)| !is.contains_key(*process));
        let joined = is.iter().filter(|(process, _)| !was.contains_key(*process));
        let left = left.map(|(process, seen)| change(false, process, seen));
        left.chain(joined.map(|(process, seen)| change(true, process, seen))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: [(&str, &str); 0] = [];

    fn view(rows: &[(&str, &str)]) -> View {
        View::new(5_000_000, rows.iter().copied(), Boot::at(Duration::from_secs(9)))
    }

    #[test]
    fn ages_are_by_one_clock_and_garbage_is_nobody() {
        let view = view(&[("1", r#"4000000 {"pod":"a","ready":true}"#), ("2", "nonsense")]);
        assert_eq!(view.there.len(), 1);
        assert_eq!(view.there["1"].age, Duration::from_secs(1));
        assert_eq!(view.age(Boot::at(Duration::from_secs(10))), Duration::from_secs(1));
        assert_eq!(View::default().age(Boot::default()), Duration::MAX);
    }

    #[test]
    fn who_was_there_a_moment_ago_is_remembered_although_redis_forgot() {
        let at = |seconds| Boot::at(Duration::from_secs(seconds));
        let b = ("2", r#"9000000 {"pod":"b","ready":true}"#);
        let before = View::new(10_000_000, [b], at(100));
        let after = |before: &View, seconds| View::new(0, NOBODY, at(seconds)).remembering(before);
        let later = after(&before, 102);
        assert_eq!(later.there["2"].age, Duration::from_secs(3));
        assert!(after(&later, 103).there.is_empty());
        let outage = after(&before, 200);
        assert_eq!(outage.there["2"].age, Duration::from_secs(1));
        assert!(after(&after(&outage, 202), 203).there.is_empty());
        let heard = View::new(12_000_000, [("2", r#"12000000 {"pod":"b","ready":true}"#)], at(102));
        assert_eq!(heard.remembering(&before).there["2"].age, Duration::ZERO);
        assert!(View::new(0, NOBODY, at(1)).remembering(&View::default()).there.is_empty());
    }

    #[test]
    fn who_comes_and_who_goes_is_told_once() {
        let (a, b) = (("1", r#"4 {"pod":"a","ready":true}"#), ("2", r#"4 {"pod":"b","ready":false}"#));
        let leaving = ("1", r#"4 {"pod":"a","ready":false,"leaving":true}"#);
        // A container that was restarted: the same pod, another process.
        let again = ("3", r#"4 {"pod":"a","ready":true}"#);
        let change =
            |joined, pod: &str, process: &str| Change { joined, pod: pod.into(), process: process.into() };
        let joined = |pod, process| change(true, pod, process);
        let left = |pod, process| change(false, pod, process);
        assert_eq!(view(&[a, b]).changes(&View::default()), []);
        assert_eq!(view(&[a, b]).changes(&view(&[a])), [joined("b", "2")]);
        assert_eq!(view(&[a, b]).changes(&view(&[a, b])), []);
        assert_eq!(view(&[leaving, b]).changes(&view(&[a, b])), [left("a", "1")]);
        assert_eq!(view(&[b]).changes(&view(&[leaving, b])), []);
        assert_eq!(view(&[again, b]).changes(&view(&[a, b])), [left("a", "1"), joined("a", "3")]);
    }
}
