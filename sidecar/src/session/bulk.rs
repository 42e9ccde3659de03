//! The routes that are about more than one session.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::body::{self, Media};
use super::budget::Budget;
use super::import::{self, Mode};
use super::owned::{Ended, Wanted};
use super::{Error, batch, v1};
use crate::app::App;

pub fn router() -> Router<App> {
    Router::new()
        .route("/v1/sessions:batchGet", post(batch_get))
        .route("/v1/sessions:count", get(count))
        .route("/v1/sessions:import", post(import))
        .route("/v1/users/{id}/sessions", get(of_user).delete(sign_out))
}

async fn batch_get(State(app): State<App>, headers: HeaderMap, body: Body) -> Response {
    let budget = Budget::begin();
    let asked = async {
        if Media::of(&headers) != Media::Json {
            return Err(Error::UnsupportedMediaType(v1::JSON_ONLY));
        }
        batch::get(&app.sessions, batch::ids(&body::text(body).await?)?, budget).await
    };
    asked.await.map_or_else(|error| refuse(&app, error), json)
}

/// `no-cache` asks for a count that begins now.
async fn count(State(app): State<App>, headers: HeaderMap) -> Response {
    let control = headers.get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok());
    let anew = control.is_some_and(|control| control.contains("no-cache"));
    match app.sessions.0.count.get(anew, Budget::begin()).await {
        Ok(counted) => {
            let (count, exact, age) = (counted.count, counted.exact, counted.age().as_millis());
            json(format!(r#"{{"count":{count},"exact":{exact},"ageMs":{age}}}"#))
        }
        Err(error) => refuse(&app, error),
    }
}

/// The answer begins at once, and only a line has a time limit, not the whole.
async fn import(
    State(app): State<App>,
    Query(parameters): Query<Vec<(String, String)>>,
    body: Body,
) -> Response {
    let mode = match Mode::parse(&parameters) {
        Ok(mode) => mode,
        Err(error) => return refuse(&app, error),
    };
    let Ok(place) = Arc::clone(&app.sessions.0.imports).try_acquire_owned() else {
        return refuse(&app, Error::Overloaded);
    };
    let headers = [(header::CONTENT_TYPE, "application/x-ndjson"), (header::CACHE_CONTROL, "no-store")];
    (headers, import::results(app.sessions.clone(), body, mode, place)).into_response()
}

async fn of_user(
    State(app): State<App>,
    Path(user): Path<String>,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Response {
    let budget = Budget::begin();
    let told = async { app.sessions.of_user(&user, Wanted::parse(&parameters)?, budget).await };
    told.await.map_or_else(|error| refuse(&app, error), json)
}

async fn sign_out(State(app): State<App>, Path(user): Path<String>) -> Response {
    match app.sessions.sign_out(&user, Budget::begin()).await {
        Ok(Ended { deleted, failed, complete }) => {
            json(format!(r#"{{"deleted":{deleted},"failed":{failed},"complete":{complete}}}"#))
        }
        Err(error) => refuse(&app, error),
    }
}

fn refuse(app: &App, error: Error) -> Response {
    if error == Error::Overloaded {
        app.http.overloaded();
    }
    v1::refuse(&app.sessions, error)
}

fn json(body: impl Into<Body>) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (headers, body.into()).into_response()
}
