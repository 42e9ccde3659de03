//! Many writers of one session through several sidecars.

use std::time::Duration;

use serde_json::Value;
use tests::eventually::eventually;
use tests::http::{Http, Request};
use tests::redis::RedisServer;
use tests::sidecar::{Settings, Sidecar};

use crate::common::{new_v1, pair, pair_with};

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

/// How many SETs this Redis has executed, scripts' included.
async fn sets(redis: &RedisServer) -> u64 {
    let stats: String = redis.command(&["INFO", "commandstats"]).await.unwrap();
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_set:calls="));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

fn append(path: &str, number: usize) -> Request {
    let body = format!(r#"[{{"op":"add","path":"/log/-","value":{number}}}]"#);
    Request::new("PATCH", path).header("content-type", "application/json-patch+json").body(body)
}

/// The log as it is, in order of value.
async fn sorted_log(app: &Http, path: &str) -> Vec<usize> {
    let document = app.get(path).await.expect(200).json();
    let mut log: Vec<usize> =
        document["log"].as_array().unwrap().iter().map(|op| op.as_u64().unwrap() as usize).collect();
    log.sort_unstable();
    log
}

#[tokio::test]
async fn two_hundred_writers_share_compare_and_sets_and_none_is_lost() {
    // Every SET is to be a session's.
    let (redis, sidecar) = pair_with(|settings| settings.env("POD_COORDINATION_ENABLED", "false")).await;
    let (id, created) = new_v1(&sidecar, r#"{"log":[]}"#).await;
    let path = format!("/v1/sessions/{id}");
    let before = sets(&redis).await;
    let writes = (0..200).map(|number| {
        let request = append(&path, number);
        // Each tenth does not fit, and each tenth names a version that is past, or soon will be.
        let request = match number % 10 {
            3 => request
                .body(r#"[{"op":"add","path":"/log/-","value":-1},{"op":"test","path":"/log","value":0}]"#),
            7 => request.header("if-match", &created),
            _ => request,
        };
        sidecar.app.send(request)
    });
    let answers = futures::future::join_all(writes).await;
    let mut expected = Vec::new();
    let mut successor = std::collections::BTreeMap::new();
    for (number, answer) in answers.iter().enumerate() {
        match (number % 10, answer.status) {
            (3, 409) | (7, 412) => {}
            (3, _) => panic!("{answer:?}"),
            (_, 200) => {
                expected.push(number);
                let base = answer.header("x-base-etag").unwrap().to_owned();
                let next = successor.entry(base).or_insert_with(|| answer.etag());
                assert_eq!(*next, answer.etag(), "two successors of one version");
            }
            _ => panic!("{answer:?}"),
        }
    }
    assert_eq!(sorted_log(&sidecar.app, &path).await, expected);
    let (mut last, mut steps) = (&created, 0);
    while let Some(next) = successor.get(last) {
        (last, steps) = (next, steps + 1);
    }
    assert_eq!(*last, sidecar.app.get(&path).await.etag());
    assert_eq!(steps, successor.len(), "the versions are one path");
    let sets = (sets(&redis).await - before) as usize;
    println!("{} writes by {sets} compare-and-sets", expected.len());
    assert_eq!(sets, steps);
    assert!(sets < expected.len() / 2, "{sets}");
    sidecar.stop().await;
}

#[tokio::test]
async fn a_writer_whose_client_goes_away_takes_nobody_with_it() {
    let (_redis, sidecar) = pair().await;
    let (id, _) = new_v1(&sidecar, r#"{"log":[]}"#).await;
    let path = format!("/v1/sessions/{id}");
    let writes = (0..100).map(|number| {
        let write = sidecar.app.send(append(&path, number));
        // The first comers too, of whom one leads.
        let patience = Duration::from_millis(if number % 3 == 0 { 1 + number as u64 / 10 } else { 10_000 });
        tokio::time::timeout(patience, write)
    });
    let answers = futures::future::join_all(writes).await;
    let acknowledged = |number: &usize| {
        answers[*number].as_ref().is_ok_and(|answer| answer.clone().expect(200).status == 200)
    };
    let (stayed, left): (Vec<_>, Vec<_>) = (0..100).partition(acknowledged);
    assert!(left.iter().all(|number| number % 3 == 0), "{left:?}");
    let log = sorted_log(&sidecar.app, &path).await;
    assert!(stayed.iter().all(|number| log.binary_search(number).is_ok()), "{stayed:?} {log:?}");
    assert!(log.windows(2).all(|pair| pair[0] < pair[1]), "{log:?}");
    println!("{} clients left", left.len());
    sidecar.stop().await;
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
