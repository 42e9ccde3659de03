//! `/api/sessions`, the original's contract to the byte: status, body, Content-Type and OPTIONS' Allow.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};

use super::body::{self, Media, Parameters, first};
use super::budget::Budget;
use super::condition::Condition;
use super::document::{Node, Object};
use super::durability::How;
use super::merge::Merge;
use super::rule::Change;
use super::write::{Terms, Written};
use super::{Basis, Error, Session, SessionId, Sessions};
use crate::admin;
use crate::app::App;
use crate::error::Problem;

pub fn router() -> Router<App> {
    let sessions: MethodRouter<App> = get(read).post(save).patch(update).delete(remove).options(options);
    Router::new().route("/api/sessions", sessions).route("/api/sessions/check", get(check))
}

/// How the original tells what went wrong inside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failure {
    code: &'static str,
    message: &'static str,
}

const FETCH: Failure = Failure { code: "SESSION_FETCH_ERROR", message: "Failed to get session" };
const SAVE: Failure = Failure { code: "SESSION_SAVE_ERROR", message: "Failed to save session" };
const UPDATE: Failure = Failure { code: "SESSION_UPDATE_ERROR", message: "Failed to update session" };
const DELETE: Failure = Failure { code: "SESSION_DELETE_ERROR", message: "Failed to delete session" };
#[cfg(test)]
pub(crate) const FAILURES: [Failure; 4] = [FETCH, SAVE, UPDATE, DELETE];

/// Without an id the original's GET creates a session. A HEAD, or who only asks whether we are ready, does not.
async fn read(
    State(app): State<App>,
    method: Method,
    Query(parameters): Parameters,
    headers: HeaderMap,
) -> Response {
    let id = first(&parameters, "sessionId").unwrap_or_default();
    if first(&parameters, "check") == Some("ready") || (id.is_empty() && method == Method::HEAD) {
        return check(State(app)).await;
    }
    let result = if id.is_empty() {
        created(&app.sessions, &headers).await.map(|Written { session, .. }| {
            let body = format!(
                r#"{{"success":true,"sessionId":"{}","session":{},"message":"New session created"}}"#,
                session.id,
                session.answer(),
            );
            written(body, session.basis)
        })
    } else {
        known(&app.sessions, id, &headers).await
    };
    result.unwrap_or_else(|error| refuse(&app.sessions, error, FETCH))
}

async fn created(sessions: &Sessions, headers: &HeaderMap) -> Result<Written, Error> {
    sessions.create(&sessions.admit(headers)?, None, How::default(), Budget::begin()).await
}

