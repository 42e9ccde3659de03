//! What is about more than one session, on one Redis and on a Cluster.

use serde_json::{Value, json};
use tests::http::Request;
use tests::redis::RedisCluster;
use tests::sidecar::{Settings, Sidecar};

use crate::common::{PROMPT, new_v1, pair};

async fn batch_get(sidecar: &Sidecar, ids: &[&str]) -> Vec<Value> {
    let answer = sidecar.app.post("/v1/sessions:batchGet", json!({ "ids": ids })).await.expect(200);
    assert!(answer.elapsed < PROMPT, "{answer:?}");
    answer.json()["sessions"].as_array().unwrap().clone()
}

#[tokio::test]
async fn batch_get_answers_each_id_in_order_and_none_fails_the_others() {
    let (mut redis, sidecar) = pair().await;
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
    let settings = Settings::redis(cluster.urls()).env("HYPERPAGE_REDIS_MODE", "cluster");
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
