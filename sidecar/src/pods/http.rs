//! `GET /v1/pods`.

use axum::Router;
use axum::http::{HeaderName, StatusCode};
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};

use super::view::{GONE, Seen, View};
use crate::app::App;
use crate::clock::Boot;
use crate::coordination::{Coordination, Error, Identity, answer};

const STALE: HeaderName = HeaderName::from_static("x-hyperpage-stale-ms");

pub(crate) fn router() -> Router<App> {
    Router::new().route("/v1/pods", get(list))
}

/// Who was there when Redis last said so; marked, once that is so long ago that pods may have come and gone unseen.
async fn list(coordination: Coordination) -> Result<Response, Error> {
    let view = coordination.pods().view();
    let now = Boot::now();
    if view.read.is_none() {
        return Err(Error::Unavailable { reason: "no list of pods was read yet".to_owned() });
    }
    let mut response = answer(StatusCode::OK, body(&view, coordination.bus().me(), now));
    let age = view.age(now);
    if age > GONE {
        let ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        response.headers_mut().insert(STALE, ms.into());
    }
    Ok(response)
}

fn body(view: &View, me: &Identity, now: Boot) -> Value {
    let Identity { pod, process } = me;
    let since = view.age(now);
    let pods: Vec<Value> = view
        .present()
        .map(|(process, Seen { row, age })| {
            let age = (*age + since).as_millis();
            json!({ "pod": row.pod, "process": process, "ready": row.ready, "ageMs": age as u64 })
        })
        .collect();
    json!({ "self": { "pod": pod, "process": process }, "count": pods.len(), "pods": pods })
}
