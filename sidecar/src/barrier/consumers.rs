//! The app's own streams, as far as they say what they have applied: a message is applied when all of them have, or
//! may serve nothing any more that it was about.

use std::collections::BTreeMap;

use crate::bus::Position;
use crate::clock::Boot;

/// Of this pod's app.
#[derive(Debug, Default)]
pub(crate) struct Consumers {
    next: u64,
    /// The last that the app was told; what is told to nobody here is nobody's to apply.
    told: Option<Position>,
    known: BTreeMap<u64, Consumer>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Consumer {
    applied: Position,
    /// It was told that it may serve what it has until then.
    serves_until: Boot,
    open: bool,
}

impl Consumers {
    /// One that has applied all up to `at`: it begins there, with nothing that could be stale.
    pub(crate) fn join(&mut self, at: Position) -> u64 {
        self.next += 1;
        let consumer = Consumer { applied: at, serves_until: Boot::default(), open: true };
        self.known.insert(self.next, consumer);
        self.next
    }

    /// False: there is no such stream, or not any more.
    pub(crate) fn applied_by(&mut self, stream: u64, at: Position) -> bool {
        let found = self.known.get_mut(&stream).filter(|consumer| consumer.open);
        found.map(|consumer| consumer.applied = consumer.applied.max(at)).is_some()
    }

    pub(crate) fn tells(&mut self, at: Position) {
        self.told = Some(at);
    }

    pub(crate) fn lets_serve(&mut self, stream: u64, serves_until: Boot) {
        if let Some(consumer) = self.known.get_mut(&stream) {
            consumer.serves_until = consumer.serves_until.max(serves_until);
        }
    }

    /// What it was told still counts: whoever lost his stream may not know it yet.
    pub(crate) fn leave(&mut self, stream: u64) {
        if let Some(consumer) = self.known.get_mut(&stream) {
            consumer.open = false;
        }
    }

    /// What all of the app has applied of what was `delivered` to it.
    pub(crate) fn applied(&mut self, delivered: Position, now: Boot) -> Position {
        self.known.retain(|_, consumer| consumer.open || consumer.serves_until > now);
        let behind =
            self.known.values().filter(|consumer| self.told.is_some_and(|told| consumer.applied < told));
        behind.map(|consumer| consumer.applied).fold(delivered, Position::min)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seq: u64) -> Position {
        Position { n: 1, seq }
    }

    fn second(second: u64) -> Boot {
        Boot::at(Duration::from_secs(second))
    }

    #[test]
    fn without_streams_that_say_so_what_is_delivered_is_applied() {
        assert_eq!(Consumers::default().applied(at(7), second(1)), at(7));
    }

    #[test]
    fn the_slowest_stream_counts() {
        let mut consumers = Consumers::default();
        let (fast, slow) = (consumers.join(at(5)), consumers.join(at(6)));
        consumers.tells(at(9));
        assert!(consumers.applied_by(fast, at(9)) && consumers.applied_by(slow, at(7)));
        // Said twice, or late.
        assert!(consumers.applied_by(fast, at(8)));
        assert_eq!(consumers.applied(at(9), second(1)), at(7));
        assert_eq!(consumers.applied(at(6), second(1)), at(6), "no more than was delivered");
    }

    #[test]
    fn what_is_for_another_pod_is_not_waited_for() {
        let mut consumers = Consumers::default();
        let stream = consumers.join(at(5));
        consumers.tells(at(6));
        assert_eq!(consumers.applied(at(8), second(1)), at(5));
        consumers.applied_by(stream, at(6));
        assert_eq!(consumers.applied(at(8), second(1)), at(8));
    }

    #[test]
    fn a_stream_that_is_gone_counts_until_what_it_was_told_is_over() {
        let mut consumers = Consumers::default();
        consumers.tells(at(9));
        let stream = consumers.join(at(5));
        consumers.lets_serve(stream, second(3));
        consumers.lets_serve(stream, second(2));
        consumers.leave(stream);
        assert!(!consumers.applied_by(stream, at(9)));
        assert_eq!(consumers.applied(at(9), second(2)), at(5));
        assert_eq!(consumers.applied(at(9), second(3)), at(9));
        let never_told = consumers.join(at(5));
        consumers.leave(never_told);
        assert_eq!(consumers.applied(at(9), second(3)), at(9));
    }
}
