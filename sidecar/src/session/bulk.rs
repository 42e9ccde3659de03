//! The routes that are about more than one session.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use super::body::{self, Media};
use super::budget::Budget;
use super::{Error, batch, v1};
use crate::app::App;

pub fn router() -> Router<App> {
    Router::new().route("/v1/sessions:batchGet", post(batch_get))
}

async fn batch_get(State(app): State<App>, headers: HeaderMap, body: Body) -> Response {
    let budget = Budget::begin();
    let asked = async {
        if Media::of(&headers) != Media::Json {
            return Err(Error::UnsupportedMediaType(v1::JSON_ONLY));
        }
        batch::ids(&body::text(body).await?)
    };
    match asked.await {
        Ok(ids) => json(batch::get(&app.sessions, ids, budget).await),
        Err(error) => v1::refuse(&app.sessions, error),
    }
}

fn json(body: String) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (headers, body).into_response()
}
