//! Defects of the original that must not come back, where no other test would name them; docs/promises.md lists all.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::json;
use tests::eventually::eventually;
use tests::http::Request;
use tests::proxy::{Mode, Proxy};
use tests::redis::RedisServer;
use tests::sidecar::{Settings, Sidecar};

use crate::common::{RECOVERY, new_session, new_v1, pair};

/// Its read swallowed every error as "no session", and the write that followed stored defaults over the user's data.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_fails_never_replaces_a_session_by_defaults() {
    let redis = RedisServer::start().await;
    let proxy = Proxy::start(redis.port()).await;
    let sidecar = Sidecar::start(&Settings::redis(proxy.url())).await;
    let id = new_session(&sidecar).await;
    let kept = json!({ "sessionId": id, "updates": { "toolConfigs": { "github": { "enabled": true } } } });
    sidecar.app.post("/api/sessions", kept).await.expect(200);

    for mode in
        [Mode::Refuse("LOADING for a moment"), Mode::Cut, Mode::Answer(b"-ERR what\r\n"), Mode::BlackHole]
    {
        proxy.set(mode);
        let save = json!({ "sessionId": id, "updates": { "preferences": { "theme": "dark" } } });
        let answer = sidecar.app.post("/api/sessions", save).await;
        assert!([202, 500, 503].contains(&answer.status), "{answer:?}");
        proxy.set(Mode::Pass);
        let session = eventually("the session is read again", RECOVERY, async || {
            let answer = sidecar.app.get(&format!("/api/sessions?sessionId={id}")).await;
            if answer.status == 200 { Ok(answer.json()) } else { Err(answer) }
        });
        assert_eq!(session.await["session"]["toolConfigs"]["github"]["enabled"], true);
    }
    sidecar.stop().await;
}

/// Its update created what it did not find.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_races_a_delete_resurrects_nothing() {
    let redis = RedisServer::start().await;
    let pods = [
        Sidecar::start(&Settings::redis(redis.url())).await,
        Sidecar::start(&Settings::redis(redis.url())).await,
    ];
    let mut both_orders = HashSet::new();
    for round in 0..60 {
        let (id, _) = new_v1(&pods[0], "{}").await;
        let path = format!("/v1/sessions/{id}");
        let patch = Request::new("PATCH", path.clone()).json(r#"{"uiState":{"dashboardLayout":"compact"}}"#);
        let delete = Request::new("DELETE", path.clone());
        // In turns one of them gets a head start.
        let wait = |this: bool| Duration::from_micros(if this { round * 20 } else { 0 });
        let (patched, deleted) = tokio::join!(
            async {
                tokio::time::sleep(wait(round % 2 == 0)).await;
                pods[0].app.send(patch).await
            },
            async {
                tokio::time::sleep(wait(round % 2 == 1)).await;
                pods[1].app.send(delete).await
            }
        );
        assert!([200, 404].contains(&patched.status), "{patched:?}");
        deleted.expect(204);
        both_orders.insert(patched.status);
        pods[0].app.get(&path).await.expect(404);
        assert_eq!(redis.session(&id).await, None);
    }
    assert_eq!(both_orders, HashSet::from([200, 404]), "the race was always won by the same");
    for pod in pods {
        pod.stop().await;
    }
}

/// The documents' own example, "without affecting other fields".
#[tokio::test(flavor = "multi_thread")]
async fn a_patch_of_one_field_of_the_ui_keeps_the_others() {
    let (_redis, sidecar) = pair().await;
    let id = new_session(&sidecar).await;
    let path = format!("/api/sessions?sessionId={id}");
    let before = json!({ "uiState": { "expandedWidgets": ["a"], "filterSettings": { "state": "open" } } });
    sidecar.app.patch(&path, before).await.expect(200);
    sidecar.app.patch(&path, json!({ "uiState": { "dashboardLayout": "compact" } })).await.expect(200);
    let after = sidecar.app.get(&path).await.expect(200).json();
    let expected = json!({ "expandedWidgets": ["a"], "lastVisitedTools": [], "dashboardLayout": "compact",
                           "filterSettings": { "state": "open" } });
    assert_eq!(after["session"]["uiState"], expected);
    sidecar.stop().await;
}

/// It took any id that a client made up, and so did whoever had planted it in somebody's browser.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_a_client_made_up_is_no_session() {
    let (redis, sidecar) = pair().await;
    let save = json!({ "sessionId": "planted", "sessionData": { "userId": "victim" } });
    let answer = sidecar.app.post("/api/sessions", save).await.expect(403);
    assert_eq!(answer.code(), "CLIENT_ID_REFUSED");
    assert_eq!(redis.session("planted").await, None);
    sidecar.stop().await;
}

/// It made ids of the time and of a generator that can be foreseen.
#[tokio::test(flavor = "multi_thread")]
async fn ids_have_128_bits_that_nobody_can_foresee() {
    let (_redis, sidecar) = pair().await;
    let mut ids = HashSet::new();
    for _ in 0..200 {
        ids.insert(new_session(&sidecar).await);
    }
    let random: HashSet<u128> =
        ids.iter().map(|id| u128::from_str_radix(id.split_once('-').unwrap().1, 16).unwrap()).collect();
    assert_eq!(random.len(), 200);
    // Each bit is set in about half of them; in fewer than a fifth by chance once in 10^18 runs.
    for bit in 0..128 {
        let set = random.iter().filter(|number| *number >> bit & 1 == 1).count();
        assert!((40..160).contains(&set), "bit {bit} is set in {set} of 200");
    }
    sidecar.stop().await;
}

/// Its delete did not wait for Redis at the start and said that it was done.
#[tokio::test(flavor = "multi_thread")]
async fn a_delete_before_redis_is_there_is_never_said_to_be_done() {
    let mut redis = RedisServer::durable().await;
    let first = Sidecar::start(&Settings::redis(redis.url())).await;
    let id = new_session(&first).await;
    first.stop().await;
    redis.kill();
    let sidecar = Sidecar::spawn(&Settings::redis(redis.url())).await;
    let path = format!("/api/sessions?sessionId={id}");
    let answer = sidecar.app.delete(&path).await;
    assert!([202, 503].contains(&answer.status), "{answer:?}");
    redis.run().await;
    sidecar.serving(RECOVERY).await;
    let gone = answer.status == 202;
    eventually("the session is what the answer said", RECOVERY, async || {
        let status = sidecar.app.get(&path).await.status;
        if status == if gone { 401 } else { 200 } { Ok(()) } else { Err(status) }
    })
    .await;
    sidecar.stop().await;
}
