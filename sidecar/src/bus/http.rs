//! Messages over HTTP.

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use futures::StreamExt;
use serde_json::json;

use crate::app::App;
use crate::coordination::Coordination;
use crate::stream::{self, Event};

pub(crate) fn lasting() -> Router<App> {
    Router::new().route("/v1/events", get(events))
}

/// All that this pod hears, from now on.
async fn events(coordination: Coordination) -> Response {
    let hello =
        Event { name: "hello", id: None, data: json!({ "pod": coordination.pods().me().pod }).to_string() };
    stream::events(futures::stream::iter([hello]).chain(futures::stream::pending()))
}
