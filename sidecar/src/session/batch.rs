//! Many sessions in one request, each with a status of its own: one that fails never fails the others.

use std::time::Duration;

use axum::body::Body;
use futures::StreamExt;
use futures::stream;
use serde::Deserialize;
use tokio::time::timeout;

use super::budget::Budget;
use super::condition::Condition;
use super::document::Node;
use super::{Error, Session, SessionId, Sessions};

const MOST: usize = 100;
/// Reads of one request that are on their way together; the rest of Redis is for the others.
pub(super) const AT_ONCE: usize = 16;
/// What a read that has begun within the budget may take longer.
const GRACE: Duration = Duration::from_millis(400);

#[derive(Deserialize)]
struct Asked {
    ids: Vec<String>,
}

/// The ids of a body: `{"ids":["…"]}`.
pub(super) fn ids(text: &str) -> Result<Vec<String>, Error> {
    Node::parse(text)?;
    let wrong = || Error::InvalidRequest(r#"send {"ids":["…"]} with at most 100 ids"#.into());
    let Asked { ids } = serde_json::from_str(text).map_err(|_| wrong())?;
    if ids.len() > MOST { Err(wrong()) } else { Ok(ids) }
}

/// One answer for each id, in their order, as JSON.
pub(super) async fn get(sessions: &Sessions, ids: Vec<String>, budget: Budget) -> Result<Body, Error> {
    let place = sessions.0.room.take(ids.len()).await?;
    let answers = stream::iter(ids).map(|id| async move {
        let read = read(sessions, &id, budget).await;
        answer(sessions, &id, read)
    });
    let answers = answers.buffered(AT_ONCE).collect().await;
    Ok(place.body(r#"{"sessions":["#, answers, "]}".to_owned()))
}

async fn read(sessions: &Sessions, id: &str, budget: Budget) -> Result<Session, Error> {
    let id = SessionId::parse(id)?;
    if budget.is_spent() {
        return Err(Error::no_time());
    }
    let any = Condition::default();
    let read = timeout(budget.left() + GRACE, sessions.read(id, &any));
    read.await.unwrap_or_else(|_| Err(Error::no_time()))
}

fn answer(sessions: &Sessions, id: &str, read: Result<Session, Error>) -> String {
    let id = serde_json::Value::from(id);
    match read {
        Ok(session) => {
            let stale = session.basis.stale_ms().map_or(String::new(), |ms| format!(r#","staleMs":{ms}"#));
            let (etag, version) = (session.text.digest(), session.text.version());
            let version = version.map_or("null".to_owned(), |version| version.to_string());
            let text = session.answer();
            format!(
                r#"{{"id":{id},"status":200,"etag":"\"{etag}\"","version":{version}{stale},"session":{text}}}"#
            )
        }
        Err(error) => {
            sessions.0.metrics.failed(error.kind());
            let problem = error.problem();
            let (status, code, detail) =
                (problem.status.as_u16(), problem.code, serde_json::Value::from(&*problem.message));
            format!(r#"{{"id":{id},"status":{status},"code":"{code}","detail":{detail}}}"#)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_at_most_a_hundred_strings_is_asked_for() {
        let list = |count: usize| serde_json::json!({ "ids": vec!["a"; count] }).to_string();
        assert_eq!(ids(&list(100)).unwrap().len(), 100);
        assert!(ids(r#"{"ids":[]}"#).unwrap().is_empty());
        for wrong in [list(101).as_str(), "{}", "[]", r#"{"ids":"a"}"#, r#"{"ids":[1]}"#] {
            assert!(matches!(ids(wrong), Err(Error::InvalidRequest(_))), "{wrong}");
        }
        assert!(matches!(ids("{"), Err(Error::InvalidJson(_))));
    }
}
