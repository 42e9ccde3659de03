//! `/v1/sessions`: validators, media types, problem details; bytes that survive; life and death of a session.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use tests::eventually::{check, eventually};
use tests::http::{Answer, Request};
use tests::sidecar::Sidecar;

use crate::common::{new_session, new_v1, pair, pair_with};

fn patch(id: &str, media: &str, body: &str) -> Request {
    Request::new("PATCH", format!("/v1/sessions/{id}")).header("content-type", media).body(body)
}

/// RFC 9457, with the code as a member.
#[track_caller]
fn assert_problem(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    let body = answer.json();
    assert_eq!(body["status"], status, "{answer:?}");
    assert!(body["title"].is_string() && body["detail"].is_string(), "{answer:?}");
}

#[tokio::test]
async fn v1_create_get_put_patch_delete_touch() {
    let (redis, sidecar) = pair().await;
    let created = sidecar.app.post("/v1/sessions", r#"{"cart":{"items":[1]}}"#).await.expect(201);
    let path = created.header("location").unwrap().to_owned();
    let id = path.strip_prefix("/v1/sessions/").unwrap();
    let read = sidecar.app.get(&path).await.expect(200);
    assert_eq!(read.etag(), created.etag());
    assert_eq!(read.body, redis.session(id).await.unwrap());
    assert_eq!(read.json()["cart"]["items"][0], 1);

    let patched = sidecar.app.patch(&path, r#"{"cart":{"open":true}}"#).await.expect(200);
    assert_ne!(patched.etag(), read.etag());
    let read = sidecar.app.get(&path).await;
    assert_eq!(read.json()["cart"], serde_json::json!({ "items": [1], "open": true }));

    sidecar.app.send(Request::new("POST", format!("{path}/touch"))).await.expect(204);
    assert_eq!(sidecar.app.get(&path).await.etag(), read.etag());

    sidecar.app.put(&path, r#"{"other":1}"#).await.expect(200);
    let read = sidecar.app.get(&path).await.json();
    assert_eq!((&read["other"], read.get("cart")), (&1.into(), None));

    let deleted = sidecar.app.delete(&path).await.expect(204);
    assert_eq!(deleted.header("x-hyperpage-durability"), Some("redis"));
    assert_problem(&sidecar.app.get(&path).await, 404, "SESSION_NOT_FOUND");
    assert_problem(&sidecar.app.delete(&path).await, 404, "SESSION_NOT_FOUND");
    sidecar.stop().await;
}

#[tokio::test]
async fn v1_etag_is_the_quoted_sha1_of_the_stored_bytes() {
    let (redis, sidecar) = pair().await;
    let (id, etag) = new_v1(&sidecar, "{}").await;
    let script = "return redis.sha1hex(redis.call('GET', KEYS[1]))";
    let key = format!("hyperpage:session:{id}");
    let digest: String = redis.command(&["EVAL", script, "1", &key]).await.unwrap();
    assert_eq!(etag, format!("\"{digest}\""));
    sidecar.stop().await;
}

/// Every request that a condition may go with; the last two are touches.
fn conditional(path: &str) -> [Request; 7] {
    [
        Request::new("GET", path),
        Request::new("HEAD", path),
        Request::new("PUT", path).json(r#"{"n":1}"#),
        Request::new("PATCH", path).json(r#"{"n":1}"#),
        Request::new("DELETE", path),
        Request::new("PATCH", path).json(r#"{"lastActivity":"2001-01-01T00:00:00.000Z"}"#),
        Request::new("POST", format!("{path}/touch")),
    ]
}

/// Each of them with this condition is refused so.
async fn all_refused(sidecar: &Sidecar, path: &str, condition: (&str, &str), status: u16, code: &str) {
    for request in conditional(path) {
        let answer = sidecar.app.send(request.header(condition.0, condition.1)).await;
        // A HEAD has no body that could say more.
        assert_eq!(answer.status, status, "{condition:?}: {answer:?}");
        assert!(answer.body.is_empty() || answer.code() == code, "{condition:?}: {answer:?}");
    }
}

#[tokio::test]
async fn v1_if_match_and_if_none_match_are_honoured() {
    let (redis, sidecar) = pair().await;
    let (id, first) = new_v1(&sidecar, "{}").await;
    let (key, path) = (format!("hyperpage:session:{id}"), format!("/v1/sessions/{id}"));
    let [get, head, put, patch, delete, still_here, touch] = conditional(&path);
    let send = async |request: &Request, name: &str, tag: &str| {
        sidecar.app.send(request.clone().header(name, tag)).await
    };
    send(&get, "if-none-match", &first).await.expect(304);
    let second = send(&patch, "if-match", &first).await.expect(200).etag();
    for read in [&get, &head] {
        send(read, "if-none-match", &first).await.expect(200);
        send(read, "if-match", &second).await.expect(200);
    }
    redis.command::<()>(&["PEXPIRE", &key, "50000"]).await.unwrap();
    let stale = ("if-match", first.as_str());
    all_refused(&sidecar, &path, stale, 412, "PRECONDITION_FAILED").await;
    all_refused(&sidecar, &path, ("if-match", "unquoted"), 400, "INVALID_SESSION_REQUEST").await;
    for write in [&put, &patch, &delete, &still_here, &touch] {
        assert_problem(&send(write, "if-none-match", &second).await, 412, "PRECONDITION_FAILED");
    }
    assert_eq!(sidecar.app.get(&path).await.etag(), second, "a refused write changes nothing");
    let left: i64 = redis.command(&["PTTL", &key]).await.unwrap();
    assert!(left <= 50_000, "a refused write renews nothing: {left}");
    let third = send(&put, "if-match", &second).await.expect(200).etag();
    send(&delete, "if-match", &third).await.expect(204);
    for tag in [third.as_str(), "*"] {
        all_refused(&sidecar, &path, ("if-match", tag), 412, "PRECONDITION_FAILED").await;
    }
    all_refused(&sidecar, &path, ("if-none-match", &third), 404, "SESSION_NOT_FOUND").await;
    sidecar.stop().await;
}

/// Whoever lost sees at once over what to try again.
#[tokio::test]
async fn v1_412_holds_the_current_document_and_its_etag() {
    let (redis, sidecar) = pair().await;
    let (id, first) = new_v1(&sidecar, "{}").await;
    let path = format!("/v1/sessions/{id}");
    let second = sidecar.app.patch(&path, r#"{"n":1}"#).await.expect(200);
    assert_eq!(second.header("x-base-etag"), Some(first.as_str()));
    let updated = second.json()["metadata"]["updated"].as_str().unwrap().parse::<Timestamp>().unwrap();
    assert_eq!(second.header("x-hyperpage-version"), Some(updated.as_millisecond().to_string().as_str()));
    for request in conditional(&path) {
        let head = request.method == "HEAD";
        let refused = sidecar.app.send(request.header("if-match", &first)).await.expect(412);
        assert_eq!(refused.etag(), second.etag());
        assert!(head || refused.json()["current"] == second.json(), "{refused:?}");
    }
    // What somebody else has put there need not be JSON.
    redis.command::<()>(&["SET", &format!("hyperpage:session:{id}"), "\"}"]).await.unwrap();
    let refused = sidecar.app.send(conditional(&path)[4].clone().header("if-match", &first)).await;
    assert_problem(&refused, 412, "PRECONDITION_FAILED");
    assert_eq!((refused.header("etag"), refused.json().get("current")), (None, None));
    sidecar.stop().await;
}

#[tokio::test]
async fn v1_if_version_at_least_waits_for_the_version_and_gives_up() {
    let (_redis, sidecar) = pair().await;
    let (id, _) = new_v1(&sidecar, "{}").await;
    let path = format!("/v1/sessions/{id}");
    let read = |version: i64| Request::new("GET", &path).header("if-version-at-least", version.to_string());
    let there: i64 = sidecar.app.get(&path).await.header("x-hyperpage-version").unwrap().parse().unwrap();
    sidecar.app.send(read(there)).await.expect(200);
    let answer = sidecar.app.send(read(there + 3_600_000)).await;
    assert_problem(&answer, 503, "VERSION_NOT_REACHED");
    assert!(answer.elapsed > Duration::from_millis(150), "{answer:?}");
    // What comes while it waits is enough. A machine may be so slow that it comes too late.
    eventually("a reader waits for a writer", Duration::from_secs(20), async || {
        let (write, early) = (sidecar.app.patch(&path, r#"{"n":1}"#), Request::new("GET", &path));
        let there: i64 =
            sidecar.app.send(early).await.header("x-hyperpage-version").unwrap().parse().unwrap();
        let (answer, _) = tokio::join!(sidecar.app.send(read(there + 1)), write);
        check(answer.status == 200, answer)
    })
    .await;
    for wrong in ["x", "-1", "1.5", ""] {
        let answer = sidecar.app.send(Request::new("GET", &path).header("if-version-at-least", wrong)).await;
        assert_problem(&answer, 400, "INVALID_SESSION_REQUEST");
    }
    assert_problem(
        &sidecar.app.send(Request::new("GET", "/v1/sessions/x").header("if-version-at-least", "1")).await,
        404,
        "SESSION_NOT_FOUND",
    );
    sidecar.stop().await;
}

#[tokio::test]
async fn v1_media_types_that_mean_nothing_are_415() {
    let (_redis, sidecar) = pair().await;
    let (id, etag) = new_v1(&sidecar, "{}").await;
    for media in ["text/plain", "application/xml", "application/x-www-form-urlencoded"] {
        for request in [
            Request::new("POST", "/v1/sessions").header("content-type", media).body("{}"),
            Request::new("PUT", format!("/v1/sessions/{id}")).header("content-type", media).body("{}"),
            patch(&id, media, "{}"),
        ] {
            assert_problem(&sidecar.app.send(request).await, 415, "UNSUPPORTED_MEDIA_TYPE");
        }
    }
    for method in ["PUT", "PATCH"] {
        let none = Request::new(method, format!("/v1/sessions/{id}")).body("{}");
        assert_problem(&sidecar.app.send(none).await, 415, "UNSUPPORTED_MEDIA_TYPE");
    }
    let parameters = patch(&id, "Application/JSON; charset=utf-8", r#"{"a":1}"#);
    sidecar.app.send(parameters).await.expect(200);
    assert_ne!(sidecar.app.get(&format!("/v1/sessions/{id}")).await.etag(), etag);
    sidecar.stop().await;
}

#[tokio::test]
async fn v1_media_types_decide_what_a_patch_means() {
    let (_redis, sidecar) = pair().await;
    let json = serde_json::from_str::<serde_json::Value>;
    let cases = [
        ("application/json", r#"{"m":{"a":null,"l":[9]}}"#, r#"{"a":null,"b":2,"l":[9]}"#),
        ("application/merge-patch+json", r#"{"m":{"a":null,"l":[9]}}"#, r#"{"b":2,"l":[9]}"#),
        (
            "application/json-patch+json",
            r#"[{"op":"test","path":"/m/a","value":1},{"op":"add","path":"/m/l/-","value":3},{"op":"remove","path":"/m/b"}]"#,
            r#"{"a":1,"l":[1,3]}"#,
        ),
    ];
    for (media, body, expected) in cases {
        let (id, _) = new_v1(&sidecar, r#"{"m":{"a":1,"b":2,"l":[1]}}"#).await;
        sidecar.app.send(patch(&id, media, body)).await.expect(200);
        let read = sidecar.app.get(&format!("/v1/sessions/{id}")).await.json();
        assert_eq!(read["m"], json(expected).unwrap(), "{media}");
    }
    let (id, etag) = new_v1(&sidecar, r#"{"a":1}"#).await;
    let failing = r#"[{"op":"remove","path":"/a"},{"op":"test","path":"/b","value":1}]"#;
    let failed = sidecar.app.send(patch(&id, "application/json-patch+json", failing)).await;
    assert!((400..500).contains(&failed.status) && failed.status != 404, "{failed:?}");
    assert_eq!(
        sidecar.app.get(&format!("/v1/sessions/{id}")).await.etag(),
        etag,
        "all of a patch or none of it"
    );
    sidecar.stop().await;
}

/// What a JavaScript number or a sorted map would lose.
#[tokio::test]
async fn key_order_and_numbers_beyond_2_53_survive_byte_for_byte() {
    let (redis, sidecar) = pair().await;
    let odd = r#"{"zulu":9007199254740993,"10":1.0,"2":-0.0,"alpha":1e400,"é":"\ud83d\ude00","mike":{"b":123456789012345678901234567890.5,"a":[]},"n":{}}"#;
    let (id, _) = new_v1(&sidecar, odd).await;
    let members = odd.trim_start_matches('{').trim_end_matches('}');
    for change in [r#"{"added":1}"#, r#"{"mike":{"c":2}}"#, r#"{"preferences":{"theme":"dark"}}"#] {
        sidecar.app.patch(&format!("/v1/sessions/{id}"), change).await.expect(200);
    }
    let stored = redis.session(&id).await.unwrap();
    let expected = members.replace(r#""a":[]"#, r#""a":[],"c":2"#);
    assert!(stored.contains(&expected), "{stored}\n{expected}");
    assert_eq!(sidecar.app.get(&format!("/v1/sessions/{id}")).await.body, stored);
    sidecar.stop().await;
}

#[tokio::test]
async fn a_touch_changes_no_byte_and_renews_the_life() {
    let (redis, sidecar) = pair_with(|settings| settings.env("SESSION_DEFAULT_TTL_SECONDS", "100")).await;
    let (id, etag) = new_v1(&sidecar, "{}").await;
    let key = format!("hyperpage:session:{id}");
    let before = redis.session(&id).await.unwrap();
    let path = format!("/v1/sessions/{id}");
    let only_activity = r#"{"lastActivity":"2001-01-01T00:00:00.000Z"}"#;
    let api = format!(r#"{{"sessionId":"{id}","updates":{only_activity}}}"#);
    for touch in [
        Request::new("POST", format!("{path}/touch")),
        Request::new("POST", format!("{path}/touch")).header("if-match", &etag),
        Request::new("PATCH", &path).json(only_activity),
        Request::new("PATCH", &path).json(only_activity).header("if-match", format!("\"other\", {etag}")),
        Request::new("PATCH", &path).json(only_activity).header("if-match", "*"),
        Request::new("PATCH", format!("/api/sessions?sessionId={id}")).json(only_activity),
        Request::new("POST", "/api/sessions").json(api),
    ] {
        redis.command::<()>(&["PEXPIRE", &key, "50000"]).await.unwrap();
        let answer = sidecar.app.send(touch.clone()).await.expect_success();
        assert!(!touch.path.starts_with("/v1") || answer.etag() == etag, "{touch:?}: {answer:?}");
        let left: i64 = redis.command(&["PTTL", &key]).await.unwrap();
        assert!((99_000..=100_000).contains(&left), "{touch:?}: {left}");
        assert_eq!(redis.session(&id).await.unwrap(), before, "{touch:?}");
        assert_eq!(sidecar.app.get(&path).await.etag(), etag);
    }
    // Within the first hundredth of its life there is nothing to renew.
    redis.command::<()>(&["PEXPIRE", &key, "99900"]).await.unwrap();
    sidecar.app.send(Request::new("POST", format!("{path}/touch"))).await.expect(204);
    let left: i64 = redis.command(&["PTTL", &key]).await.unwrap();
    assert!(left <= 99_900, "{left}");
    sidecar.stop().await;
}

/// A touch stores nothing, and still an answer says when the session was last alive.
#[tokio::test]
async fn last_activity_in_answers_is_computed_after_a_touch() {
    let (redis, sidecar) = pair().await;
    let id = new_session(&sidecar).await;
    let key = format!("hyperpage:session:{id}");
    let stored = redis.session(&id).await.unwrap();
    let aged = stored.replace(&stored_activity(&stored), "2020-01-01T00:00:00.000Z");
    let path = format!("/v1/sessions/{id}");
    // What a stranger has written is heard of a moment later.
    let fresh = async || {
        let read = Request::new("GET", &path).header("cache-control", "no-cache");
        sidecar.app.send(read).await.expect(200)
    };
    for touch in [
        Request::new("POST", format!("{path}/touch")),
        Request::new("PATCH", &path).json(r#"{"lastActivity":1}"#),
    ] {
        // An hour of the day that a session lives has passed.
        redis.command::<()>(&["SET", &key, &aged, "EX", "82800"]).await.unwrap();
        let idle = age(&fresh().await);
        assert!((3600..3605).contains(&idle), "{idle}");
        sidecar.app.send(touch).await.expect_success();
        let idle = age(&sidecar.app.get(&path).await.expect(200));
        assert!((0..5).contains(&idle), "{idle}");
    }
    // Somebody else's sessions live for a month: when this one was renewed, nobody knows.
    redis.command::<()>(&["SET", &key, &aged, "EX", "2592000"]).await.unwrap();
    assert_eq!(fresh().await.json()["lastActivity"], "2020-01-01T00:00:00.000Z");
    assert_eq!(redis.session(&id).await.unwrap(), aged);
    sidecar.stop().await;
}

/// For how many whole seconds a session has been idle, as the answer tells it.
fn age(answer: &Answer) -> i64 {
    let told: Timestamp = answer.json()["lastActivity"].as_str().unwrap().parse().unwrap();
    Timestamp::now().duration_since(told).as_millis().div_euclid(1000).try_into().unwrap()
}

fn stored_activity(stored: &str) -> String {
    let stored: serde_json::Value = serde_json::from_str(stored).unwrap();
    stored["lastActivity"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_write_renews_the_life_a_read_does_not_and_expiry_ends_it() {
    let (redis, sidecar) = pair_with(|settings| settings.env("SESSION_DEFAULT_TTL_SECONDS", "2")).await;
    let (id, _) = new_v1(&sidecar, "{}").await;
    let (key, path) = (format!("hyperpage:session:{id}"), format!("/v1/sessions/{id}"));
    redis.command::<()>(&["PEXPIRE", &key, "1000"]).await.unwrap();
    sidecar.app.get(&path).await.expect(200);
    assert!(redis.command::<i64>(&["PTTL", &key]).await.unwrap() <= 1000);
    sidecar.app.patch(&path, r#"{"a":1}"#).await.expect(200);
    assert!(redis.command::<i64>(&["PTTL", &key]).await.unwrap() > 1000);
    eventually("the session expires", Duration::from_secs(5), async || {
        let read = sidecar.app.get(&path).await;
        check(read.status == 404, read)
    })
    .await;
    for request in [
        Request::new("PATCH", &path).json(r#"{"a":1}"#),
        Request::new("PUT", &path).json("{}"),
        Request::new("POST", format!("{path}/touch")),
        Request::new("DELETE", &path),
    ] {
        assert_problem(&sidecar.app.send(request).await, 404, "SESSION_NOT_FOUND");
    }
    assert_eq!(redis.session(&id).await, None, "no write creates");
    sidecar.stop().await;
}

/// Writers that read the session before it was deleted, and a client that knows its id, come too late.
#[tokio::test]
async fn a_deleted_session_stays_deleted() {
    let (redis, sidecar) = pair_with(|settings| settings.env("SESSION_ALLOW_CLIENT_IDS", "true")).await;
    let ids = futures::future::join_all((0..20).map(|_| new_session(&sidecar))).await;
    let races = ids.iter().map(async |id| {
        let path = format!("/v1/sessions/{id}");
        let write = |_| sidecar.app.patch(&path, r#"{"late":1}"#);
        let writes = futures::future::join_all((0..8).map(write));
        let (_, deleted) = tokio::join!(writes, sidecar.app.delete(&path));
        deleted.expect(204);
        let body = format!(r#"{{"sessionId":"{id}","sessionData":{{"again":1}}}}"#);
        let again = sidecar.app.post("/api/sessions", body).await;
        assert_eq!((again.status, again.code().as_str()), (401, "SESSION_NOT_FOUND"), "{again:?}");
        sidecar.app.get(&path).await.expect(404);
        assert_eq!(redis.session(id).await, None);
    });
    futures::future::join_all(races).await;
    sidecar.stop().await;
}
