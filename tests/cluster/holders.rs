//! Which pod holds a session in its memory, by what it has answered: such a pod goes on to tell it while Redis is away.

use std::time::{Duration, Instant};

/// A pod has heard of another's write within this, and told of it until then as the header says.
const HEARD: Duration = Duration::from_millis(300);

/// One session, and what each pod has answered about it.
#[derive(Debug, Clone)]
pub(crate) struct Holders(Vec<Answers>);

#[derive(Debug, Clone, Copy, Default)]
struct Answers {
    /// The last request was sent then that the pod answered with the session.
    told: Option<Instant>,
    /// The last write through it that may have reached Redis was answered then.
    wrote: Option<Instant>,
    /// It has a change in its journal, which reaches Redis when that is back.
    owes: bool,
}

impl Holders {
    pub(crate) fn new(pods: usize) -> Holders {
        Holders(vec![Answers::default(); pods])
    }

    /// The pod has answered with the session, from wherever it had it.
    pub(crate) fn told(&mut self, pod: usize, asked: Instant) {
        self.0[pod].told = Some(asked);
    }

    /// A write through the pod has, or may have, reached Redis.
    pub(crate) fn wrote(&mut self, pod: usize, answered: Instant) {
        self.0[pod].wrote = Some(answered);
    }

    pub(crate) fn owes(&mut self, pod: usize) {
        self.0[pod].owes = true;
    }

    /// What the pod told is newer than every write through another one. `back`: Redis may be there again.
    pub(crate) fn holds(&self, pod: usize, back: bool) -> bool {
        let Some(told) = self.0[pod].told else { return false };
        let mut others = self.0.iter().enumerate().filter(|(other, _)| *other != pod);
        others.all(|(_, Answers { told: _, wrote, owes })| {
            wrote.is_none_or(|wrote| told >= wrote + HEARD) && !(back && *owes)
        })
    }
}

#[test]
fn a_pod_holds_what_it_told_after_all_others_have_written() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut holders = Holders::new(2);
    assert!(!holders.holds(0, false), "it has told nothing");
    holders.told(0, at(0));
    holders.wrote(0, at(10));
    assert!(holders.holds(0, false), "its own writes take nothing from it");
    holders.wrote(1, at(1_000));
    assert!(!holders.holds(0, false));
    holders.told(0, at(1_200));
    assert!(!holders.holds(0, false), "it may have heard of the write after it answered");
    holders.told(0, at(1_300));
    assert!(holders.holds(0, true));
    holders.owes(1);
    assert!(holders.holds(0, false) && !holders.holds(0, true));
}
