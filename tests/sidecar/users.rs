//! A user's sessions: listed, kept in an index that repairs itself, and signed out everywhere. On one Redis, and on a
//! Cluster, where the index is in another slot than the sessions.

use serde_json::{Value, json};
use tests::eventually::{check, eventually};
use tests::http::Answer;
use tests::sidecar::Sidecar;

use crate::common::{PROMPT, RECOVERY, new_session, new_v1, pair};
use crate::count::metric;
use crate::foreign::Foreign;

const PAST: &str = "2020-01-01T00:00:00.000Z";
const FUTURE: &str = "2090-01-01T00:00:00.000Z";

async fn of_user(sidecar: &Sidecar, user: &str) -> Vec<String> {
    let answer = sidecar.app.get(&format!("/v1/users/{user}/sessions")).await.expect(200);
    assert!(answer.elapsed < PROMPT, "{answer:?}");
    let mut ids = ids(&answer.json());
    ids.sort();
    ids
}

fn ids(page: &Value) -> Vec<String> {
    let sessions = page["sessions"].as_array().unwrap();
    sessions.iter().map(|session| session["id"].as_str().unwrap().to_owned()).collect()
}

async fn sessions_of(sidecar: &Sidecar, user: &str, count: usize) -> Vec<String> {
    let fields = json!({ "userId": user }).to_string();
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(new_v1(sidecar, &fields).await.0);
    }
    ids.sort();
    ids
}

async fn read(sidecar: &Sidecar, id: &str) -> Answer {
    sidecar.app.get(&format!("/v1/sessions/{id}")).await
}

async fn patch(sidecar: &Sidecar, id: &str, fields: Value) -> Answer {
    sidecar.app.patch(&format!("/v1/sessions/{id}"), fields).await
}

async fn sign_out(sidecar: &Sidecar, user: &str) -> Value {
    let answer = sidecar.app.delete(&format!("/v1/users/{user}/sessions")).await.expect(200);
    assert!(answer.elapsed < PROMPT, "{answer:?}");
    answer.json()
}

#[tokio::test]
async fn the_sessions_of_a_user_are_listed_and_verified() {
    for redis in Foreign::both().await {
        let sidecar = redis.sidecar().await;
        let mine = sessions_of(&sidecar, "u", 4).await;
        sessions_of(&sidecar, "v", 1).await;
        new_session(&sidecar).await;
        assert_eq!(of_user(&sidecar, "u").await, mine);
        // One becomes somebody else's, one nobody's, one is deleted, and one that was nobody's becomes the user's.
        patch(&sidecar, &mine[0], json!({ "userId": "v" })).await.expect(200);
        patch(&sidecar, &mine[1], json!({ "userId": null })).await.expect(200);
        sidecar.app.delete(&format!("/v1/sessions/{}", mine[2])).await.expect(204);
        let late = new_session(&sidecar).await;
        patch(&sidecar, &late, json!({ "userId": "u" })).await.expect(200);
        let mut left = vec![mine[3].clone(), late];
        left.sort();
        assert_eq!(of_user(&sidecar, "u").await, left);
        assert_eq!(of_user(&sidecar, "v").await.len(), 2);
        assert_eq!(of_user(&sidecar, "nobody").await, Vec::<String>::new());
        // Neither braces nor slashes nor length of a name do any harm.
        for (name, path) in [("a}b{/ü", "a%7Db%7B%2F%C3%BC"), (&"x".repeat(5000), &"x".repeat(5000))] {
            let odd = sessions_of(&sidecar, name, 2).await;
            assert_eq!(of_user(&sidecar, path).await, odd);
        }
        let life: i64 = redis.command(&["PTTL", "{hyperpage:user:u}"]).await;
        assert!((86_400_000..90_000_000).contains(&life), "{life}");
        sidecar.stop().await;
    }
}

