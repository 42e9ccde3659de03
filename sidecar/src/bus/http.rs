//! `POST /v1/messages`, and `GET /v1/events`.

use axum::Router;
use axum::body::Body;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::message::{Kind, Priority};
use super::position::Position;
use super::publish::Outgoing;
use super::store::Fence;
use crate::app::App;
use crate::barrier::{self, Waiting};
use crate::clock::Boot;
use crate::coordination::{Coordination, Error, text};
use crate::stream;

const LAST_EVENT_ID: &str = "last-event-id";
/// As names of pods are.
const MAX_TARGET: usize = 253;
const SHAPE: &str = "a message is {type, payload, priority?, target?, term?}: type is cache_invalidate, job_coordination, \
                     rate_limit_sync or broadcast, priority is low, normal or high, target is a pod's name";

pub(crate) fn soon() -> Router<App> {
    Router::new().route("/v1/messages", post(send))
}

pub(crate) fn lasting() -> Router<App> {
    Router::new().route("/v1/events", get(events))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(rename = "type")]
    kind: Kind,
    payload: Box<RawValue>,
    #[serde(default)]
    priority: Priority,
    target: Option<String>,
    /// Only while this pod leads, under this term.
    term: Option<u64>,
}

async fn send(
    coordination: Coordination,
    waiting: Waiting,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let text = text(&headers, body).await?;
    let Asked { kind, payload, priority, target, term } =
        serde_json::from_str(&text).map_err(|_| Error::InvalidRequest(SHAPE))?;
    let plain = |name: &String| {
        let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        !name.is_empty() && name.len() <= MAX_TARGET && name.bytes().all(safe)
    };
    if target.as_ref().is_some_and(|name| !plain(name)) {
        return Err(Error::InvalidRequest(SHAPE));
    }
    let fence = term.map(|term| fence(&coordination, term)).transpose()?;
    let outgoing = Outgoing { kind, payload, priority, target, fence, ack: false };
    barrier::publish(&coordination, outgoing, waiting).await
}

fn fence(coordination: &Coordination, term: u64) -> Result<Fence, Error> {
    let held = coordination.leader().held(Boot::now()).filter(|held| held.term == term);
    held.map(Fence::from).ok_or(Error::StaleTerm)
}

#[derive(Deserialize)]
struct Acks {
    /// The app will say what it has applied.
    #[serde(default)]
    acks: bool,
}

/// All that this pod hears: from now on, or after the event that the client had last.
async fn events(
    coordination: Coordination,
    acks: Result<Query<Acks>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let Query(Acks { acks }) = acks.map_err(|_| Error::InvalidRequest("acks is true or false"))?;
    let last = headers.get(LAST_EVENT_ID).map(|last| last.to_str().unwrap_or_default());
    // One that is not ours is one that nobody knows.
    let unknown = Position { n: u64::MAX, seq: 0 };
    let last = last.filter(|last| !last.is_empty()).map(|last| last.parse().unwrap_or(unknown));
    Ok(if acks {
        stream::events(barrier::acknowledged(&coordination, last))
    } else {
        stream::events(coordination.bus().events(last))
    })
}
