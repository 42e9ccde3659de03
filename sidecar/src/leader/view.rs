//! Who leads, as this pod knows it.

use super::step::{Candidate, Other, State};
use crate::clock::Boot;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// The highest term that is known; the leader's, if there is one.
    pub term: u64,
    pub leader: Option<Leading>,
    /// What this pod may act under.
    pub held: Option<Held>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leading {
    pub id: String,
    /// Of another pod: so long it leads if it was not renewed since that was last seen.
    pub until: Boot,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub term: u64,
    pub nonce: String,
    pub until: Boot,
}

impl View {
    pub(super) fn of(candidate: &Candidate, state: &State, now: Boot) -> View {
        let held = candidate.held(state);
        let held = held.map(|(record, until)| Held { term: record.term, nonce: record.nonce.clone(), until });
        let other = state.other.as_ref().map(|Other { id, term, until }| (id, *term, *until));
        let own = held.as_ref().map(|held| (&candidate.id, held.term, held.until));
        let leader = own.or(other).filter(|(_, _, until)| *until > now);
        let term = leader.map_or(state.highest, |(_, term, _)| term);
        let leader = leader.map(|(id, _, until)| Leading { id: id.clone(), until });
        View { term, leader, held }
    }

    pub fn is_self(&self) -> bool {
        self.held.is_some() && self.leader.is_some()
    }

    /// Who leads now: nobody, when the last that was heard of a leader is too old.
    pub fn leader(&self, now: Boot) -> Option<&Leading> {
        self.leader.as_ref().filter(|leader| leader.until > now)
    }

    pub(super) fn holds(&self, term: u64) -> bool {
        self.held.as_ref().is_some_and(|held| held.term == term)
    }

    pub(super) fn tells_the_same(&self, other: &View) -> bool {
        let told =
            |view: &View| (view.term, view.leader.as_ref().map(|leader| leader.id.clone()), view.is_self());
        told(self) == told(other)
    }
}
