//! `POST /v1/leader/coordinate`: what only a leader tells the others to do. Redis refuses the message of whoever leads no
//! longer, and who has heard a later leader does not listen to an earlier one.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::Leader;
use super::view::Held;
use crate::bus::{Kind, Outgoing, Priority, Published};
use crate::clock::Boot;
use crate::coordination::{Coordination, Error, answer, text};

const SHAPE: &str = "send {operation, data?, term?}: operation is cache_warmup, bg_job_balance or cleanup, term is the leader's";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    operation: Operation,
    data: Option<Box<RawValue>>,
    /// The one under which the app began what it asks for.
    term: Option<u64>,
}

/// The original's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Operation {
    CacheWarmup,
    BgJobBalance,
    Cleanup,
}

/// As the original sends it.
#[derive(Serialize)]
struct Payload<'a> {
    operation: Operation,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    coordinator: &'a str,
}

pub(super) async fn coordinate(
    coordination: Coordination,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let text = text(&headers, body).await?;
    let Asked { operation, data, term } =
        serde_json::from_str(&text).map_err(|_| Error::InvalidRequest(SHAPE))?;
    let held = held(coordination.leader(), term)?;
    let term = held.term;
    let payload = Payload { operation, data, coordinator: &coordination.bus().me().pod };
    let payload = to_raw_value(&payload).map_err(|error| Error::Internal { reason: error.to_string() })?;
    let outgoing = Outgoing {
        kind: Kind::JobCoordination,
        payload,
        priority: Priority::High,
        target: None,
        fence: Some(held.into()),
        ack: false,
    };
    let Published { id, position, pods: _ } = coordination.bus().publish_for_app(outgoing).await?;
    let body = json!({ "id": id, "position": position.to_string(), "term": term });
    Ok(answer(StatusCode::ACCEPTED, body))
}

/// An app that began under another term is told so, whoever leads now.
fn held(leader: &Leader, term: Option<u64>) -> Result<Held, Error> {
    let now = Boot::now();
    let (held, view) = (leader.held(now), leader.view());
    let other = view.leader(now).map(|leader| leader.id.clone());
    match (held, term) {
        (Some(held), Some(term)) if held.term != term => Err(Error::StaleTerm),
        (Some(held), _) => Ok(held),
        // Whose it was may not have been heard of another yet.
        (None, Some(term)) if term != view.term || other.is_none() => Err(Error::StaleTerm),
        (None, _) => Err(Error::NotLeader { leader: other }),
    }
}
