//! `/api/sessions` as its clients use it; single answers are in the golden table.

use std::collections::HashSet;

use crate::common::{new_session, pair};

#[tokio::test]
async fn new_ids_keep_the_originals_shape_with_128_random_bits() {
    let (_redis, sidecar) = pair().await;
    let ids = futures::future::join_all((0..200).map(|_| new_session(&sidecar))).await;
    for id in &ids {
        let (time, random) = id.split_once('-').unwrap();
        assert_eq!(time.len(), 8, "{id}");
        assert!(u64::from_str_radix(time, 36).is_ok(), "{id}");
        assert_eq!(random.len(), 32, "{id}");
        assert!(u128::from_str_radix(random, 16).is_ok(), "{id}");
    }
    let random: HashSet<_> = ids.iter().map(|id| id.split_once('-').unwrap().1).collect();
    assert_eq!(random.len(), ids.len());
    sidecar.stop().await;
}

/// The published hook: creates, updates by POST, touches on every mouse move, refreshes, starts over after a 401.
#[tokio::test]
async fn the_published_hook_finds_what_it_expects() {
    let (redis, sidecar) = pair().await;
    let app = &sidecar.app;
    let id = new_session(&sidecar).await;
    let update =
        |updates: &str| app.post("/api/sessions", format!(r#"{{"sessionId":"{id}","updates":{updates}}}"#));
    let saved = update(r#"{"preferences":{"theme":"dark"},"toolConfigs":{"github":{"enabled":true}}}"#).await;
    assert_eq!(saved.expect(200).json()["success"], true);
    let stored = redis.session(&id).await;
    let moves = (0..20).map(|_| update(r#"{"lastActivity":"2026-11-20T18:20:34.366Z"}"#));
    for answer in futures::future::join_all(moves).await {
        answer.expect(200);
    }
    assert_eq!(redis.session(&id).await, stored, "20 mouse moves changed no byte");
    let session = app.get(&format!("/api/sessions?sessionId={id}")).await.expect(200).json();
    assert_eq!(session["success"], true);
    assert_eq!(session["session"]["preferences"]["theme"], "dark");
    assert_eq!(session["session"]["preferences"]["timezone"], "UTC", "a closed record merges field by field");
    app.delete(&format!("/api/sessions?sessionId={id}")).await.expect(200);
    let gone = app.get(&format!("/api/sessions?sessionId={id}")).await.expect(401);
    assert_eq!(gone.code(), "SESSION_NOT_FOUND");
    sidecar.stop().await;
}

/// Pods of the original share the Redis: they read what we write, as a string of JSON under their key with their
/// life, and we read what they write.
#[tokio::test]
async fn original_pods_and_ours_share_sessions() {
    let (redis, sidecar) = pair().await;
    let id = new_session(&sidecar).await;
    let key = format!("hyperpage:session:{id}");
    let kind: String = redis.command(&["TYPE", &key]).await.unwrap();
    let left: i64 = redis.command(&["TTL", &key]).await.unwrap();
    assert!(kind == "string" && (86_390..=86_400).contains(&left), "{kind} {left}");
    let text = redis.session(&id).await.unwrap();
    let mut theirs: serde_json::Value = serde_json::from_str(&text).unwrap();
    theirs["preferences"]["theme"] = "light".into();
    redis.command::<()>(&["SET", &key, &theirs.to_string(), "EX", "86400"]).await.unwrap();
    let read = sidecar.app.get(&format!("/api/sessions?sessionId={id}")).await.json();
    assert_eq!(read["session"]["preferences"]["theme"], "light");
    sidecar.stop().await;
}
