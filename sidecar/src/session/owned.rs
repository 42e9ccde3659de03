//! All sessions of a user: told page by page, or ended.

use std::time::Duration;

use axum::body::Body;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::timeout;

use super::batch::AT_ONCE;
use super::budget::Budget;
use super::condition::Condition;
use super::document::peek;
use super::index::Place;
use super::op::OpId;
use super::store::Outcome;
use super::user::{self, Standing};
use super::{Error, Session, SessionId, Sessions, Text};
use crate::key::UserKeys;

pub(super) const PAGE: usize = 100;
/// A session whose bytes change each time somebody looks is left to the mark.
const ATTEMPTS: usize = 4;
/// What the last of a list may take after the budget.
const GRACE: Duration = Duration::from_millis(400);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) after: Option<Place>,
    pub(super) limit: usize,
    pub(super) contents: bool,
}

/// What became of a user's sessions.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) deleted: u64,
    /// The mark ends them when they are next read.
    pub(super) failed: u64,
    /// The index was read to its end.
    pub(super) complete: bool,
}

impl Wanted {
    pub(super) fn parse(parameters: &[(String, String)]) -> Result<Wanted, Error> {
        let mut wanted = Wanted { after: None, limit: PAGE, contents: false };
        let wrong = |what: &'static str| Error::InvalidRequest(what.into());
        for (name, value) in parameters {
            match (name.as_str(), value.as_str()) {
                ("cursor", cursor) => {
                    let place = place(cursor).ok_or_else(|| wrong("cursor is not one of ours"))?;
                    wanted.after = Some(place);
                }
                ("limit", limit) => {
                    let limit = limit.parse().ok().filter(|limit| (1..=PAGE).contains(limit));
                    wanted.limit = limit.ok_or_else(|| wrong("limit must be 1 to 100"))?;
                }
                ("contents", "true" | "false") => wanted.contents = value == "true",
                ("contents", _) => return Err(wrong("contents must be true or false")),
                _ => {}
            }
        }
        Ok(wanted)
    }
}

fn place(cursor: &str) -> Option<Place> {
    let (score, id) = cursor.split_once('.')?;
    let id = SessionId::parse(id).ok()?;
    Some(Place { score: score.parse().ok()?, id: id.to_string() })
}