async fn known(sessions: &Sessions, id: &str, headers: &HeaderMap) -> Result<Response, Error> {
    let id = SessionId::parse(id)?;
    sessions.bound(&id, headers).await?;
    let session = sessions.read(id, &Condition::freshness(headers)).await?;
    let body = format!(r#"{{"success":true,"sessionId":"{}","session":{}}}"#, session.id, session.answer());
    Ok(session.basis.mark((session.bound(), ok(body)).into_response()))
}

async fn save(
    State(app): State<App>,
    Query(parameters): Parameters,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match saved(&app.sessions, &parameters, &headers, body).await {
        Ok(session) => done(&session, "Session saved successfully"),
        Err(error) => refuse(&app.sessions, error, SAVE),
    }
}

async fn saved(
    sessions: &Sessions,
    parameters: &[(String, String)],
    headers: &HeaderMap,
    body: Body,
) -> Result<Session, Error> {
    let budget = Budget::begin();
    let Save { id, updates, data } = Save::parse(&body::text(body).await?)?;
    sessions.bound(&id, headers).await?;
    let merge = first(parameters, "merge");
    let given = data.is_some();
    let change = match (updates, data) {
        (Some(updates), _) => body::change(updates, Media::of(headers), merge, Merge::Records)?,
        (None, Some(data)) => body::replacement(data)?,
        (None, None) => {
            sessions.read(id, &Condition::default()).await?;
            return Err(Error::InvalidRequest("sessionData or updates required".into()));
        }
    };
    let change = Arc::new(change);
    let terms = Terms::new(Condition::default(), sessions.0.identity, How::default(), budget);
    match sessions.update_or_touch(id.clone(), change.clone(), terms.clone()).await {
        Err(Error::NotFound) if given => sessions
            .create_as(id, change, &sessions.admit(headers)?, terms)
            .await
            .map(|written| written.session),
        result => result.map(|written| written.session),
    }
}

/// The body of a POST; `updates` wins over `sessionData`, and null is as good as absent.
struct Save {
    id: SessionId,
    updates: Option<String>,
    data: Option<String>,
}

impl Save {
    fn parse(text: &str) -> Result<Save, Error> {
        let root = Node::parse(text)?;
        if !root.is_object() {
            return Err(Error::InvalidRequest("the body must be a JSON object".into()));
        }
        let body = root.into_object()?;
        let id = match body.get("sessionId") {
            None => return Err(Error::MissingId),
            Some(id) if id.is_null() => return Err(Error::MissingId),
            Some(id) => match id.as_string().ok_or(Error::InvalidId)? {
                id if id.is_empty() => return Err(Error::MissingId),
                id => SessionId::parse(&id)?,
            },
        };
        Ok(Save { id, updates: given(&body, "updates"), data: given(&body, "sessionData") })
    }
}

fn given(body: &Object<'_>, name: &str) -> Option<String> {
    body.get(name).filter(|value| !value.is_null()).map(Node::to_text)
}

async fn update(
    State(app): State<App>,
    Query(parameters): Parameters,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match updated(&app.sessions, &parameters, &headers, body).await {
        Ok(session) => done(&session, "Session updated successfully"),
        Err(error) => refuse(&app.sessions, error, UPDATE),
    }
}

async fn updated(
    sessions: &Sessions,
    parameters: &[(String, String)],
    headers: &HeaderMap,
    body: Body,
) -> Result<Session, Error> {
    let budget = Budget::begin();
    let id = required_id(parameters)?;
    let text = body::text(body).await?;
    let change: Change = body::change(text, Media::of(headers), first(parameters, "merge"), Merge::Deep)?;
    sessions.bound(&id, headers).await?;
    let terms = Terms::new(Condition::default(), sessions.0.identity, How::default(), budget);
    sessions.update_or_touch(id, Arc::new(change), terms).await.map(|written| written.session)
}

async fn remove(State(app): State<App>, Query(parameters): Parameters, headers: HeaderMap) -> Response {
    let removed = async {
        let id = required_id(&parameters)?;
        let sessions = &app.sessions;
        sessions.bound(&id, &headers).await?;
        let how = How::default();
        let terms = Terms::new(Condition::default(), sessions.0.identity, how, Budget::begin());
        sessions.delete(&id, &terms).await
    };
    match removed.await {
        Ok((_, basis)) => {
            written(r#"{"success":true,"message":"Session deleted successfully"}"#.to_owned(), basis)
        }
        Err(error) => refuse(&app.sessions, error, DELETE),
    }
}

async fn options() -> Response {
    (StatusCode::NO_CONTENT, [(header::ALLOW, "DELETE, GET, HEAD, OPTIONS, PATCH, POST")]).into_response()
}

/// The same as the admin port's `/readyz`.
async fn check(State(app): State<App>) -> Response {
    admin::ready(State(app)).await
}

fn required_id(parameters: &[(String, String)]) -> Result<SessionId, Error> {
    match first(parameters, "sessionId") {
        None | Some("") => Err(Error::MissingId),
        Some(id) => SessionId::parse(id),
    }
}

fn ok(body: String) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (headers, body).into_response()
}

fn written(body: String, basis: Basis) -> Response {
    basis.mark(([("x-hyperpage-durability", "redis")], ok(body)).into_response())
}

fn done(session: &Session, message: &str) -> Response {
    let body = format!(r#"{{"success":true,"sessionId":"{}","message":"{message}"}}"#, session.id);
    written(body, session.basis)
}

fn refuse(sessions: &Sessions, error: Error, failure: Failure) -> Response {
    sessions.0.metrics.failed(error.kind());
    told(error, failure).into_envelope()
}

/// Absence is 401 here, and the original has one code per method for what went wrong inside.
pub(crate) fn told(error: Error, Failure { code, message }: Failure) -> Problem {
    let unauthorized = error == Error::NotFound;
    let internal = matches!(error, Error::Internal { .. });
    let mut problem = error.problem();
    if unauthorized {
        problem.status = StatusCode::UNAUTHORIZED;
    }
    if internal {
        (problem.code, problem.message) = (code, message.into());
    }
    problem
}
