//! What a JavaScript number, a sorted map or a schema would lose comes through every way in and out.

use serde_json::json;
use tests::eventually::{check, eventually};
use tests::http::Request;
use tests::proxy::Mode;
use tests::redis::RedisServer;
use tests::sidecar::Sidecar;

use crate::common::{RECOVERY, new_session, new_v1};
use crate::outage::{state, v1, world};

/// Members as they must be found again, byte for byte.
const ODD: &str = r#""zulu":9007199254740993,"10":1.0,"2":-0.0,"alpha":1.10E+5,"\u00e9":"\ud83d\ude00","mike":{"b":123456789012345678901234567890.5,"a":[]},"n":{}"#;
const MERGE_PATCH: &str = "application/merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";

/// Every way to write them into the session `id`, in which they are not yet.
fn writes(id: &str) -> Vec<Request> {
    let odd = format!("{{{ODD}}}");
    let patch =
        |media: &str, body: String| Request::new("PATCH", v1(id)).header("content-type", media).body(body);
    let save = |query: &str, member: &str| {
        let body = format!(r#"{{"sessionId":"{id}","{member}":{odd}}}"#);
        Request::new("POST", format!("/api/sessions{query}")).json(body)
    };
    vec![
        Request::new("PUT", v1(id)).json(&odd),
        patch("application/json", odd.clone()),
        Request::new("PATCH", format!("{}?merge=shallow", v1(id))).json(&odd),
        patch(MERGE_PATCH, odd.clone()),
        patch(MERGE_PATCH, format!(r#"{{"toolConfigs":{odd}}}"#)),
        patch(JSON_PATCH, format!(r#"[{{"op":"add","path":"/odd","value":{odd}}}]"#)),
        patch(JSON_PATCH, format!(r#"[{{"op":"replace","path":"","value":{odd}}}]"#)),
        patch(
            JSON_PATCH,
            format!(r#"[{{"op":"add","path":"/a","value":{odd}}},{{"op":"move","from":"/a","path":"/b"}}]"#),
        ),
        save("", "updates"),
        save("?merge=deep", "updates"),
        save("?merge=shallow", "updates"),
        save("", "sessionData"),
        Request::new("PATCH", format!("/api/sessions?sessionId={id}")).json(&odd),
    ]
}

/// Every way to read the session `id` of the user `u`.
async fn assert_told(what: &str, sidecar: &Sidecar, id: &str) {
    let other = Request::new("PATCH", v1(id)).json("{}").header("if-match", "\"other\"");
    for request in [
        Request::new("GET", v1(id)),
        Request::new("GET", v1(id)).header("cache-control", "no-cache"),
        Request::new("GET", format!("/api/sessions?sessionId={id}")),
        Request::new("POST", "/v1/sessions:batchGet").json(json!({ "ids": [id] })),
        Request::new("GET", "/v1/users/u/sessions?contents=true"),
        Request::new("PATCH", v1(id)).json(r#"{"beside":1}"#),
        other,
    ] {
        let answer = sidecar.app.send(request.clone()).await;
        assert!(answer.body.contains(ODD), "{what}, {} {}: {answer:?}", request.method, request.path);
    }
}

async fn assert_stored(what: &str, redis: &RedisServer, id: &str) {
    let stored = redis.session(id).await.unwrap();
    assert!(stored.contains(ODD), "{what}: {stored}");
}

#[tokio::test]
async fn key_order_unknown_members_and_numbers_survive_every_path() {
    let mut world = world(|settings| settings.env("SESSION_ALLOW_IDENTITY_WRITES", "true")).await;
    let sidecar = &world.sidecar;
    let mut ids = vec![new_v1(sidecar, &format!(r#"{{{ODD},"userId":"u"}}"#)).await.0];
    let imported = format!(r#"{{"id":"imported","session":{{{ODD},"userId":"u"}}}}"#);
    let import = Request::new("POST", "/v1/sessions:import").body(imported);
    let told = sidecar.app.send(import.header("content-type", "application/x-ndjson")).await.expect(200);
    assert_eq!(told.json()["status"], "created", "{told:?}");
    ids.push("imported".to_owned());
    for number in 0..writes("").len() {
        let id = new_session(sidecar).await;
        let write = writes(&id).remove(number);
        let what = format!("{} {} {:?}", write.method, write.path, write.body);
        sidecar.app.send(write).await.expect(200);
        assert_stored(&what, &world.redis, &id).await;
        // Whose it is has been replaced by some.
        sidecar.app.patch(&v1(&id), r#"{"userId":"u"}"#).await.expect(200);
        assert_told(&what, sidecar, &id).await;
        sidecar.app.delete(&v1(&id)).await.expect(204);
    }
    for id in &ids {
        assert_told("made with it", sidecar, id).await;
    }
    // What waits for Redis, and what Redis is told again.
    let journaled = new_session(sidecar).await;
    world.cut().await;
    let stale = sidecar.app.get(&v1(&ids[0])).await.expect(200);
    assert!(stale.header("x-hyperpage-stale-ms").is_some() && stale.body.contains(ODD), "{stale:?}");
    sidecar.app.patch(&v1(&journaled), format!(r#"{{{ODD}}}"#)).await.expect(202);
    world.heal().await;
    assert_stored("journaled", &world.redis, &journaled).await;
    world.proxy.set(Mode::Cut);
    state(sidecar, "outage").await;
    world.redis.restart_empty().await;
    world.heal().await;
    eventually("it is there again", RECOVERY, async || {
        let stored = world.redis.session(&journaled).await;
        check(stored.as_ref().is_some_and(|stored| stored.contains(ODD)), stored)
    })
    .await;
    world.sidecar.stop().await;
}
