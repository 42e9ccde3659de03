//! `POST /v1/cache/invalidate`: the original's `cache_invalidate`, to every pod's app.

use axum::Router;
use axum::body::Body;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::post;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::barrier::{self, Waiting};
use crate::bus::{Kind, Outgoing, Priority};
use crate::coordination::{Coordination, Error, text};

const SHAPE: Error =
    Error::InvalidRequest("send one of {keys: […]}, {prefix: …} and {tags: […]}, none of them empty");

pub(crate) fn router() -> Router<App> {
    Router::new().route("/v1/cache/invalidate", post(invalidate))
}

/// What is to be dropped; it is the message's payload too.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Dropped {
    Keys(Vec<String>),
    Prefix(String),
    Tags(Vec<String>),
}

impl Dropped {
    fn parse(text: &str) -> Result<Dropped, Error> {
        let dropped = serde_json::from_str(text).map_err(|_| SHAPE)?;
        let named = match &dropped {
            Dropped::Keys(names) | Dropped::Tags(names) => {
                !names.is_empty() && names.iter().all(|name| !name.is_empty())
            }
            Dropped::Prefix(prefix) => !prefix.is_empty(),
        };
        if named { Ok(dropped) } else { Err(SHAPE) }
    }
}

async fn invalidate(
    coordination: Coordination,
    waiting: Waiting,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let dropped = Dropped::parse(&text(&headers, body).await?)?;
    let internal = |error: serde_json::Error| Error::Internal { reason: error.to_string() };
    let payload = serde_json::value::to_raw_value(&dropped).map_err(internal)?;
    // The original's are high: what is stale is worse than what is late.
    let (kind, priority) = (Kind::CacheInvalidate, Priority::High);
    let outgoing = Outgoing { kind, payload, priority, target: None, fence: None, ack: false };
    barrier::publish(&coordination, outgoing, waiting).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_three_and_nothing_empty() {
        for text in [r#"{"keys":["a","b"]}"#, r#"{"prefix":"user:"}"#, r#"{"tags":["t"]}"#] {
            assert_eq!(serde_json::to_string(&Dropped::parse(text).unwrap()).unwrap(), text);
        }
        for other in [
            "{}",
            "[]",
            r#"{"keys":[]}"#,
            r#"{"keys":[""]}"#,
            r#"{"keys":"a"}"#,
            r#"{"prefix":""}"#,
            r#"{"keys":["a"],"prefix":"b"}"#,
            r#"{"other":1}"#,
            r#"{"keys":[1]}"#,
        ] {
            assert_eq!(Dropped::parse(other).err(), Some(SHAPE), "{other}");
        }
    }
}
