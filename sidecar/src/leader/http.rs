//! `GET /v1/leader`: who leads. At once, when another leads than the caller knows, or as events.

use std::time::Duration;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Leader;
use super::coordinate::coordinate;
use super::view::View;
use crate::app::App;
use crate::bus::Feed;
use crate::clock::Boot;
use crate::coordination::{Coordination, Error};
use crate::stream::{self, Event};

const LONGEST_S: u64 = 60;

/// At once, or lasting.
pub(crate) fn either() -> Router<App> {
    Router::new().route("/v1/leader", get(leader))
}

pub(crate) fn soon() -> Router<App> {
    Router::new().route("/v1/leader/coordinate", post(coordinate))
}

/// Tells whoever listens to this pod's events, too.
pub(crate) async fn tell(leader: Leader, feed: Feed, stop: CancellationToken) {
    let mut changes = Box::pin(changes(&leader));
    while let Some(Some(event)) = stop.run_until_cancelled(changes.next()).await {
        feed.tell(Event { id: None, ..event });
    }
}

#[derive(Debug, Deserialize)]
struct Asked {
    term: Option<u64>,
    wait: Option<u64>,
}

async fn leader(
    State(app): State<App>,
    coordination: Coordination,
    asked: Result<Query<Asked>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let leader = coordination.leader();
    let Ok(Query(Asked { term, wait })) = asked else {
        return Err(Error::InvalidRequest("term and wait are whole numbers"));
    };
    if wants_events(&headers) {
        return Ok(stream::events(changes(leader)));
    }
    match (term, wait) {
        (Some(_), Some(wait)) if wait > LONGEST_S => {
            return Err(Error::InvalidRequest("wait is at most 60 seconds"));
        }
        (Some(term), Some(wait)) => {
            let mut views = leader.changes();
            let another = async {
                let _never_closed =
                    views.wait_for(|view| view.leader.is_some() && view.term != term).await.is_ok();
            };
            stream::wait(&app.lifecycle.draining, Duration::from_secs(wait), another).await;
        }
        (None, Some(_)) => return Err(Error::InvalidRequest("wait needs term: the one that is known")),
        (_, None) => {}
    }
    Ok(told(&leader.view(), &headers))
}

pub(crate) fn wants_events(headers: &HeaderMap) -> bool {
    let accept = headers.get_all(header::ACCEPT).iter();
    accept.filter_map(|accept| accept.to_str().ok()).any(|accept| accept.contains("text/event-stream"))
}

/// The validator is the term's: how long it goes on to hold is no news.
fn told(view: &View, headers: &HeaderMap) -> Response {
    let vacant = if view.leader(Boot::now()).is_some() { "" } else { "-vacant" };
    let etag = format!(r#"W/"{}{vacant}""#, view.term);
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
    let known =
        known.flat_map(|tags| tags.split(',')).any(|tag| tag.trim().trim_start_matches("W/") == &etag[2..]);
    let validators = [(header::ETAG, etag), (header::CACHE_CONTROL, "no-store".to_owned())];
    if known {
        return (StatusCode::NOT_MODIFIED, validators).into_response();
    }
    (validators, [(header::CONTENT_TYPE, "application/json")], body(view)).into_response()
}

fn body(view: &View) -> String {
    let now = Boot::now();
    let leader = view.leader(now);
    let left = leader.map_or(Duration::ZERO, |leader| leader.until.since(now));
    json!({
        "leaderId": leader.map(|leader| &leader.id),
        "term": view.term,
        "isLeader": leader.is_some() && view.is_self(),
        "validForMs": u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
    })
    .to_string()
}

fn changes(leader: &Leader) -> impl futures::Stream<Item = Event> + Send + use<> {
    let mut views = leader.changes();
    views.mark_changed();
    futures::stream::unfold(views, |mut views: watch::Receiver<View>| async move {
        views.changed().await.ok()?;
        let event = {
            let view = views.borrow_and_update();
            Event { name: "leader", id: Some(view.term.to_string()), data: body(&view) }
        };
        Some((event, views))
    })
}

#[cfg(test)]
mod tests {
    use super::super::view::{Held, Leading};
    use super::*;

    fn view(own: bool, left: Duration) -> View {
        let until = Boot::now() + left;
        let held = own.then(|| Held { term: 7, nonce: "0f".to_owned(), until });
        View { term: 7, leader: Some(Leading { id: "pod-a".to_owned(), until }), held }
    }

    #[test]
    fn whoever_leads_is_told_and_whoever_no_longer_does_is_not() {
        let minute = Duration::from_secs(60);
        let told = |view: &View| serde_json::from_str::<serde_json::Value>(&body(view)).unwrap();
        let own = told(&view(true, minute));
        assert_eq!(
            (&own["leaderId"], &own["term"], &own["isLeader"]),
            (&json!("pod-a"), &json!(7), &json!(true))
        );
        let left = own["validForMs"].as_u64().unwrap();
        assert!((1..=60_000).contains(&left), "{left}");
        assert_eq!(told(&view(false, minute))["isLeader"], false);
        let over = json!({ "leaderId": null, "term": 7, "isLeader": false, "validForMs": 0 });
        assert_eq!(told(&view(true, Duration::ZERO)), over);
    }

    #[test]
    fn the_validator_is_the_terms() {
        let status = |view: &View, known: &str| {
            let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, known.parse().unwrap())]);
            super::told(view, &headers).status().as_u16()
        };
        let (led, vacant) = (view(false, Duration::from_secs(60)), view(false, Duration::ZERO));
        for known in [r#"W/"7""#, r#""7""#, r#""6", W/"7""#] {
            assert_eq!((status(&led, known), status(&vacant, known)), (304, 200), "{known}");
        }
        assert_eq!((status(&led, r#"W/"7-vacant""#), status(&vacant, r#"W/"7-vacant""#)), (200, 304));
    }
}
