//! What the published hook (`useSession`) does, call by call: its session keeps its id whatever Redis does meanwhile.

use serde_json::Value;
use tests::eventually::eventually;
use tests::http::{Answer, Request};
use tests::redis::RedisServer;
use tests::sidecar::{Settings, Sidecar};

use crate::common::RECOVERY;
use crate::outage::{World, state, world};

/// The hook in a browser: all it remembers is `hyperpage_session_id`.
struct Hook<'a> {
    sidecar: &'a Sidecar,
    stored: Option<String>,
}

impl Hook<'_> {
    async fn get(&self, path: &str) -> Answer {
        // It sends a content type with everything.
        let request = Request::new("GET", path).header("content-type", "application/json");
        self.sidecar.app.send(request).await
    }

    /// Reads what is stored; whatever is not ok makes it ask for a new session, whose id replaces the stored one.
    async fn mount(&mut self) -> Option<Value> {
        if let Some(id) = &self.stored {
            let read = self.get(&format!("/api/sessions?sessionId={id}")).await;
            if (200..300).contains(&read.status) {
                return session(&read);
            }
        }
        let made = self.get("/api/sessions").await;
        if !(200..300).contains(&made.status) {
            return None;
        }
        self.stored = made.json()["sessionId"].as_str().map(str::to_owned);
        session(&made)
    }

    async fn update(&self, updates: &str) -> Answer {
        let id = self.stored.as_deref().unwrap();
        let body = format!(r#"{{"sessionId":"{id}","updates":{updates}}}"#);
        self.sidecar.app.post("/api/sessions", body).await
    }

    async fn refresh(&self) -> Answer {
        self.get(&format!("/api/sessions?sessionId={}", self.stored.as_deref().unwrap())).await
    }

    async fn delete(&self) -> Answer {
        let path = format!("/api/sessions?sessionId={}", self.stored.as_deref().unwrap());
        self.sidecar.app.send(Request::new("DELETE", path).header("content-type", "application/json")).await
    }
}

fn session(answer: &Answer) -> Option<Value> {
    let body = answer.json();
    (body["success"] == true).then(|| body["session"].clone())
}

#[tokio::test]
async fn the_published_hook_creates_updates_refreshes_remounts_and_deletes() {
    let World { redis: _redis, proxy: _proxy, sidecar } = world(|settings| settings).await;
    let mut hook = Hook { sidecar: &sidecar, stored: None };
    hook.mount().await.unwrap();
    let id = hook.stored.clone();
    let saved = hook.update(r#"{"preferences":{"theme":"dark"}}"#).await.expect(200).json();
    assert_eq!((&saved["success"], saved["sessionId"].as_str()), (&Value::Bool(true), id.as_deref()));
    for _ in 0..20 {
        hook.update(r#"{"lastActivity":"2026-11-20T18:20:34.366Z"}"#).await.expect(200);
    }
    assert_eq!(session(&hook.refresh().await.expect(200)).unwrap()["preferences"]["theme"], "dark");
    let again = hook.mount().await.unwrap();
    assert_eq!((again["preferences"]["language"].as_str(), &hook.stored), (Some("en"), &id));
    hook.delete().await.expect(200);
    // The stored id is stale: the hook gets another one.
    hook.refresh().await.expect(401);
    hook.mount().await.unwrap();
    assert!(hook.stored != id && hook.stored.is_some());
    sidecar.stop().await;
}

/// The same, and before each step Redis is killed, and is back with its data after it.
#[tokio::test]
async fn the_published_hook_keeps_its_id_with_redis_killed_between_its_steps() {
    let mut redis = RedisServer::durable().await;
    let sidecar = Sidecar::start(&Settings::redis(redis.url())).await;
    let mut hook = Hook { sidecar: &sidecar, stored: None };
    redis.kill();
    assert!(hook.mount().await.is_none() && hook.stored.is_none(), "nothing is created");
    back(&mut redis, &sidecar).await;
    hook.mount().await.unwrap();
    let id = hook.stored.clone();
    hook.refresh().await.expect(200);
    for step in 0..4 {
        redis.kill();
        // The step comes with the fall, or when it is known.
        if step % 2 == 1 {
            state(&sidecar, "outage").await;
        }
        let updated = hook.update(&format!(r#"{{"preferences":{{"step{step}":true}}}}"#)).await;
        assert!([202, 503].contains(&updated.status), "{updated:?}");
        let refreshed = hook.refresh().await;
        assert!([200, 503].contains(&refreshed.status), "{refreshed:?}");
        // Nothing that is created can replace the id, for nothing is.
        hook.mount().await;
        assert_eq!(hook.stored, id, "step {step}");
        back(&mut redis, &sidecar).await;
        if updated.status == 202 {
            let now = session(&hook.refresh().await.expect(200)).unwrap();
            assert_eq!(now["preferences"][format!("step{step}")], true, "{now}");
        }
        hook.mount().await.unwrap();
        assert_eq!(hook.stored, id, "step {step}");
    }
    redis.kill();
    state(&sidecar, "outage").await;
    hook.delete().await.expect(202);
    back(&mut redis, &sidecar).await;
    eventually("it is deleted", RECOVERY, async || {
        let gone = hook.refresh().await;
        if gone.status == 401 { Ok(()) } else { Err(gone) }
    })
    .await;
    hook.mount().await.unwrap();
    assert_ne!(hook.stored, id);
    sidecar.stop().await;
}

/// Redis runs again, and nothing is left to be replayed.
async fn back(redis: &mut RedisServer, sidecar: &Sidecar) {
    redis.run().await;
    sidecar.serving(RECOVERY).await;
    state(sidecar, "healthy").await;
}
