//! `/v1/sessions`: a session is a document at its own address, with ETags and problem details.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, IntoResponseParts, Response};
use axum::routing::{get, post};

use super::body::{self, Media};
use super::budget::Budget;
use super::condition::Condition;
use super::merge::Merge;
use super::rule::Identity;
use super::write::{Terms, Written};
use super::{Basis, Error, Session, SessionId, Sessions};
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

async fn create(State(app): State<App>, headers: HeaderMap, body: Body) -> Response {
    let budget = Budget::begin();
    let created = async {
        let text = body::text(body).await?;
        let fields = match Media::of(&headers) {
            Media::Json => Some(body::change(text, Media::Json, None, Merge::Deep)?),
            Media::Absent if text.is_empty() => None,
            _ => return Err(Error::UnsupportedMediaType(JSON_ONLY)),
        };
        let fields = fields.as_ref().map(|fields| (fields, Identity::Writable));
        app.sessions.create(&app.sessions.admit(&headers)?, fields, budget).await
    };
    answer(&app.sessions, created.await, |written| {
        let (id, location) = (written.session.id.clone(), format!("/v1/sessions/{}", written.session.id));
        let basis = written.session.basis;
        let response = (StatusCode::CREATED, [(header::LOCATION, location)], document(written));
        app.sessions.issued(&id, basis.mark(response.into_response()))
    })
}

pub(super) async fn read(State(app): State<App>, Id(id): Id, headers: HeaderMap) -> Response {
    let read = async {
        let condition = Condition::of(&headers)?;
        let session = app.sessions.read(id, &condition).await?;
        let known = condition.read(&session.text)? && session.basis.has_etag();
        Ok((session, known))
    };
    answer(&app.sessions, read.await, |(session, known)| match known {
        true => session.basis.mark((StatusCode::NOT_MODIFIED, validators(&session), ()).into_response()),
        false => read_as(&session),
    })
}

async fn replace(State(app): State<App>, Id(id): Id, headers: HeaderMap, body: Body) -> Response {
    let budget = Budget::begin();
    let replaced = async {
        let terms = terms(&headers, budget)?;
        if Media::of(&headers) != Media::Json {
            return Err(Error::UnsupportedMediaType(JSON_ONLY));
        }
        let change = body::replacement(body::text(body).await?)?;
        app.sessions.update(id, Arc::new(change), terms).await
    };
    answer(&app.sessions, replaced.await, changed)
}

pub(super) async fn update(State(app): State<App>, Id(id): Id, headers: HeaderMap, body: Body) -> Response {
    let budget = Budget::begin();
    let updated = async {
        let terms = terms(&headers, budget)?;
        let media = Media::of(&headers);
        if matches!(media, Media::Absent | Media::Other) {
            return Err(Error::UnsupportedMediaType(PATCHES));
        }
        let change = body::change(body::text(body).await?, media, None, Merge::Deep)?;
        app.sessions.update_or_touch(id, Arc::new(change), terms).await
    };
    answer(&app.sessions, updated.await, changed)
}

pub(super) async fn remove(State(app): State<App>, Id(id): Id, headers: HeaderMap) -> Response {
    let removed = async {
        let condition = Condition::of(&headers)?;
        app.sessions.delete(&id, &condition, Budget::begin()).await
    };
    answer(&app.sessions, removed.await, done)
}

pub(super) async fn touch(State(app): State<App>, Id(id): Id, headers: HeaderMap) -> Response {
    let touched = async {
        let condition = Condition::of(&headers)?;
        app.sessions.touch(id, &condition, Budget::begin()).await
    };
    answer(&app.sessions, touched.await, |session| {
        session.basis.mark((StatusCode::NO_CONTENT, [DURABLE], validators(&session), ()).into_response())
    })
}

/// `/v1` may say whose a session is.
fn terms(headers: &HeaderMap, budget: Budget) -> Result<Terms, Error> {
    Ok(Terms::new(Condition::of(headers)?, Identity::Writable, budget))
}

const DURABLE: (&str, &str) = ("x-hyperpage-durability", "redis");

fn validators(session: &Session) -> impl IntoResponseParts + use<> {
    let version = session.version().map(|version| [("x-hyperpage-version", version.to_string())]);
    ([(header::ETAG, session.etag()), (header::CACHE_CONTROL, "no-store".to_owned())], version)
}

fn read_as(session: &Session) -> Response {
    let body = session.answer().into_owned();
    session
        .basis
        .mark((validators(session), [(header::CONTENT_TYPE, "application/json")], body).into_response())
}

fn document(written: Written) -> Response {
    let Written { session, base } = written;
    let base = base.map(|digest| [("x-base-etag", format!("\"{digest}\""))]);
    ([DURABLE], base, read_as(&session)).into_response()
}

/// Without a body: what was done, or waits to be.
fn done(basis: Basis) -> Response {
    basis.mark((StatusCode::NO_CONTENT, [DURABLE]).into_response())
}

/// What a journaled change becomes is Redis' to say.
fn changed(written: Written) -> Response {
    match written.session.basis {
        basis @ Basis::Journaled => done(basis),
        Basis::Redis | Basis::Stale { .. } => document(written),
    }
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
