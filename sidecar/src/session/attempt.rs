//! A write whose answer got lost is sent again, as the same operation over the same base, until Redis says what
//! became of it. Pure but for the pause between two attempts.

use std::ops::ControlFlow;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

use super::Error;
use super::budget::Budget;
use super::store::{Answer, Outcome};

/// A connection that broke is not there again at once.
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No attempt has acted, and none can.
    Clean,
    /// One may have acted, or may yet, until its deadline.
    Doubtful,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Done,
    /// The session is not what the writer knew; `certain` as in [`Answer::Decided`].
    Refused {
        certain: bool,
    },
    Late,
    /// It cannot have acted.
    Unavailable,
    Unknown,
    /// No attempt will be answered better.
    Unusable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// It is what was seen last.
    Tell,
    Again,
    /// Whether it was applied cannot be found out.
    GiveUp,
}

fn step(state: State, seen: Seen, time_left: bool) -> (State, Next) {
    use {Next::*, Seen::*, State::*};
    match (state, seen) {
        (_, Done) | (Clean, Refused { .. } | Unavailable | Unusable) => (state, Tell),
        (Doubtful, Refused { certain: true }) => (Clean, Tell),
        (Doubtful, Refused { certain: false } | Unusable) => (Doubtful, GiveUp),
        (Clean, Late) => (Clean, if time_left { Again } else { Tell }),
        (_, Unknown) | (Doubtful, Late | Unavailable) => (Doubtful, if time_left { Again } else { GiveUp }),
    }
}

/// Sends until it is known what became of the operation, or that this cannot be found out.
pub(crate) async fn settled<T, F>(
    budget: Budget,
    resent: &Counter,
    mut send: impl FnMut() -> F,
) -> Result<Outcome<T>, Error>
where
    F: Future<Output = Result<Answer<T>, Error>>,
{
    let mut attempts = Attempts { budget, state: State::Clean, resent };
    loop {
        if let ControlFlow::Break(settled) = attempts.settle(send().await).await {
            return settled;
        }
    }
}

/// The attempts at one operation.
#[derive(Debug)]
struct Attempts<'a> {
    budget: Budget,
    state: State,
    resent: &'a Counter,
}

impl Attempts<'_> {
    /// Breaks with what became of the operation; otherwise it is to be sent again.
    async fn settle<T>(
        &mut self,
        answer: Result<Answer<T>, Error>,
    ) -> ControlFlow<Result<Outcome<T>, Error>> {
        let (state, next) = step(self.state, seen(&answer), !self.budget.is_spent());
        self.state = state;
        match (next, answer) {
            (Next::Again, _) => {
                self.resent.inc();
                tokio::time::sleep(PAUSE).await;
                ControlFlow::Continue(())
            }
            (Next::Tell, Ok(Answer::Decided { outcome, certain: _ })) => ControlFlow::Break(Ok(outcome)),
            (Next::Tell, Ok(Answer::Late)) => ControlFlow::Break(Err(Error::late())),
            (Next::Tell, Err(error)) => ControlFlow::Break(Err(error)),
            (Next::GiveUp, answer) => ControlFlow::Break(Err(Error::doubtful(answer.err()))),
        }
    }
}

fn seen<T>(answer: &Result<Answer<T>, Error>) -> Seen {
    match answer {
        Ok(Answer::Decided { outcome: Outcome::Done(_), certain: _ }) => Seen::Done,
        Ok(Answer::Decided { outcome: _, certain }) => Seen::Refused { certain: *certain },
        Ok(Answer::Late) => Seen::Late,
        Err(Error::Unavailable { .. }) => Seen::Unavailable,
        Err(Error::OutcomeUnknown { .. }) => Seen::Unknown,
        Err(_) => Seen::Unusable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told in the end, and how often it was sent, when attempts end so and time is up with the last.
    fn told(seen: &[Seen]) -> (Next, usize) {
        let mut state = State::Clean;
        for (sent, attempt) in seen.iter().enumerate() {
            let time_left = sent + 1 < seen.len();
            match step(state, *attempt, time_left) {
                (next, Next::Again) => state = next,
                (_, end) => return (end, sent + 1),
            }
        }
        panic!("{seen:?} goes on without time");
    }

    #[test]
    fn an_operation_is_sent_until_it_is_known_what_became_of_it() {
        use {Next::*, Seen::*};
        const CERTAIN: Seen = Refused { certain: true };
        const FORGETFUL: Seen = Refused { certain: false };
        let cases: [(&[Seen], Next, usize); 14] = [
            (&[Done], Tell, 1),
            // Nothing was lost, so a refusal is one whatever the ring remembers.
            (&[FORGETFUL], Tell, 1),
            (&[Unavailable, Done], Tell, 1),
            (&[Unusable, Done], Tell, 1),
            (&[Late, Late, Done], Tell, 3),
            (&[Late], Tell, 1),
            (&[Unknown, Done], Tell, 2),
            (&[Unknown, CERTAIN], Tell, 2),
            // It may have been applied, seen by others, and forgotten.
            (&[Unknown, FORGETFUL], GiveUp, 2),
            (&[Unknown, Unavailable, Late, Unknown, Done], Tell, 5),
            (&[Unknown, Unavailable], GiveUp, 2),
            (&[Unknown, Late], GiveUp, 2),
            (&[Unknown, Unusable, Done], GiveUp, 2),
            (&[Unknown], GiveUp, 1),
        ];
        for (seen, next, sent) in cases {
            assert_eq!(told(seen), (next, sent), "{seen:?}");
        }
    }

    /// 412, 404 and 200 are said of what is known alone.
    #[test]
    fn in_doubt_nothing_is_told_but_what_redis_says_of_this_operation() {
        for seen in
            [Seen::Refused { certain: false }, Seen::Late, Seen::Unavailable, Seen::Unknown, Seen::Unusable]
        {
            for time_left in [true, false] {
                assert_ne!(step(State::Doubtful, seen, time_left).1, Next::Tell, "{seen:?}");
            }
        }
    }
}
