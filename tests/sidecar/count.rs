//! What needs a look through all keys: the count of sessions, and the sweep. On one Redis and on a Cluster, on which
//! every script stays in one slot.

use std::time::Duration;

use serde_json::{Value, json};
use tests::binaries::workspace;
use tests::eventually::{check, eventually};
use tests::http::Request;
use tests::sidecar::Sidecar;

use crate::common::{PROMPT, RECOVERY, new_session, new_v1};
use crate::foreign::Foreign;

const OLD: &str = "2020-01-01T00:00:00.000Z";
/// The first sweep comes within a twentieth of the interval.
const SWEEP: Duration = Duration::from_secs(15);

async fn count_anew(sidecar: &Sidecar) -> Value {
    let request = Request::new("GET", "/v1/sessions:count").header("cache-control", "no-cache");
    eventually("the sessions are counted", RECOVERY, async || {
        let answer = sidecar.app.send(request.clone()).await;
        assert!(answer.elapsed < PROMPT, "{answer:?}");
        // As a machine under load may answer first.
        if answer.status == 503 { Err(answer) } else { Ok(answer.expect(200).json()) }
    })
    .await
}

pub(crate) async fn metric(sidecar: &Sidecar, name: &str) -> i64 {
    let text = sidecar.admin.get("/metrics").await.expect(200).body;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

#[tokio::test]
async fn sessions_are_counted_exactly_after_creation_deletion_and_expiry() {
    for mut redis in Foreign::both().await {
        let (one, other) = (redis.sidecar().await, redis.sidecar().await);
        assert_eq!(count_anew(&one).await["count"], 0);
        let mut ids = Vec::new();
        for _ in 0..1200 {
            ids.push(new_v1(&one, "{}").await.0);
        }
        // Neither siblings nor indexes nor what others keep are sessions.
        new_v1(&one, r#"{"userId":"u"}"#).await;
        redis.set("foreign", "u", OLD).await;
        redis.command::<()>(&["SET", "github:rate-limit:e30=", "{}"]).await;
        let counted = count_anew(&other).await;
        assert_eq!((&counted["count"], &counted["exact"]), (&1202.into(), &true.into()));
        for id in &ids[..5] {
            one.app.delete(&format!("/v1/sessions/{id}")).await.expect(204);
        }
        assert_eq!(count_anew(&one).await["count"], 1197);
        redis.command::<()>(&["PEXPIRE", &format!("hyperpage:session:{}", ids[5]), "1"]).await;
        eventually("what has expired is not counted", RECOVERY, async || {
            let counted = count_anew(&one).await;
            check(counted["count"] == 1196, counted)
        })
        .await;
        // Everybody who asks at once is answered by few looks through the keys.
        let all = futures::future::join_all((0..40).map(|_| count_anew(&other))).await;
        assert!(all.iter().all(|counted| counted["count"] == 1196), "{all:?}");
        for sidecar in [&one, &other] {
            let counted = sidecar.app.get("/v1/sessions:count").await.expect(200).json();
            assert!(counted["ageMs"].as_u64().unwrap() <= 60_000, "{counted}");
        }
        assert_eq!(metric(&other, "sessions_active").await, 1196);
        for node in &mut redis.nodes {
            node.kill();
        }
        let request = Request::new("GET", "/v1/sessions:count").header("cache-control", "no-cache");
        one.app.send(request).await.expect(503);
        let counted = one.app.get("/v1/sessions:count").await.expect(200).json();
        assert_eq!(counted["count"], 1196);
        one.stop().await;
        other.stop().await;
    }
}

#[tokio::test]
async fn the_active_sessions_are_known_although_nobody_asks() {
    let [redis, _cluster] = Foreign::both().await;
    redis.set("foreign", "u", OLD).await;
    let sidecar = redis.sidecar().await;
    eventually("the gauge shows the session", RECOVERY, async || {
        let active = metric(&sidecar, "sessions_active").await;
        check(active == 1, active)
    })
    .await;
    sidecar.stop().await;
}

#[tokio::test]
async fn a_sweep_clears_indexes_and_touches_no_session() {
    for redis in Foreign::both().await {
        let every_minute =
            |settings: tests::sidecar::Settings| settings.env("SESSION_CLEANUP_INTERVAL_MINUTES", "1");
        // One that dies, one that lives on though its life should be over, and one that nobody may ever end.
        redis.set("dies", "u", OLD).await;
        redis.set("lives", "u", OLD).await;
        let endless = json!({ "userId": "u" }).to_string();
        redis.command::<()>(&["SET", "hyperpage:session:endless", &endless]).await;
        let off = redis.sidecar_with(|settings| settings.env("SESSION_CLEANUP_INTERVAL_MINUTES", "0")).await;
        for id in ["dies", "lives", "endless"] {
            off.app.get(&format!("/v1/sessions/{id}")).await.expect(200);
        }
        let index = "{hyperpage:user:u}";
        eventually("all are in the index", RECOVERY, async || {
            let members: Vec<String> = redis.command(&["ZRANGE", index, "0", "-1"]).await;
            check(members.len() == 3, members)
        })
        .await;
        redis.command::<()>(&["DEL", "hyperpage:session:dies"]).await;
        redis.command::<()>(&["ZADD", index, "1", "dies", "2", "lives", "3", "never-was"]).await;
        let (one, other) = (redis.sidecar_with(every_minute).await, redis.sidecar_with(every_minute).await);
        eventually("the index names the living alone", SWEEP, async || {
            let mut members: Vec<String> = redis.command(&["ZRANGE", index, "0", "-1"]).await;
            members.sort();
            check(members == ["endless", "lives"], members)
        })
        .await;
        let score: f64 = redis.command(&["ZSCORE", index, "lives"]).await;
        assert!(score > 1e12, "its real end: {score}");
        let said = |sidecar: &Sidecar| sidecar.logs().matches("swept the indexes").count();
        eventually("one of them says so", RECOVERY, async || check(said(&one) + said(&other) == 1, ())).await;
        let (swept, idle) = if said(&one) == 1 { (&one, &other) } else { (&other, &one) };
        assert_eq!(
            (metric(swept, "sessions_swept_total").await, metric(idle, "sessions_swept_total").await),
            (2, 0)
        );
        assert_eq!(metric(swept, "sessions_endless").await, 1);
        assert!(swept.logs().contains("sessions without an expiry"), "{}", swept.logs());
        assert_eq!(redis.command::<i64>(&["PTTL", "hyperpage:session:endless"]).await, -1);
        for sidecar in [one, other, off] {
            sidecar.stop().await;
        }
    }
}

/// A script with keys of two slots would be refused, whatever it does: so every route is asked, and every script of
/// the sessions must have run.
#[tokio::test]
async fn every_script_of_the_sessions_stays_in_one_slot_of_a_cluster() {
    let [_one, redis] = Foreign::both().await;
    let sidecar = redis
        .sidecar_with(|settings| {
            let settings = settings.env("SESSION_ALLOW_CLIENT_IDS", "true");
            settings.env("SESSION_CLEANUP_INTERVAL_MINUTES", "1")
        })
        .await;
    redis.set("endless", "v", OLD).await;
    let api = new_session(&sidecar).await;
    let (id, _) = new_v1(&sidecar, r#"{"userId":"u"}"#).await;
    let path = format!("/v1/sessions/{id}");
    let line = r#"{"id":"imported","session":{"userId":"u"}}"#.to_owned();
    for (method, path, body) in [
        ("GET", format!("/api/sessions?sessionId={api}"), String::new()),
        ("POST", "/api/sessions".to_owned(), format!(r#"{{"sessionId":"{api}","updates":{{"a":1}}}}"#)),
        ("POST", "/api/sessions".to_owned(), r#"{"sessionId":"chosen","sessionData":{"a":1}}"#.to_owned()),
        ("PATCH", format!("/api/sessions?sessionId={api}"), r#"{"b":1}"#.to_owned()),
        ("GET", path.clone(), String::new()),
        ("PATCH", path.clone(), r#"{"userId":"v"}"#.to_owned()),
        ("PUT", path.clone(), r#"{"userId":"u"}"#.to_owned()),
        ("POST", format!("{path}/touch"), String::new()),
        ("POST", "/v1/sessions:batchGet".to_owned(), json!({ "ids": [id, api] }).to_string()),
        ("POST", "/v1/sessions:import?dryRun=true".to_owned(), line.clone()),
        ("POST", "/v1/sessions:import".to_owned(), line),
        ("GET", "/v1/sessions:count".to_owned(), String::new()),
        ("GET", "/v1/users/v/sessions".to_owned(), String::new()),
        ("GET", "/v1/users/u/sessions".to_owned(), String::new()),
        ("DELETE", "/v1/users/u/sessions".to_owned(), String::new()),
        ("DELETE", format!("/api/sessions?sessionId={api}"), String::new()),
        ("DELETE", "/v1/sessions/chosen".to_owned(), String::new()),
    ] {
        let request = Request::new(method, path);
        let request = if body.is_empty() { request } else { request.json(body) };
        sidecar.app.send(request).await.expect_success();
    }
    for (method, path) in [("POST", "/v1/sessions".to_owned()), ("PATCH", format!("/v1/sessions/{id}"))] {
        for _once_more in 0..2 {
            let keyed =
                Request::new(method, path.clone()).header("idempotency-key", "once").json(r#"{"c":1}"#);
            sidecar.app.send(keyed).await;
        }
    }
    // What was written and what was deleted a moment ago is brought back where a Redis has lost it.
    let (kept, _) = new_v1(&sidecar, "{}").await;
    let (gone, _) = new_v1(&sidecar, "{}").await;
    sidecar.app.delete(&format!("/v1/sessions/{gone}")).await.expect(204);
    for node in &redis.nodes {
        node.command::<()>(&["FLUSHALL"]).await.unwrap();
    }
    eventually("the session is there again", SWEEP, async || {
        let answer = sidecar.app.get(&format!("/v1/sessions/{kept}")).await;
        check(answer.status == 200, answer)
    })
    .await;
    let scripts = std::fs::read_dir(workspace().join("sidecar/src/session")).unwrap();
    for script in
        scripts.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|it| it == "lua"))
    {
        let name = script.file_name().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&script).unwrap();
        let sha1: String =
            redis.nodes[0].command(&["EVAL", "return redis.sha1hex(ARGV[1])", "0", &text]).await.unwrap();
        eventually(&format!("{name} has run"), SWEEP, async || {
            let mut known = false;
            for node in &redis.nodes {
                let [there]: [bool; 1] = node.command(&["SCRIPT", "EXISTS", &sha1]).await.unwrap();
                known |= there;
            }
            check(known, name)
        })
        .await;
    }
    let refused = metric_lines(&sidecar, "hyperpage_redis_errors_total").await;
    assert!(refused.iter().all(|line| !line.contains("unexpected")), "{refused:?}");
    sidecar.stop().await;
}

async fn metric_lines(sidecar: &Sidecar, name: &str) -> Vec<String> {
    let text = sidecar.admin.get("/metrics").await.expect(200).body;
    text.lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect()
}
