//! What the app says that it has applied, and what it is told of that: `POST /v1/events/acks`, `?acks=true`,
//! `?wait=applied`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::post;
use futures::{Stream as Events, StreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::{Laggard, Stream};
use crate::app::App;
use crate::bus::{Outgoing, Position, Published};
use crate::clock::{Boot, monotonic_ms};
use crate::coordination::{Coordination, Error, answer, text};
use crate::pods::Seen;
use crate::stream::Event;

/// Between two leases; each lasts four times as long.
const LEASE_EVERY: Duration = Duration::from_millis(500);
const USUAL_MS: u64 = 1_000;
const LONGEST_MS: u64 = 1_500;
/// The answer is on its way by then, however long the publication took.
const ANSWER: Duration = Duration::from_millis(1_650);

pub(crate) fn router() -> Router<App> {
    Router::new().route("/v1/events/acks", post(acks))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ack {
    stream: u64,
    id: String,
}

async fn acks(coordination: Coordination, headers: HeaderMap, body: Body) -> Result<StatusCode, Error> {
    const SHAPE: Error = Error::InvalidRequest("send {stream, id}: hello's stream, and the id of an event");
    let Ack { stream, id } = serde_json::from_str(&text(&headers, body).await?).map_err(|_| SHAPE)?;
    let at: Position = id.parse().map_err(|()| SHAPE)?;
    if coordination.barrier().applied(stream, at) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Error::UnknownStream)
    }
}

/// Events for an app that says what it has applied, and is told until when it may serve what they can take away.
pub(crate) fn acknowledged(
    coordination: &Coordination,
    last: Option<Position>,
) -> impl Events<Item = Event> + Send + use<> {
    let bus = coordination.bus();
    // First: what comes meanwhile comes by the stream, and whoever is new has nothing that it could be about.
    let (events, told_all) = bus.events_from(last);
    let cursor = bus.cursor();
    // Who says that he knows more than there is will be told to begin anew.
    let known = last.map_or(cursor, |last| Some(last).filter(|last| Some(*last) <= cursor));
    let stream = coordination.barrier().join(known.unwrap_or_default());
    let id = stream.id;
    stream::select(events.map(move |event| named(event, id)), leases(stream, told_all))
}

fn named(event: Event, stream: u64) -> Event {
    if event.name != "hello" {
        return event;
    }
    let mut data: Value = serde_json::from_str(&event.data).unwrap_or_default();
    data["stream"] = stream.into();
    Event { data: data.to_string(), ..event }
}

/// None before the app is `told_all` that came while it was away: it may have kept what that was about.
fn leases(stream: Stream, told_all: watch::Receiver<bool>) -> impl Events<Item = Event> + Send {
    let mut ticks = interval(LEASE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    stream::unfold((stream, ticks, told_all), |(stream, mut ticks, mut told_all)| async move {
        told_all.wait_for(|all| *all).await.ok()?;
        ticks.tick().await;
        let left = stream.lease().map_or(Duration::ZERO, |until| until.since(Boot::now()));
        let left = u64::try_from(left.as_millis()).unwrap_or_default();
        let data = json!({ "validMs": left, "untilMonotonicMs": monotonic_ms() + left }).to_string();
        Some((Event { name: "lease", id: None, data }, (stream, ticks, told_all)))
    })
}

/// How long the answer to a message waits for those who are told; None: not at all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiting(Option<Duration>);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    wait: Option<String>,
    timeout_ms: Option<u64>,
}

impl FromRequestParts<App> for Waiting {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Waiting, Error> {
        let Ok(Query(Asked { wait, timeout_ms })) = Query::try_from_uri(&parts.uri) else {
            return Err(Error::InvalidRequest("timeoutMs is a whole number"));
        };
        match (wait.as_deref(), timeout_ms) {
            (None, None) => Ok(Waiting(None)),
            (Some("applied"), ms) if ms.is_none_or(|ms| ms <= LONGEST_MS) => {
                Ok(Waiting(Some(Duration::from_millis(ms.unwrap_or(USUAL_MS)))))
            }
            _ => Err(Error::InvalidRequest("wait is applied, and timeoutMs at most 1500")),
        }
    }
}

/// Tells others as the app asks for, and answers when they are told, or when all of them have applied it.
pub(crate) async fn publish(
    coordination: &Coordination,
    outgoing: Outgoing,
    Waiting(within): Waiting,
) -> Result<Response, Error> {
    let start = Instant::now();
    let outgoing = Outgoing { ack: within.is_some(), ..outgoing };
    let Published { id, position, pods } = coordination.bus().publish_for_app(outgoing).await?;
    let sent = json!({ "id": id, "position": position.to_string() });
    let Some(within) = within else { return Ok(answer(StatusCode::ACCEPTED, sent)) };
    // It is the list that may be short, however long it is waited for afterwards.
    let (listed, forgetful) = (coordination.pods().listed(pods), coordination.pods().may_forget());
    let within = within.min(ANSWER.saturating_sub(start.elapsed()));
    let behind = coordination.barrier().wait(position, &listed, within).await;
    let doubt = if forgetful || coordination.pods().may_forget() {
        Some("Redis was replaced a moment ago; who else was there is not known")
    } else if behind.is_empty() && !coordination.pods().is_confirmed().await {
        Some("no replica of Redis confirms anything; another Redis may have been made the master")
    } else {
        None
    };
    Ok(judged(sent, &listed, behind, doubt))
}

/// `doubt`: why what is known of others proves nothing.
fn judged(
    mut sent: Value,
    listed: &BTreeMap<String, Seen>,
    behind: Vec<Laggard>,
    doubt: Option<&str>,
) -> Response {
    let applied = behind.is_empty() && doubt.is_none();
    sent["applied"] = applied.into();
    if applied {
        sent["processes"] = listed.len().into();
        return answer(StatusCode::OK, sent);
    }
    let laggards = behind.into_iter().map(|Laggard { process, pod, cursor }| {
        json!({ "pod": pod, "process": process, "position": cursor.map(|cursor| cursor.to_string()) })
    });
    sent["laggards"] = laggards.collect();
    if let Some(doubt) = doubt {
        sent["reason"] = doubt.into();
    }
    answer(StatusCode::MULTI_STATUS, sent)
}