impl Sessions {
    /// A page of a user's sessions as JSON. What the index names and is not there is left out, and out of the index.
    pub(super) async fn of_user(&self, user: &str, wanted: Wanted, budget: Budget) -> Result<Body, Error> {
        let Wanted { after, limit, contents } = wanted;
        let keys = UserKeys::new(user);
        let page = self.0.users.index.page(&keys, after.as_ref(), limit).await?;
        let next = page.last().filter(|_| page.len() == limit);
        let next = next.map_or("null".to_owned(), |Place { score, id }| format!(r#""{score}.{id}""#));
        let place = self.0.room.take(if contents { page.len() } else { 0 }).await?;
        let sessions = stream::iter(page).map(|place| self.owned(&keys, user, place.id)).buffered(AT_ONCE);
        let told =
            sessions.try_filter_map(async |session| Ok(session.map(|session| told(&session, contents))));
        let told: Vec<String> =
            timeout(budget.left() + GRACE, told.try_collect()).await.map_err(|_| Error::no_time())??;
        Ok(place.body(r#"{"sessions":["#, told, format!(r#"],"cursor":{next}}}"#)))
    }

    async fn owned(&self, keys: &UserKeys, user: &str, id: String) -> Result<Option<Session>, Error> {
        let read = match SessionId::parse(&id) {
            Ok(id) => self.read(id, &Condition::default()).await,
            Err(_) => Err(Error::NotFound),
        };
        match read {
            Ok(session) if user::of(&session.text).as_deref() == Some(user) => return Ok(Some(session)),
            // Bytes that are no session are nobody's.
            Ok(_) | Err(Error::NotFound | Error::Unreadable { .. }) => {}
            Err(error) => return Err(error),
        }
        self.0.users.forget(keys, &id).await;
        Ok(None)
    }

    /// The mark first: whatever happens then, no session that is the user's by now is valid once it is read again.
    pub(super) async fn sign_out(&self, user: &str, budget: Budget) -> Result<Ended, Error> {
        let keys = UserKeys::new(user);
        self.0.users.sign_out(&keys).await?;
        let (mut ended, mut after) = (Ended::default(), None);
        while !budget.is_spent() {
            let Ok(page) = self.0.users.index.page(&keys, after.as_ref(), PAGE).await else { break };
            ended.complete = page.len() < PAGE;
            after = page.last().cloned();
            let outcomes = stream::iter(page).map(|place| self.expel(&keys, user, place.id, budget));
            let mut outcomes = outcomes.buffer_unordered(AT_ONCE);
            while let Some(outcome) = outcomes.next().await {
                match outcome {
                    Ok(true) => ended.deleted += 1,
                    Ok(false) => {}
                    Err(_) => ended.failed += 1,
                }
            }
            if ended.complete {
                break;
            }
        }
        Ok(ended)
    }

    /// Whether a session of the user's was ended. One that became the user's after the mark stays.
    async fn expel(&self, keys: &UserKeys, user: &str, id: String, budget: Budget) -> Result<bool, Error> {
        let Ok(id) = SessionId::parse(&id) else { return Ok(false) };
        for _ in 0..ATTEMPTS {
            let Some(stored) = self.0.store.read(&id).await? else { return Ok(false) };
            if user::of(&stored.text).as_deref() != Some(user)
                || self.0.users.judged(keys, &id, &stored.text).await? == Standing::Valid
            {
                return Ok(false);
            }
            match self.end(&id, &stored.text, budget).await? {
                Outcome::Done(()) => {
                    self.0.users.forget(keys, id.as_str()).await;
                    return Ok(true);
                }
                Outcome::Missing | Outcome::Deleted => return Ok(false),
                Outcome::Conflict(_) => {}
            }
        }
        Err(Error::no_time())
    }

    /// Deletes a session that is signed out, and no other that has its id meanwhile.
    pub(super) async fn end(&self, id: &SessionId, text: &Text, budget: Budget) -> Result<Outcome, Error> {
        let outcome = self.del(id, OpId::mint()?, Some(text.digest()), budget).await?;
        if let Outcome::Done(()) = outcome {
            self.0.users.ended();
            self.0.metrics.deleted.inc();
        }
        Ok(outcome)
    }
}

fn told(session: &Session, contents: bool) -> String {
    let text = session.answer();
    let version = session.text.version().map_or("null".to_owned(), |version| version.to_string());
    let active = peek(&text, "lastActivity").ok().flatten().unwrap_or("null");
    let session_text = if contents { format!(r#","session":{text}"#) } else { String::new() };
    format!(r#"{{"id":"{}","version":{version},"lastActivity":{active}{session_text}}}"#, session.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_asked_for_in_words_that_are_ours() {
        let parse = |pairs: &[(&str, &str)]| {
            let pairs: Vec<_> =
                pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            Wanted::parse(&pairs)
        };
        let first = Wanted { after: None, limit: PAGE, contents: false };
        assert_eq!(parse(&[]), Ok(first.clone()));
        let place = Place { score: 17, id: "a.b".to_owned() };
        let wanted = Wanted { after: Some(place), limit: 7, contents: true };
        assert_eq!(parse(&[("cursor", "17.a.b"), ("limit", "7"), ("contents", "true")]), Ok(wanted));
        for (name, value) in [
            ("cursor", "17"),
            ("cursor", "x.a"),
            ("cursor", "1.a b"),
            ("limit", "0"),
            ("limit", "101"),
            ("contents", "1"),
        ] {
            assert!(parse(&[(name, value)]).is_err(), "{name}={value}");
        }
    }
}
