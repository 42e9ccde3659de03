//! Writers of one session in this process: while one compare-and-set is under way the others gather, and go together
//! as the next. Each alone would defeat all the others. Other pods are met at the compare-and-set still.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::rule::Change;
use super::write::{Terms, Written};
use super::{Error, SessionId};

/// Writers that wait for one session, each with a document perhaps; whoever comes then is turned away.
const QUEUE: usize = 512;
/// One compare-and-set writes for so many: they are merged one after the other while the rest of the process waits.
const BATCH: usize = 64;

/// There is a queue as long as somebody leads it.
#[derive(Debug, Default)]
pub(crate) struct Combiner(Mutex<HashMap<SessionId, Queue>>);

#[derive(Debug, Default)]
struct Queue {
    joined: u64,
    members: VecDeque<(u64, Member)>,
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) change: Arc<Change>,
    pub(crate) terms: Terms,
    answer: oneshot::Sender<Result<Written, Error>>,
}

/// A member's own end.
#[derive(Debug)]
pub(crate) struct Seat {
    number: u64,
    /// Whoever comes first sees to a leader.
    pub(crate) first: bool,
    pub(crate) answer: oneshot::Receiver<Result<Written, Error>>,
}

impl Member {
    /// Whoever went away meanwhile is not told.
    pub(crate) fn tell(self, answer: Result<Written, Error>) {
        let _gone = self.answer.send(answer);
    }

    /// Whether it may follow in one compare-and-set: a condition is about what is stored, a key's result is of one
    /// request, and nobody waits for replicas on behalf of others.
    fn follows(&self, first: &Member) -> bool {
        let (how, other) = (self.terms.how, first.terms.how);
        let keyed = how.key.is_some() || other.key.is_some();
        self.terms.condition.is_unconditional() && !keyed && how.way == other.way
    }
}

impl Combiner {
    /// None if too many wait already.
    pub(crate) fn join(&self, id: &SessionId, change: Arc<Change>, terms: Terms) -> Option<Seat> {
        let mut queues = self.queues();
        let first = !queues.contains_key(id);
        let queue = queues.entry(id.clone()).or_default();
        if queue.members.len() >= QUEUE {
            return None;
        }
        let (sender, answer) = oneshot::channel();
        let number = queue.joined;
        queue.joined += 1;
        queue.members.push_back((number, Member { change, terms, answer: sender }));
        Some(Seat { number, first, answer })
    }

    /// False if it is being written already.
    pub(crate) fn withdraw(&self, id: &SessionId, seat: &Seat) -> bool {
        let mut queues = self.queues();
        let Some(queue) = queues.get_mut(id) else { return false };
        let at = queue.members.iter().position(|(number, _)| *number == seat.number);
        at.is_some_and(|at| queue.members.remove(at).is_some())
    }

    /// Those who go together next, in the order of coming; if there are none, the queue has ended.
    fn next(&self, id: &SessionId) -> Vec<Member> {
        let mut queues = self.queues();
        let Some(queue) = queues.get_mut(id) else { return Vec::new() };
        let mut batch: Vec<Member> = Vec::new();
        while let Some((_, next)) = queue.members.front() {
            let gone = next.answer.is_closed();
            let full = batch.len() == BATCH || batch.first().is_some_and(|first| !next.follows(first));
            if full && !gone {
                break;
            }
            let member = queue.members.pop_front().map(|(_, member)| member);
            batch.extend(member.filter(|_| !gone));
        }
        if batch.is_empty() {
            queues.remove(id);
        }
        batch
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<SessionId, Queue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leads one session's queue to its end. Should the leader die, so does the queue: its members hear of it, and the
/// next writer leads a new one.
#[derive(Debug)]
pub(crate) struct Lead<'a> {
    combiner: &'a Combiner,
    id: &'a SessionId,
    ended: bool,
}

impl<'a> Lead<'a> {
    pub(crate) fn new(combiner: &'a Combiner, id: &'a SessionId) -> Lead<'a> {
        Lead { combiner, id, ended: false }
    }

    pub(crate) fn next(&mut self) -> Option<Vec<Member>> {
        let batch = self.combiner.next(self.id);
        self.ended = batch.is_empty();
        (!self.ended).then_some(batch)
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.combiner.queues().remove(self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, header};

    use super::super::budget::Budget;
    use super::super::condition::Condition;
    use super::super::durability::How;
    use super::super::rule::Identity;
    use super::*;

    fn id() -> SessionId {
        SessionId::parse("a").unwrap()
    }

    fn join(combiner: &Combiner, number: usize, if_match: Option<&str>) -> Option<Seat> {
        let mut headers = HeaderMap::new();
        headers.extend(if_match.map(|tag| (header::IF_MATCH, tag.parse().unwrap())));
        let condition = Condition::of(&headers).unwrap();
        let change = Arc::new(Change::Replace(number.to_string()));
        combiner.join(&id(), change, Terms::new(condition, Identity::Kept, How::default(), Budget::begin()))
    }

    /// The numbers of those who go together.
    fn numbers(batch: &[Member]) -> Vec<usize> {
        let number = |member: &Member| match &*member.change {
            Change::Replace(text) => text.parse().unwrap(),
            other => panic!("{other:?}"),
        };
        batch.iter().map(number).collect()
    }

    #[test]
    fn a_condition_goes_first_and_the_others_follow_in_their_order() {
        let combiner = Combiner::default();
        let tags = [None, None, Some("\"x\""), Some("*"), Some("\"y\""), None];
        let seats: Vec<_> =
            tags.iter().enumerate().map(|(number, tag)| join(&combiner, number, *tag).unwrap()).collect();
        assert_eq!(
            seats.iter().map(|seat| seat.first).collect::<Vec<_>>(),
            [true, false, false, false, false, false]
        );
        let id = id();
        let mut lead = Lead::new(&combiner, &id);
        for expect in [vec![0, 1], vec![2, 3], vec![4, 5]] {
            assert_eq!(numbers(&lead.next().unwrap()), expect);
        }
        assert!(lead.next().is_none() && combiner.queues().is_empty());
    }

    #[test]
    fn who_withdraws_or_went_away_is_not_written() {
        let combiner = Combiner::default();
        let mut seats: Vec<_> = (0..4).map(|number| join(&combiner, number, None).unwrap()).collect();
        drop(seats.remove(0));
        assert!(combiner.withdraw(&id(), &seats[1]), "2 waits still");
        let id = id();
        let mut lead = Lead::new(&combiner, &id);
        assert_eq!(numbers(&lead.next().unwrap()), [1, 3]);
        assert!(!combiner.withdraw(&id, &seats[0]), "1 is being written");
        assert!(lead.next().is_none());
    }

    #[test]
    fn batches_and_queues_are_bounded() {
        let combiner = Combiner::default();
        let seats: Vec<_> = (0..QUEUE).map(|number| join(&combiner, number, None).unwrap()).collect();
        assert!(join(&combiner, QUEUE, None).is_none());
        let id = id();
        let mut lead = Lead::new(&combiner, &id);
        assert_eq!(lead.next().unwrap().len(), BATCH);
        drop(seats);
        assert!(lead.next().is_none(), "nobody is left to tell");
    }

    #[test]
    fn a_leader_that_dies_takes_its_queue_with_it_and_a_new_one_follows() {
        let combiner = Combiner::default();
        let mut waiting = join(&combiner, 0, None).unwrap();
        drop(Lead::new(&combiner, &id()));
        assert!(waiting.answer.try_recv().is_err());
        assert!(join(&combiner, 1, None).unwrap().first);
    }
}
