//! `/v1/sessions`: a session is a document at its own address, with ETags and problem details.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::body::{self, Media, Parameters, first};
use super::budget::Budget;
use super::condition::Condition;
use super::durability::{How, Way};
use super::idempotency::Idempotency;
use super::merge::Merge;
use super::rule::Identity;
use super::write::Terms;
use super::{Error, SessionId, Sessions, reply, version};
use crate::app::App;

pub fn router() -> Router<App> {
    Router::new()
        .route("/v1/sessions", post(create))
        .route("/v1/sessions/{id}", get(read).put(replace).patch(update).delete(remove))
        .route("/v1/sessions/{id}/touch", post(touch))
}

pub(super) const JSON_ONLY: &str = "send application/json";
const PATCHES: &str =
    "send application/merge-patch+json, application/json-patch+json, or application/json for a deep merge";

async fn create(
    State(app): State<App>,
    Query(parameters): Parameters,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let budget = Budget::begin();
    let created = async {
        let way = Way::of(&headers)?;
        let text = body::text(body).await?;
        let merge = first(&parameters, "merge");
        let how = How { way, key: Idempotency::of(&headers, "POST", &meant("/v1/sessions", merge), &text)? };
        let fields = match Media::of(&headers) {
            Media::Json => Some(body::change(text, Media::Json, merge, Merge::Deep)?),
            Media::Absent if text.is_empty() => None,
            _ => return Err(Error::UnsupportedMediaType(JSON_ONLY)),
        };
        let fields = fields.as_ref().map(|fields| (fields, Identity::Writable));
        let written = app.sessions.create(&app.sessions.admit(&headers)?, fields, how, budget).await?;
        Ok(app.sessions.shown(written).await)
    };
    answer(&app.sessions, created.await, |written| {
        let (id, location) = (written.session.id.clone(), format!("/v1/sessions/{}", written.session.id));
        let response = ([(header::LOCATION, location)], reply::written(StatusCode::CREATED, written));
        app.sessions.issued(&id, response.into_response())
    })
}

pub(super) async fn read(State(app): State<App>, Id(id): Id, headers: HeaderMap) -> Response {
    let read = async {
        let condition = Condition::of(&headers)?;
        let session = match version::at_least(&headers)? {
            None => app.sessions.read(id, &condition).await?,
            Some(version) => Box::pin(app.sessions.read_at_least(id, &condition, version)).await?,
        };
        let known = condition.read(&session.text)? && session.basis.has_etag();
        Ok((session, known))
    };
    answer(&app.sessions, read.await, |(session, known)| {
        if known { reply::not_modified(&session) } else { reply::read(&session) }
    })
}

async fn replace(State(app): State<App>, Id(id): Id, headers: HeaderMap, body: Body) -> Response {
    let budget = Budget::begin();
    let replaced = async {
        let mut terms = terms(&headers, budget)?;
        if Media::of(&headers) != Media::Json {
            return Err(Error::UnsupportedMediaType(JSON_ONLY));
        }
        let text = body::text(body).await?;
        terms.how.key = Idempotency::of(&headers, "PUT", id.as_str(), &text)?;
        let change = body::replacement(text)?;
        let written = app.sessions.update(id, Arc::new(change), terms).await?;
        Ok(app.sessions.shown(written).await)
    };
    answer(&app.sessions, replaced.await, reply::changed)
}

pub(super) async fn update(
    State(app): State<App>,
    Id(id): Id,
    Query(parameters): Parameters,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let budget = Budget::begin();
    let updated = async {
        let mut terms = terms(&headers, budget)?;
        let media = Media::of(&headers);
        if matches!(media, Media::Absent | Media::Other) {
            return Err(Error::UnsupportedMediaType(PATCHES));
        }
        let text = body::text(body).await?;
        let merge = first(&parameters, "merge");
        terms.how.key = Idempotency::of(&headers, "PATCH", &meant(id.as_str(), merge), &text)?;
        let change = body::change(text, media, merge, Merge::Deep)?;
        let written = app.sessions.update_or_touch(id, Arc::new(change), terms).await?;
        Ok(app.sessions.shown(written).await)
    };
    answer(&app.sessions, updated.await, reply::changed)
}

pub(super) async fn remove(State(app): State<App>, Id(id): Id, headers: HeaderMap) -> Response {
    let removed = async {
        let mut terms = terms(&headers, Budget::begin())?;
        terms.how.key = Idempotency::of(&headers, "DELETE", id.as_str(), "")?;
        app.sessions.delete(&id, &terms).await
    };
    answer(&app.sessions, removed.await, |(receipt, basis)| reply::deleted(&receipt, basis))
}

pub(super) async fn touch(State(app): State<App>, Id(id): Id, headers: HeaderMap) -> Response {
    let touched = async { app.sessions.touch(id, &terms(&headers, Budget::begin())?).await };
    answer(&app.sessions, touched.await, |written| reply::touched(&written))
}

/// What a request under an Idempotency-Key is about: two merges of one body are two requests.
fn meant<'a>(path: &'a str, merge: Option<&str>) -> Cow<'a, str> {
    merge.map_or(path.into(), |merge| format!("{path}?merge={merge}").into())
}

/// `/v1` may say whose a session is.
fn terms(headers: &HeaderMap, budget: Budget) -> Result<Terms, Error> {
    let how = How { way: Way::of(headers)?, key: None };
    Ok(Terms::new(Condition::of(headers)?, Identity::Writable, how, budget))
}

fn answer<T>(sessions: &Sessions, result: Result<T, Error>, render: impl FnOnce(T) -> Response) -> Response {
    result.map_or_else(|error| refuse(sessions, error), render)
}

pub(super) fn refuse(sessions: &Sessions, error: Error) -> Response {
    sessions.0.metrics.failed(error.kind());
    let unsupported = matches!(error, Error::UnsupportedMediaType(_));
    let response = error.problem().into_problem_details();
    if !unsupported {
        return response;
    }
    // RFC 5789 §3.1: say what PATCH would take.
    let accepted = "application/merge-patch+json, application/json-patch+json, application/json";
    ([("accept-patch", accepted)], response).into_response()
}

/// The session that a path names.
pub(super) struct Id(pub(super) SessionId);

impl FromRequestParts<App> for Id {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Id, Response> {
        let path = Path::<String>::from_request_parts(parts, app).await;
        let bound = async {
            let Path(id) = path.map_err(|_| Error::InvalidId)?;
            let id = SessionId::parse(&id)?;
            app.sessions.bound(&id, &parts.headers).await?;
            Ok(Id(id))
        };
        bound.await.map_err(|error| refuse(&app.sessions, error))
    }
}