#[tokio::test]
async fn a_list_is_told_in_pages_and_its_contents_on_demand() {
    let (_redis, sidecar) = pair().await;
    let mine = sessions_of(&sidecar, "u", 25).await;
    let (mut seen, mut cursor, mut sizes) = (Vec::new(), String::new(), Vec::new());
    loop {
        let page =
            sidecar.app.get(&format!("/v1/users/u/sessions?limit=10{cursor}")).await.expect(200).json();
        sizes.push(ids(&page).len());
        seen.extend(ids(&page));
        let Some(next) = page["cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    seen.sort();
    assert_eq!((seen, sizes), (mine.clone(), vec![10, 10, 5]));
    let page = sidecar.app.get("/v1/users/u/sessions?limit=1&contents=true").await.json();
    let told = &page["sessions"][0];
    assert!(told["version"].is_i64() && told["lastActivity"].is_string(), "{told}");
    assert_eq!(told["session"], read(&sidecar, told["id"].as_str().unwrap()).await.json());
    for wrong in ["limit=0", "limit=101", "cursor=x", "contents=2"] {
        sidecar.app.get(&format!("/v1/users/u/sessions?{wrong}")).await.expect(400);
    }
    sidecar.stop().await;
}

#[tokio::test]
async fn a_user_is_named_in_the_index_before_the_document_says_so() {
    for redis in Foreign::both().await {
        let sidecar = redis.sidecar().await;
        let id = new_session(&sidecar).await;
        let etag = read(&sidecar, &id).await.etag();
        // What cannot be indexed is not written.
        redis.command::<()>(&["SET", "{hyperpage:user:u}", "odd"]).await;
        for answer in [
            patch(&sidecar, &id, json!({ "userId": "u" })).await,
            sidecar.app.put(&format!("/v1/sessions/{id}"), r#"{"userId":"u"}"#).await,
            sidecar.app.post("/v1/sessions", r#"{"userId":"u"}"#).await,
        ] {
            assert!(answer.status >= 500, "{answer:?}");
        }
        assert_eq!(read(&sidecar, &id).await.etag(), etag);
        // Whoever reads such a session is not disturbed, and the failure is counted.
        redis.set("foreign", "u", PAST).await;
        read(&sidecar, "foreign").await.expect(200);
        eventually("what is not indexed is counted", RECOVERY, async || {
            let unindexed = metric(&sidecar, "sessions_unindexed_total").await;
            check(unindexed >= 1, unindexed)
        })
        .await;
        redis.command::<()>(&["DEL", "hyperpage:session:foreign"]).await;
        redis.command::<()>(&["DEL", "{hyperpage:user:u}"]).await;
        patch(&sidecar, &id, json!({ "userId": "u" })).await.expect(200);
        assert_eq!(of_user(&sidecar, "u").await, [id]);
        sidecar.stop().await;
    }
}

#[tokio::test]
async fn reads_repair_the_index() {
    for redis in Foreign::both().await {
        let (one, other) = (redis.sidecar().await, redis.sidecar().await);
        let mut all = sessions_of(&one, "u", 3).await;
        redis.command::<()>(&["DEL", "{hyperpage:user:u}"]).await;
        redis.set("foreign", "u", PAST).await;
        assert_eq!(of_user(&other, "u").await, Vec::<String>::new());
        all.push("foreign".to_owned());
        all.sort();
        for id in &all {
            read(&other, id).await.expect(200);
        }
        eventually("what was read is indexed again", RECOVERY, async || {
            let listed = of_user(&one, "u").await;
            check(listed == all, listed)
        })
        .await;
        one.stop().await;
        other.stop().await;
    }
}

/// The same pod, too, although it had named them already.
#[tokio::test]
async fn an_index_that_redis_lost_is_made_again() {
    for redis in Foreign::both().await {
        let sidecar = redis.sidecar().await;
        let mine = sessions_of(&sidecar, "u", 3).await;
        for node in &redis.nodes {
            node.command::<()>(&["FLUSHALL"]).await.unwrap();
        }
        for id in &mine {
            redis.set(id, "u", PAST).await;
        }
        eventually("the sessions are in the index again", RECOVERY, async || {
            for id in &mine {
                let answer = read(&sidecar, id).await;
                check(answer.status == 200, answer)?;
            }
            let listed = of_user(&sidecar, "u").await;
            check(listed == mine, listed)
        })
        .await;
        sidecar.stop().await;
    }
}

#[tokio::test]
async fn signed_out_everywhere_means_foreign_and_unindexed_sessions_too() {
    for redis in Foreign::both().await {
        let (one, other) = (redis.sidecar().await, redis.sidecar().await);
        let mine = sessions_of(&one, "u", 5).await;
        let strangers = sessions_of(&one, "v", 1).await;
        let anonymous = new_session(&one).await;
        // The other pod has them in use.
        for id in mine.iter().chain(&strangers) {
            read(&other, id).await.expect(200);
        }
        redis.set("foreign", "u", PAST).await;
        redis.set("timeless", "u", "when?").await;
        redis.set("younger", "u", FUTURE).await;
        let answer = sign_out(&one, "u").await;
        assert_eq!(answer, json!({ "deleted": 5, "failed": 0, "complete": true }));
        for id in &mine {
            assert!(!redis.exists(id).await);
        }
        for sidecar in [&one, &other] {
            eventually("nobody is signed in any more", RECOVERY, async || {
                for id in mine.iter().map(String::as_str).chain(["foreign", "timeless"]) {
                    let answer = read(sidecar, id).await;
                    check(answer.status == 404, answer)?;
                }
                Ok::<(), String>(())
            })
            .await;
        }
        assert!(!redis.exists("foreign").await && !redis.exists("timeless").await);
        let ended = metric(&one, "sessions_signed_out_total").await
            + metric(&other, "sessions_signed_out_total").await;
        assert!(ended >= 7 && metric(&one, "sessions_indexed_total").await >= 6, "{ended}");
        read(&other, "younger").await.expect(200);
        read(&other, &strangers[0]).await.expect(200);
        // Who signs in again is, also on a session that is older than the mark.
        let again = sessions_of(&one, "u", 1).await;
        patch(&other, &anonymous, json!({ "userId": "u" })).await.expect(200);
        for sidecar in [&one, &other] {
            for id in [&again[0], &anonymous] {
                read(sidecar, id).await.expect(200);
                patch(sidecar, id, json!({ "n": 1 })).await.expect(200);
            }
        }
        assert_eq!(sign_out(&other, "u").await["complete"], true);
        for id in [&again[0], &anonymous] {
            assert!(!redis.exists(id).await);
        }
        one.stop().await;
        other.stop().await;
    }
}

/// Whatever a client does first with a session that is signed out, it is over.
#[tokio::test]
async fn no_request_revives_a_session_that_is_signed_out() {
    let (redis, sidecar) = pair().await;
    sign_out(&sidecar, "u").await;
    let stored = json!({ "userId": "u", "metadata": { "created": PAST } }).to_string();
    for (method, path, body) in [
        ("GET", "/v1/sessions/old", ""),
        ("PATCH", "/v1/sessions/old", r#"{"n":1}"#),
        ("PATCH", "/v1/sessions/old", r#"{"metadata":{"created":"2090-01-01T00:00:00.000Z"}}"#),
        ("PATCH", "/v1/sessions/old", r#"{"lastActivity":1}"#),
        ("PUT", "/v1/sessions/old", r#"{"userId":"u"}"#),
        ("POST", "/v1/sessions/old/touch", ""),
        ("POST", "/api/sessions", r#"{"sessionId":"old","updates":{"n":1}}"#),
        ("POST", "/api/sessions", r#"{"sessionId":"old","sessionData":{"n":1}}"#),
        ("GET", "/api/sessions?sessionId=old", ""),
    ] {
        // The tombstone of the case before would refuse writes for its own reason.
        redis.command::<()>(&["DEL", "{hyperpage:session:old}:m"]).await.unwrap();
        redis.command::<()>(&["SET", "hyperpage:session:old", &stored]).await.unwrap();
        let request = tests::http::Request::new(method, path);
        let request = if body.is_empty() { request } else { request.json(body) };
        let answer = sidecar.app.send(request).await;
        // With data for a session that is not there, a client would choose its id.
        let refused = if body.contains("sessionData") { 403 } else { 401 };
        let absent = if path.starts_with("/v1") { 404 } else { refused };
        assert_eq!(answer.status, absent, "{method} {path} {body}: {answer:?}");
        assert_eq!(redis.session("old").await, None, "{method} {path} {body}");
    }
    sidecar.stop().await;
}
