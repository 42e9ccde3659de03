//! Many writers of one session through several sidecars.

use std::time::Duration;

use serde_json::Value;
use tests::eventually::eventually;
use tests::http::{Http, Request};
use tests::redis::RedisServer;
use tests::sidecar::{Settings, Sidecar};

use crate::common::new_v1;

const WRITERS: usize = 50;

async fn three() -> (RedisServer, Vec<Sidecar>) {
    let redis = RedisServer::start().await;
    let settings = Settings::redis(redis.url());
    let sidecars = futures::future::join_all((0..3).map(|_| Sidecar::start(&settings))).await;
    (redis, sidecars)
}

#[tokio::test]
async fn fifty_concurrent_updates_through_three_sidecars_are_all_kept() {
    let (_redis, sidecars) = three().await;
    let (id, _) = new_v1(&sidecars[0], r#"{"log":[]}"#).await;
    let path = format!("/v1/sessions/{id}");
    let writes = (0..WRITERS).map(|number| {
        let app = &sidecars[number % 3].app;
        let append = format!(r#"[{{"op":"add","path":"/log/-","value":{number}}}]"#);
        let api = format!(r#"{{"sessionId":"{id}","updates":{{"toolConfigs":{{}},"u{number}":1}}}}"#);
        let path = path.clone();
        async move {
            let patch = Request::new("PATCH", &path).header("content-type", "application/json-patch+json");
            let logged = |session: &Value| session["log"].as_array().unwrap().contains(&number.into());
            insist(app, &path, patch.body(append), logged).await;
            let merge = Request::new("PATCH", &path).json(format!(r#"{{"merged":{{"m{number}":1}}}}"#));
            insist(app, &path, merge, |session| session["merged"][format!("m{number}")] == 1).await;
            let updates = Request::new("POST", "/api/sessions").json(api);
            insist(app, &path, updates, |session| session[format!("u{number}")] == 1).await;
        }
    });
    futures::future::join_all(writes).await;
    let document = sidecars[2].app.get(&path).await.json();
    let mut log: Vec<u64> =
        document["log"].as_array().unwrap().iter().map(|op| op.as_u64().unwrap()).collect();
    log.sort_unstable();
    assert_eq!(log, (0..WRITERS as u64).collect::<Vec<_>>());
    for number in 0..WRITERS {
        assert_eq!(document["merged"][format!("m{number}")], 1, "{document}");
        assert_eq!(document[format!("u{number}")], 1, "{document}");
    }
    futures::future::join_all(sidecars.into_iter().map(Sidecar::stop)).await;
}

/// Repeats a write that had no effect, as its client would; where that is not known, the session says.
async fn insist(app: &Http, path: &str, request: Request, done: impl Fn(&Value) -> bool) {
    eventually("the write is acknowledged", Duration::from_secs(20), async || {
        let answer = app.send(request.clone()).await;
        match (answer.status, answer.code().as_str()) {
            (200, _) => Ok(()),
            (503, "SESSION_STORE_UNAVAILABLE") => Err(answer),
            (503, "OUTCOME_UNKNOWN") if done(&app.get(path).await.expect(200).json()) => Ok(()),
            (503, "OUTCOME_UNKNOWN") => Err(answer),
            _ => panic!("{answer:?}"),
        }
    })
    .await;
}

/// Of writers that all name one version, one wins, and the others are told.
#[tokio::test]
async fn of_fifty_writers_with_one_etag_exactly_one_wins() {
    let (_redis, sidecars) = three().await;
    let (id, etag) = new_v1(&sidecars[0], "{}").await;
    let path = format!("/v1/sessions/{id}");
    let writes = (0..WRITERS).map(|number| {
        let put =
            Request::new("PUT", &path).json(format!(r#"{{"winner":{number}}}"#)).header("if-match", &etag);
        sidecars[number % 3].app.send(put)
    });
    let answers = futures::future::join_all(writes).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!(won.len(), 1, "{won:?}");
    assert!(lost.iter().all(|answer| answer.status == 412), "{lost:?}");
    assert_eq!(sidecars[1].app.get(&path).await.etag(), won[0].etag());
    futures::future::join_all(sidecars.into_iter().map(Sidecar::stop)).await;
}

/// A touch that names a version renews that version or nothing, whoever writes meanwhile.
#[tokio::test]
async fn a_conditional_touch_never_renews_another_version() {
    let (_redis, sidecars) = three().await;
    let (mut renewed, mut refused) = (0, 0);
    for _ in 0..5 {
        let (id, etag) = new_v1(&sidecars[0], "{}").await;
        let path = format!("/v1/sessions/{id}");
        let touches = (0..WRITERS).map(|number| {
            let touch = Request::new("POST", format!("{path}/touch")).header("if-match", &etag);
            sidecars[number % 3].app.send(touch)
        });
        let write = async {
            // With the touches under way.
            sidecars[0].app.get(&path).await;
            sidecars[0].app.patch(&path, r#"{"n":1}"#).await.expect(200)
        };
        let (answers, written) = tokio::join!(futures::future::join_all(touches), write);
        for answer in answers {
            match answer.status {
                204 => assert_eq!(answer.etag(), etag, "{answer:?}"),
                412 => refused += 1,
                _ => panic!("{answer:?}"),
            }
            renewed += usize::from(answer.status == 204);
        }
        let late = Request::new("POST", format!("{path}/touch"));
        sidecars[1].app.send(late.clone().header("if-match", &etag)).await.expect(412);
        sidecars[1].app.send(late.header("if-match", written.etag())).await.expect(204);
    }
    println!("{renewed} renewed, {refused} refused");
    futures::future::join_all(sidecars.into_iter().map(Sidecar::stop)).await;
}

/// A session written through one sidecar is read through another at once.
#[tokio::test]
async fn a_write_through_one_sidecar_is_read_through_another() {
    let (_redis, sidecars) = three().await;
    let (id, _) = new_v1(&sidecars[0], r#"{"n":0}"#).await;
    let path = format!("/v1/sessions/{id}");
    for n in 1..=30 {
        let (writer, reader) = (&sidecars[n % 3], &sidecars[(n + 1) % 3]);
        let etag = writer.app.patch(&path, format!(r#"{{"n":{n}}}"#)).await.expect(200).etag();
        assert_eq!(reader.app.get(&path).await.etag(), etag);
    }
    futures::future::join_all(sidecars.into_iter().map(Sidecar::stop)).await;
}
