//! Until when this pod's app may serve what messages can take away: as long as others count on this pod, and while it
//! knows all that was published before they began to.

use std::time::Duration;

use crate::bus::Position;
use crate::clock::Boot;

/// Who has not been confirmed to be there for this long takes himself for cut off, a second before others do.
const FENCED: Duration = Duration::from_secs(2);

/// What a test may break of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Who is cut off lets nothing be served any more.
    pub self_fence: bool,
    /// Where Redis has replicas, who is there is whom they know of: another master counts on nobody else.
    pub replicated: bool,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { self_fence: true, replicated: true }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Lease {
    rules: Rules,
    /// When the last row that Redis has was sent.
    confirmed: Option<Boot>,
    /// The top when others began to count on this process.
    since: Option<Position>,
    caught_up: bool,
}

impl Lease {
    pub(super) fn new(rules: Rules) -> Lease {
        Lease { rules, ..Lease::default() }
    }

    /// A row was sent then, and Redis had it when its top was this; whether its replicas have it, too.
    pub(super) fn said(&mut self, sent: Boot, top: Position, replicated: bool) {
        if self.rules.replicated && !replicated {
            return;
        }
        let lapsed = self.confirmed.is_none_or(|last| self.rules.self_fence && sent >= last + FENCED);
        if lapsed {
            *self = Lease { since: Some(top), ..Lease::new(self.rules) };
        }
        self.confirmed = self.confirmed.max(Some(sent));
    }

    pub(super) fn applied(&mut self, at: Position) {
        self.caught_up |= self.since.is_some_and(|top| at >= top);
    }

    /// None: nothing may be served yet.
    pub(super) fn until(&self, now: Boot) -> Option<Boot> {
        let confirmed = self.confirmed.filter(|_| self.caught_up)?;
        Some(if self.rules.self_fence { confirmed } else { now } + FENCED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seq: u64) -> Position {
        Position { n: 1, seq }
    }

    fn second(second: u64) -> Boot {
        Boot::at(Duration::from_secs(second))
    }

    #[test]
    fn nothing_is_served_before_all_is_known_that_was_published_before() {
        let mut lease = Lease::default();
        lease.applied(at(9));
        assert_eq!(lease.until(second(0)), None);
        lease.said(second(1), at(10), true);
        lease.applied(at(9));
        lease.said(second(2), at(12), true);
        assert_eq!(lease.until(second(0)), None);
        // What came after others began to count on it, they wait for.
        lease.applied(at(10));
        assert_eq!(lease.until(second(0)), Some(second(4)));
    }

    #[test]
    fn whoever_was_cut_off_begins_anew() {
        let mut lease = Lease::default();
        lease.said(second(1), at(1), true);
        lease.applied(at(1));
        lease.said(second(2), at(2), true);
        // An answer that comes late takes nothing away.
        lease.said(second(1), at(1), true);
        assert_eq!(lease.until(second(0)), Some(second(4)));
        lease.said(second(4), at(7), true);
        assert_eq!(lease.until(second(0)), None);
        lease.applied(at(6));
        assert_eq!(lease.until(second(0)), None);
        lease.applied(at(7));
        assert_eq!(lease.until(second(0)), Some(second(6)));
    }

    #[test]
    fn what_no_replica_has_is_no_confirmation() {
        let mut lease = Lease::default();
        lease.said(second(1), at(1), true);
        lease.applied(at(1));
        lease.said(second(2), at(1), false);
        assert_eq!(lease.until(second(2)), Some(second(3)));
        let mut broken = Lease { rules: Rules { replicated: false, ..Rules::default() }, ..lease };
        broken.said(second(2), at(1), false);
        assert_eq!(broken.until(second(2)), Some(second(4)));
    }

    #[test]
    fn without_that_rule_whoever_is_cut_off_lets_it_be_served_for_ever() {
        let mut lease = Lease::new(Rules { self_fence: false, ..Rules::default() });
        lease.said(second(1), at(1), true);
        lease.applied(at(1));
        assert_eq!(lease.until(second(100)), Some(second(102)));
        lease.said(second(200), at(9), true);
        assert_eq!(lease.until(second(200)), Some(second(202)));
    }
}
