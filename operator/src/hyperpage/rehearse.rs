//! What comes before the first write: the API server is asked what it would say to every child that is new or should
//! change, so that one word it refuses changes nothing at all. Its answer also shows what no watch does: an object
//! that bears a child's name, which an apply would take over without a word.

use std::time::Instant;

use crds::Reason;
use futures::future::join_all;

use super::{Problem, memory::Memory, repair};
use crate::{
    apply::{Calls, Error, Wanted},
    children::{ChildId, Family, Kind, Live},
};

#[derive(Debug)]
pub enum Rehearsal {
    Passed,
    /// Only a new StatefulSet can be as it is wanted.
    Fixed,
    Stopped(Problem),
}

/// What came of asking about one child.
#[derive(Debug)]
struct Answer {
    id: ChildId,
    /// Ours, though no watch shows it: its label was removed, or the watch lags.
    found: Option<Live>,
    rehearsal: Rehearsal,
}

/// What is found joins the family.
pub async fn rehearse(
    calls: &Calls<'_>,
    children: &[Wanted],
    family: &mut Family,
    memory: &mut Memory,
) -> Result<Rehearsal, Error> {
    let new = |wanted: &&Wanted| {
        let live = family.get(&wanted.id);
        wanted.is_new_to(live) && !live.is_some_and(|live| live.deleting)
    };
    let asked = children.iter().filter(new).map(|wanted| ask(calls, wanted, family.get(&wanted.id)));
    let answers: Vec<_> = join_all(asked).await.into_iter().collect::<Result<_, _>>()?;
    let mut rehearsals = Vec::new();
    for Answer { id, found, rehearsal } in answers {
        if let Some(live) = found {
            memory.found(&id, live.clone(), Instant::now());
            family.insert(id, live);
        }
        rehearsals.push(rehearsal);
    }
    Ok(rehearsals.into_iter().max_by_key(weight).unwrap_or(Rehearsal::Passed))
}

/// A name that is taken comes first: whatever else is wrong may be the stranger's.
fn weight(rehearsal: &Rehearsal) -> u8 {
    match rehearsal {
        Rehearsal::Passed => 0,
        Rehearsal::Fixed => 1,
        Rehearsal::Stopped(problem) if problem.reason != Reason::NameTaken => 2,
        Rehearsal::Stopped(_) => 3,
    }
}

async fn ask(calls: &Calls<'_>, wanted: &Wanted, seen: Option<&Live>) -> Result<Answer, Error> {
    let id = &wanted.id;
    let answer = calls.rehearse(wanted, seen).await;
    // What is there may be the reason for a refusal.
    let exists = answer.as_ref().map_or_else(|error| error.refusal().is_some(), |exists| *exists);
    let found = if seen.is_none() && exists { calls.find(id).await? } else { None };
    let rehearsal = match (answer, &found) {
        (_, Some(live)) if !live.controlled_by(calls.uid) => Rehearsal::Stopped(taken(id, live)),
        (Ok(_), _) => Rehearsal::Passed,
        (Err(error), _) => judge(calls, wanted, seen.or(found.as_ref()), error).await?,
    };
    let found = found.filter(|live| live.controlled_by(calls.uid));
    Ok(Answer { id: id.clone(), found, rehearsal })
}

async fn judge(
    calls: &Calls<'_>,
    wanted: &Wanted,
    there: Option<&Live>,
    error: Error,
) -> Result<Rehearsal, Error> {
    if wanted.id.kind == Kind::StatefulSet && error.immutable() {
        return Ok(Rehearsal::Fixed);
    }
    if there.is_some() && error.is_invalid() && repair::would_help(calls, wanted).await? {
        return Ok(Rehearsal::Passed);
    }
    match error.refusal() {
        Some(words) => Ok(Rehearsal::Stopped(Problem::refused(&wanted.id, words))),
        None => Err(error),
    }
}

fn taken(id: &ChildId, live: &Live) -> Problem {
    let whose = live.controller.as_ref().map_or_else(
        || "it has no controller".to_owned(),
        |owner| format!("it belongs to {} {}", owner.kind, owner.name),
    );
    let message = format!(
        "{id} exists already and is not ours: {whose}; remove it, or choose another name for this Hyperpage"
    );
    Problem { reason: Reason::NameTaken, message, child: None }
}
