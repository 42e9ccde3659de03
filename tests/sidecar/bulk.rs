//! What is about more than one session, on one Redis and on a Cluster.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tests::eventually::{check, eventually};
use tests::http::Request;
use tests::redis::RedisCluster;
use tests::sidecar::{Settings, Sidecar};

use tests::lived::timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep_until;

use crate::common::{PROMPT, RECOVERY, new_session, new_v1, pair, pair_with};

async fn batch_get(sidecar: &Sidecar, ids: &[&str]) -> Vec<Value> {
    let answer = sidecar.app.post("/v1/sessions:batchGet", json!({ "ids": ids })).await.expect(200);
    assert!(answer.elapsed < PROMPT, "{answer:?}");
    answer.json()["sessions"].as_array().unwrap().clone()
}

#[tokio::test]
async fn batch_get_answers_each_id_in_order_and_none_fails_the_others() {
    let (mut redis, sidecar) = pair_with(|settings| settings.env("SESSION_L1_BYTES", "0")).await;
    let (first, etag) = new_v1(&sidecar, r#"{"n":9007199254740993}"#).await;
    let (second, _) = new_v1(&sidecar, r#"{"n":2}"#).await;
    let (gone, _) = new_v1(&sidecar, "{}").await;
    sidecar.app.delete(&format!("/v1/sessions/{gone}")).await.expect(204);
    redis.command::<()>(&["SET", "hyperpage:session:odd", "[]"]).await.unwrap();
    redis.command::<()>(&["RPUSH", "hyperpage:session:list", "1"]).await.unwrap();
    let ids = [&first, "bad!id", &gone, "odd", &second, "no-such", &first, "list"];
    let answers = batch_get(&sidecar, &ids).await;
    let told = |field: &str| answers.iter().map(|answer| answer[field].clone()).collect::<Vec<_>>();
    assert_eq!(told("id"), ids.map(Value::from));
    assert_eq!(told("status"), [200, 400, 404, 502, 200, 404, 200, 502].map(Value::from));
    assert_eq!(told("code")[1..4], ["INVALID_SESSION_ID", "SESSION_NOT_FOUND", "SESSION_UNREADABLE"]);
    assert_eq!((answers[0]["etag"].as_str(), &answers[0]), (Some(&*etag), &answers[6]));
    let stored: Value = serde_json::from_str(&redis.session(&first).await.unwrap()).unwrap();
    assert_eq!(answers[0]["session"], stored);
    let updated: k8s_openapi::jiff::Timestamp =
        stored["metadata"]["updated"].as_str().unwrap().parse().unwrap();
    assert_eq!(answers[0]["version"], updated.as_millisecond());

    let most: Vec<&str> = ids.into_iter().cycle().take(100).collect();
    assert_eq!(batch_get(&sidecar, &most).await.len(), 100);
    for wrong in [json!({ "ids": vec!["a"; 101] }), json!({ "ids": "a" }), json!({ "ids": [1] }), json!([])] {
        sidecar.app.post("/v1/sessions:batchGet", wrong).await.expect(400);
    }
    sidecar.app.send(Request::new("POST", "/v1/sessions:batchGet").body("{}")).await.expect(415);
    sidecar.app.get("/v1/sessions:batchGet").await.expect(405);
    // Nobody is told that a session does not exist when that is not known.
    redis.kill();
    for answer in batch_get(&sidecar, &[&first, "no-such"]).await {
        assert_eq!((&answer["status"], &answer["code"]), (&503.into(), &"SESSION_STORE_UNAVAILABLE".into()));
    }
    sidecar.stop().await;
}

#[tokio::test]
async fn batch_get_reads_from_every_node_and_one_that_hangs_costs_only_its_own_sessions() {
    let cluster = RedisCluster::start().await;
    let settings = Settings::cluster(&cluster);
    let settings = settings.env("SESSION_L1_BYTES", "0");
    let sidecar = Sidecar::start(&settings).await;
    let mut ids = Vec::new();
    for _ in 0..30 {
        ids.push(new_v1(&sidecar, "{}").await.0);
    }
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    assert!(batch_get(&sidecar, &ids).await.iter().all(|answer| answer["status"] == 200));
    let hung: Vec<String> = cluster.nodes[0].command(&["KEYS", "hyperpage:session:*"]).await.unwrap();
    cluster.nodes[0].hang();
    for answer in batch_get(&sidecar, &ids).await {
        let key = format!("hyperpage:session:{}", answer["id"].as_str().unwrap());
        assert!(answer["status"] == if hung.contains(&key) { 503 } else { 200 }, "{answer}");
    }
    cluster.nodes[0].resume();
    sidecar.stop().await;
}

const CREATED: &str = "2026-01-01T00:00:00.000Z";

/// A session as the original exports it, with numbers and an order that a parser would lose.
fn exported(n: u32) -> String {
    format!(
        r#"{{"z":9007199254740993,"n":{n},"lastActivity":"{CREATED}","metadata":{{"created":"{CREATED}","updated":"2026-01-0{}T00:00:00.000Z"}}}}"#,
        n % 8 + 1
    )
}

fn line(id: &str, session: &str) -> String {
    format!(r#"{{"id":"{id}","session":{session}}}"#)
}

async fn import(sidecar: &Sidecar, query: &str, lines: &[String]) -> Vec<Value> {
    let request = Request::new("POST", format!("/v1/sessions:import{query}"));
    let request = request.header("content-type", "application/x-ndjson").body(lines.join("\n"));
    let answer = sidecar.app.send(request).await.expect(200);
    answer.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn statuses(results: &[Value]) -> Vec<&str> {
    results.iter().map(|result| result["status"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn import_tells_each_line_what_became_of_it_and_goes_on_after_a_bad_one() {
    let (redis, sidecar) = pair().await;
    let (there, _) = new_v1(&sidecar, "{}").await;
    let stored = redis.session(&there).await.unwrap();
    let (gone, _) = new_v1(&sidecar, "{}").await;
    sidecar.app.delete(&format!("/v1/sessions/{gone}")).await.expect(204);
    let lines = [
        line("a", &exported(1)),
        "{oops".to_owned(),
        format!(r#"{{"success":true,"sessionId":"b","session":{},"ttlSeconds":60}}"#, exported(2)),
        String::new(),
        format!(r#"{{"id":"c","session":"{}"}}"#, "x".repeat(200_000)),
        line(&gone, &exported(3)),
        format!(r#"{{"hyperpage_session_id":"{there}"}}"#),
        r#"{"hyperpage_session_id":"never"}"#.to_owned(),
        line(&there, &exported(4)),
        line(&there, &stored),
        line("bad id", "{}"),
        line("d", r#"{"metadata":{"created":"soon"}}"#),
        format!(r#"{{"key":"hyperpage:session:e","value":{},"ttlSeconds":999999999}}"#, json!(exported(5))),
    ];
    let expect = [
        "created",
        "invalid",
        "created",
        "invalid",
        "tombstoned",
        "exists",
        "missing",
        "conflict",
        "exists",
        "invalid",
        "invalid",
        "created",
    ];
    let dry = import(&sidecar, "?dryRun=true", &lines).await;
    assert_eq!(statuses(&dry), expect, "{dry:?}");
    for id in ["a", "b", "e"] {
        assert_eq!(redis.session(id).await, None, "a dry run changes nothing");
    }
    let results = import(&sidecar, "", &lines).await;
    assert_eq!(statuses(&results), expect, "{results:?}");
    let numbers: Vec<_> = results.iter().map(|result| result["line"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
    let explained = ["invalid", "tombstoned", "conflict"];
    for result in &results {
        let reason = explained.contains(&result["status"].as_str().unwrap());
        assert_eq!(result["reason"].is_string(), reason, "{result}");
    }
    for (id, text, life) in [("a", exported(1), 86_400), ("b", exported(2), 60), ("e", exported(5), 86_400)] {
        assert_eq!(redis.session(id).await.unwrap(), text);
        let left: i64 = redis.command(&["TTL", &format!("hyperpage:session:{id}")]).await.unwrap();
        assert!((life - 20..=life).contains(&left), "{id}: {left}");
        sidecar.app.patch(&format!("/v1/sessions/{id}"), r#"{"n":0}"#).await.expect(200);
    }
    assert_eq!(redis.session(&there).await.unwrap(), stored);
    assert_eq!(redis.session(&gone).await, None, "what was deleted stays deleted");
    for wrong in ["dryRun=1", "overwrite=all"] {
        sidecar.app.post(&format!("/v1/sessions:import?{wrong}"), "").await.expect(400);
    }
    sidecar.stop().await;
}

#[tokio::test]
async fn import_replaces_an_older_session_on_demand_and_never_a_newer_one() {
    let (redis, sidecar) = pair().await;
    let (old, new) = (exported(1), exported(2));
    assert_eq!(statuses(&import(&sidecar, "", &[line("a", &old)]).await), ["created"]);
    assert_eq!(statuses(&import(&sidecar, "", &[line("a", &new)]).await), ["conflict"]);
    let older = "?overwrite=older";
    assert_eq!(
        statuses(&import(&sidecar, &format!("{older}&dryRun=true"), &[line("a", &new)]).await),
        ["replaced"]
    );
    assert_eq!(redis.session("a").await.unwrap(), old);
    assert_eq!(statuses(&import(&sidecar, older, &[line("a", &new)]).await), ["replaced"]);
    assert_eq!(redis.session("a").await.unwrap(), new);
    for (text, expect) in [(&old, "conflict"), (&new, "exists"), (&"{}".to_owned(), "conflict")] {
        assert_eq!(statuses(&import(&sidecar, older, &[line("a", text)]).await), [expect]);
    }
    assert_eq!(redis.session("a").await.unwrap(), new);
    sidecar.stop().await;
}

#[tokio::test]
async fn import_brings_back_nobody_who_has_signed_out_since() {
    let (redis, sidecar) = pair().await;
    let of = |user: &str| exported(1).replacen('{', &format!(r#"{{"userId":"{user}","#), 1);
    sidecar.app.delete("/v1/users/u/sessions").await.expect(200);
    let lines = [line("a", &of("u")), line("b", &of("v"))];
    for query in ["?dryRun=true", ""] {
        assert_eq!(statuses(&import(&sidecar, query, &lines).await), ["tombstoned", "created"], "{query}");
    }
    assert_eq!(redis.session("a").await, None);
    let listed = sidecar.app.get("/v1/users/v/sessions").await.expect(200).json();
    assert_eq!(listed["sessions"][0]["id"], "b");
    sidecar.stop().await;
}

const KEPT_OUT: [&str; 2] = ["unavailable", "unknown"];

#[tokio::test]
async fn import_fills_every_node_of_a_cluster_and_says_what_an_outage_kept_out() {
    let mut cluster = RedisCluster::start().await;
    let settings = Settings::cluster(&cluster);
    let sidecar = Sidecar::start(&settings).await;
    let lines: Vec<String> = (0..3000).map(|n| line(&format!("s-{n}"), &exported(n))).collect();
    // What a busy machine has kept out is brought again; what it did not hear of may be there.
    let mut left = lines.clone();
    eventually("all of them are in", Duration::from_secs(60), async || {
        let results = import(&sidecar, "", &left).await;
        let again = left.len() < lines.len();
        left = left
            .iter()
            .zip(statuses(&results))
            .filter(|(_, status)| KEPT_OUT.contains(status))
            .map(|(line, _)| line.clone())
            .collect();
        let others: BTreeSet<&str> =
            statuses(&results).into_iter().filter(|status| !KEPT_OUT.contains(status)).collect();
        assert!(
            others.iter().all(|status| *status == "created" || again && *status == "exists"),
            "{others:?}"
        );
        check(left.is_empty(), left.len())
    })
    .await;
    let mut stored = 0;
    for node in &cluster.nodes {
        let keys: Vec<String> = node.command(&["KEYS", "hyperpage:session:*"]).await.unwrap();
        assert!(keys.len() > 500);
        stored += keys.len();
    }
    assert_eq!(stored, 3000);
    for node in &mut cluster.nodes {
        node.kill();
    }
    let results = import(&sidecar, "", &lines[..20]).await;
    assert_eq!(results.len(), 20);
    assert!(statuses(&results).iter().all(|status| KEPT_OUT.contains(status)), "{results:?}");
    sidecar.stop().await;
}

/// As long as lines come, whole as it may take; and a client that falls silent does not keep its place.
#[tokio::test]
async fn import_streams_for_longer_than_an_answer_may_take_and_ends_with_a_silent_client() {
    let (redis, sidecar) = pair().await;
    let mut socket = TcpStream::connect(sidecar.app_address).await.unwrap();
    let head = "POST /v1/sessions:import HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let begun = tokio::time::Instant::now();
    let mut told = String::new();
    for n in 0..2 {
        // Longer than any other answer may take lies between the two.
        sleep_until(begun + n * (PROMPT + Duration::from_millis(200))).await;
        let line = line(&format!("slow-{n}"), &exported(n)) + "\n";
        let chunk = format!("{:x}\r\n{line}\r\n", line.len());
        socket.write_all(chunk.as_bytes()).await.unwrap();
        let result = format!(r#""id":"slow-{n}","status":"created""#);
        while !told.contains(&result) {
            let mut bytes = [0; 1024];
            let read = timeout(RECOVERY, socket.read(&mut bytes)).await.unwrap().unwrap();
            assert!(read > 0, "{told}");
            told.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
        assert!(redis.session(&format!("slow-{n}")).await.is_some());
    }
    // Half a line, and nothing more: the connection ends without the end of the answer.
    socket.write_all(b"3\r\n{\"i\r\n").await.unwrap();
    let mut rest = String::new();
    let ended = timeout(Duration::from_secs(20), socket.read_to_string(&mut rest)).await.expect("it ends");
    assert!(ended.is_err() || !rest.ends_with("0\r\n\r\n"), "{rest}");
    assert!(rest.contains("did not arrive within 10 s"), "{rest}");
    new_session(&sidecar).await;
    sidecar.stop().await;
}
