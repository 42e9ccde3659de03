//! What most tests begin with.

use std::time::Duration;

use tests::eventually::eventually;
use tests::http::Answer;
use tests::redis::RedisServer;
use tests::sidecar::{Settings, Sidecar};

/// Every answer comes within this, whatever Redis does.
pub(crate) const PROMPT: Duration = Duration::from_secs(2);
/// After a fault has ended, the sidecar serves again within this.
pub(crate) const RECOVERY: Duration = Duration::from_secs(5);

/// A sidecar and a Redis of its own.
pub(crate) async fn pair() -> (RedisServer, Sidecar) {
    pair_with(|settings| settings).await
}

pub(crate) async fn pair_with(settings: impl FnOnce(Settings) -> Settings) -> (RedisServer, Sidecar) {
    let redis = RedisServer::start().await;
    let sidecar = Sidecar::start(&settings(Settings::redis(redis.url()))).await;
    (redis, sidecar)
}

/// A new session, by the original's way. A machine under load may say 503 first; that is an answer too.
pub(crate) async fn new_session(sidecar: &Sidecar) -> String {
    let answer = eventually("a session is made", RECOVERY, async || {
        let answer = sidecar.app.get("/api/sessions").await;
        if answer.status == 200 { Ok(answer) } else { Err(answer) }
    });
    answer.await.json()["sessionId"].as_str().unwrap().to_owned()
}

/// A new session with these fields, and its ETag.
pub(crate) async fn new_v1(sidecar: &Sidecar, fields: &str) -> (String, String) {
    let answer = eventually("a session is made", RECOVERY, async || {
        let answer = sidecar.app.post("/v1/sessions", fields).await;
        // Only this 503 says that none was made.
        let refused = answer.code() == "SESSION_STORE_UNAVAILABLE";
        if refused { Err(answer) } else { Ok(answer.expect(201)) }
    })
    .await;
    let location = answer.header("location").unwrap();
    (location.rsplit('/').next().unwrap().to_owned(), answer.etag())
}

/// 503 in time, with a code that says what is known, and when to come again.
#[track_caller]
pub(crate) fn assert_outage(what: &str, answer: &Answer) {
    assert_eq!(answer.status, 503, "{what}: {answer:?}");
    let code = answer.code();
    assert!(["SESSION_STORE_UNAVAILABLE", "OUTCOME_UNKNOWN"].contains(&code.as_str()), "{what}: {answer:?}");
    assert!(answer.header("retry-after").is_some(), "{what}: {answer:?}");
    assert!(answer.elapsed < PROMPT, "{what}: {answer:?}");
}

/// After a second of an outage a change waits in the sidecar; on a busy machine it may have come to that.
#[track_caller]
pub(crate) fn assert_refused_or_kept(what: &str, answer: &Answer) {
    match answer.header("x-hyperpage-durability") {
        Some("local") => assert_eq!(answer.status, 202, "{what}: {answer:?}"),
        _ => assert_outage(what, answer),
    }
}

/// A read in an outage: refused, or told as it was known last and marked so.
#[track_caller]
pub(crate) fn assert_stale_or_unchanged(what: &str, answer: &Answer) {
    match answer.header("x-hyperpage-stale-ms") {
        Some(_) => assert_eq!(answer.status, 200, "{what}: {answer:?}"),
        None => assert_unchanged(what, answer),
    }
}

/// An outage of which it is known that nothing was changed: a refused write, or any read.
#[track_caller]
pub(crate) fn assert_unchanged(what: &str, answer: &Answer) {
    assert_outage(what, answer);
    assert_eq!(answer.code(), "SESSION_STORE_UNAVAILABLE", "{what}: {answer:?}");
}
