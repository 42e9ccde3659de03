//! Redis is away: what can wait is journaled and reaches Redis once, what cannot is refused, and nobody is told that
//! a session is absent.

use std::time::{Duration, Instant};

use tests::eventually::{check, eventually};
use tests::http::{Answer, Request};
use tests::proxy::{Mode, Proxy};
use tests::redis::RedisServer;
use tests::sidecar::{Settings, Sidecar};

use crate::common::{RECOVERY, assert_unchanged, new_session, new_v1};
use crate::metrics::values;

/// An outage is one after a second; and some.
const NOTICED: Duration = Duration::from_secs(5);

pub(crate) struct World {
    pub(crate) redis: RedisServer,
    pub(crate) proxy: Proxy,
    pub(crate) sidecar: Sidecar,
}

pub(crate) async fn world(settings: impl FnOnce(Settings) -> Settings) -> World {
    let redis = RedisServer::start().await;
    let proxy = Proxy::start(redis.port()).await;
    let sidecar = Sidecar::start(&settings(Settings::redis(proxy.url()))).await;
    World { redis, proxy, sidecar }
}

impl World {
    /// Cuts Redis off, and waits until the sidecar says that it is away.
    pub(crate) async fn cut(&self) {
        self.proxy.set(Mode::Cut);
        state(&self.sidecar, "outage").await;
    }

    /// Redis is back, and nothing is left to be replayed.
    pub(crate) async fn heal(&self) {
        self.proxy.set(Mode::Pass);
        state(&self.sidecar, "healthy").await;
    }

    async fn stored(&self, id: &str) -> String {
        self.redis.session(id).await.expect("it is stored")
    }

    async fn journal(&self, field: &str) -> u64 {
        let ready = self.sidecar.admin.get("/readyz").await.expect(200).json();
        ready["sessions"]["journal"].pointer(field).unwrap().as_u64().unwrap()
    }
}

pub(crate) async fn state(sidecar: &Sidecar, name: &str) {
    eventually(&format!("the sessions are {name}"), NOTICED + RECOVERY, async || {
        let ready = sidecar.admin.get("/readyz").await.expect(200).json();
        check(ready["sessions"]["state"] == name, ready)
    })
    .await;
}

/// Operations that had what they needed from there.
async fn operations(sidecar: &Sidecar, source: &str) -> f64 {
    let source = format!(r#"source="{source}""#);
    values(sidecar, "hyperpage_session_seconds_count", &[&source]).await.into_iter().sum()
}

#[track_caller]
pub(crate) fn assert_journaled(what: &str, answer: &Answer) {
    assert_eq!(answer.status, 202, "{what}: {answer:?}");
    assert_eq!(answer.header("x-hyperpage-durability"), Some("local"), "{what}: {answer:?}");
    assert_eq!(answer.header("etag"), None, "{what}: nothing is known of its bytes yet: {answer:?}");
}

pub(crate) fn v1(id: &str) -> String {
    format!("/v1/sessions/{id}")
}

#[tokio::test]
async fn a_merge_journaled_in_an_outage_reaches_redis_exactly_once() {
    let world = world(|settings| settings).await;
    let (id, etag) = new_v1(&world.sidecar, r#"{"kept":1}"#).await;
    let before = world.stored(&id).await;
    world.cut().await;
    let app = &world.sidecar.app;
    assert_journaled("merge", &app.patch(&v1(&id), r#"{"a":{"b":1}}"#).await);
    let merge = Request::new("PATCH", v1(&id)).body(r#"{"a":{"c":2}}"#);
    assert_journaled("7396", &app.send(merge.header("content-type", "application/merge-patch+json")).await);
    let saved = app.post("/api/sessions", format!(r#"{{"sessionId":"{id}","updates":{{"x":3}}}}"#)).await;
    assert_journaled("the original's way", &saved);
    assert_eq!(saved.json()["message"], "Session saved successfully");
    let touch = Request::new("POST", format!("{}/touch", v1(&id)));
    assert_journaled("touch", &app.send(touch).await);
    assert_eq!(world.journal("/entries").await, 4);
    assert_eq!(operations(&world.sidecar, "journal").await, 4.0);
    assert_eq!(world.stored(&id).await, before, "Redis has heard of nothing");
    // What means one version, or more than can wait, is refused.
    let if_match = Request::new("PATCH", v1(&id)).json(r#"{"a":1}"#).header("if-match", etag);
    assert_unchanged("If-Match", &app.send(if_match).await);
    let patch = Request::new("PATCH", v1(&id)).body(r#"[{"op":"add","path":"/p","value":1}]"#);
    let patch = app.send(patch.header("content-type", "application/json-patch+json")).await;
    assert_unchanged("JSON Patch", &patch);
    assert_unchanged("replace", &app.put(&v1(&id), r#"{"a":1}"#).await);
    assert_unchanged("create", &app.get("/api/sessions").await);
    world.heal().await;
    let after = world.stored(&id).await;
    for part in [r#""kept":1"#, r#""a":{"b":1,"c":2}"#, r#""x":3"#] {
        assert!(after.contains(part), "{after}");
    }
    assert!(!after.contains(r#""p":1"#), "{after}");
    assert_eq!((world.journal("/replayed").await, world.journal("/entries").await), (4, 0));
    let ops: Vec<u8> = world.redis.command(&["HGET", &sibling(&id), "ops"]).await.unwrap();
    assert_eq!(ops.len() / 8, 4, "the creation and three merges, each once");
    // And nothing comes later.
    let read = app.get(&v1(&id)).await.expect(200);
    assert_eq!((read.body, read.headers.get("x-hyperpage-stale-ms")), (after, None));
    world.sidecar.stop().await;
}

pub(crate) fn sibling(id: &str) -> String {
    format!("{{hyperpage:session:{id}}}:m")
}

/// Redis executes the replay, and the answer is lost; then it is away again. The operation is the same one.
#[tokio::test]
async fn a_replay_whose_answer_is_lost_in_a_second_outage_is_still_applied_once() {
    let world = world(|settings| settings).await;
    let (id, _) = new_v1(&world.sidecar, r#"{"n":0}"#).await;
    world.cut().await;
    for n in 1..=5 {
        let merge = format!(r#"{{"n":{n},"n{n}":true}}"#);
        assert_journaled("merge", &world.sidecar.app.patch(&v1(&id), merge).await);
    }
    for _ in 0..4 {
        world.proxy.set(Mode::Pass);
        // Somewhere in the middle of connecting, reading and writing.
        eventually("something has arrived", RECOVERY, async || {
            let busy = world.stored(&id).await.contains(r#""n1""#) || world.proxy.connections() > 3;
            check(busy, world.proxy.connections())
        })
        .await;
        world.proxy.set(Mode::Stall);
        state(&world.sidecar, "outage").await;
        world.proxy.set(Mode::Cut);
    }
    world.heal().await;
    let after = world.stored(&id).await;
    assert!(after.contains(r#""n":5"#) && after.contains(r#""n1":true"#), "{after}");
    let ops: Vec<u8> = world.redis.command(&["HGET", &sibling(&id), "ops"]).await.unwrap();
    assert_eq!(ops.len() / 8, 6, "the creation and five merges, each once");
    assert_eq!(world.journal("/replayed").await, 5);
    world.sidecar.stop().await;
}

#[tokio::test]
async fn a_deletion_journaled_in_an_outage_is_final() {
    let world = world(|settings| settings).await;
    let (id, other) = (new_session(&world.sidecar).await, new_session(&world.sidecar).await);
    world.cut().await;
    let app = &world.sidecar.app;
    assert_journaled("DELETE", &app.delete(&v1(&id)).await);
    assert_journaled("the original's", &app.delete(&format!("/api/sessions?sessionId={other}")).await);
    assert_unchanged("a deleted session is not changed", &app.patch(&v1(&id), r#"{"a":1}"#).await);
    assert_unchanged("nor read", &app.get(&v1(&id)).await);
    world.heal().await;
    for id in [&id, &other] {
        assert_eq!(world.redis.session(id).await, None);
        app.get(&v1(id)).await.expect(404);
        let tombstone: i64 = world.redis.command(&["HEXISTS", &sibling(id), "deleted"]).await.unwrap();
        let life: i64 = world.redis.command(&["PTTL", &sibling(id)]).await.unwrap();
        assert!(tombstone == 1 && life > 600_000, "a minute longer than any journal: {life}");
    }
    world.sidecar.stop().await;
}

#[tokio::test]
async fn what_no_longer_fits_is_dropped_and_counted_by_its_reason() {
    let world = world(|settings| settings).await;
    let (gone, deleted, large) = (
        new_session(&world.sidecar).await,
        new_session(&world.sidecar).await,
        new_session(&world.sidecar).await,
    );
    let other =
        Sidecar::start(&Settings::redis(world.redis.url()).env("HYPERPAGE_REPAIR_WINDOW_MS", "0")).await;
    world.cut().await;
    for id in [&gone, &deleted, &large] {
        assert_journaled("merge", &world.sidecar.app.patch(&v1(id), r#"{"a":"0123456789"}"#).await);
    }
    world.redis.command::<()>(&["DEL", &format!("hyperpage:session:{gone}")]).await.unwrap();
    other.app.delete(&v1(&deleted)).await.expect(204);
    let bytes = "x".repeat(65_536 - 700);
    let mut full = format!(r#"{{"b":"{bytes}"}}"#);
    while other.app.patch(&v1(&large), &full).await.status == 200 {
        full = format!(r#"{{"b":"{}"}}"#, "x".repeat(full.len()));
    }
    world.heal().await;
    for (reason, count) in [("gone", 1), ("tombstoned", 1), ("unfit", 0), ("too_old", 0), ("expired", 0)] {
        let seen = world.journal(&format!("/dropped/{reason}")).await;
        assert!(seen == count || reason == "unfit", "{reason}: {seen}");
    }
    assert_eq!(world.redis.session(&gone).await, None, "a replay makes no session");
    assert_eq!(world.redis.session(&deleted).await, None);
    assert_eq!(world.journal("/replayed").await + world.journal("/dropped/unfit").await, 1);
    other.stop().await;
    world.sidecar.stop().await;
}

#[tokio::test]
async fn a_full_journal_refuses_and_says_so_and_old_changes_leave_it() {
    let world =
        world(|settings| settings.env("SESSION_JOURNAL_BYTES", "2000").env("SESSION_JOURNAL_SECONDS", "2"))
            .await;
    let id = new_session(&world.sidecar).await;
    world.cut().await;
    let mut answers = Vec::new();
    for _ in 0..6 {
        answers.push(world.sidecar.app.patch(&v1(&id), r#"{"a":1}"#).await);
    }
    assert_journaled("the first", &answers[0]);
    assert_unchanged("the last", &answers[5]);
    let accepted = answers.iter().filter(|answer| answer.status == 202).count() as u64;
    let metrics = world.sidecar.admin.get("/metrics").await.body;
    let refused = format!("sessions_journal_overflows_total {}\n", 6 - accepted);
    assert!(metrics.contains(&refused), "{metrics}");
    eventually("they are too old", NOTICED, async || {
        let dropped = world.journal("/dropped/too_old").await;
        check(dropped == accepted, dropped)
    })
    .await;
    assert_eq!((world.journal("/entries").await, world.journal("/bytes").await), (0, 0));
    world.heal().await;
    assert!(!world.stored(&id).await.contains(r#""a":1"#));
    world.sidecar.stop().await;
}

#[tokio::test]
async fn reject_refuses_every_write_of_an_outage() {
    let world = world(|settings| settings.env("SESSION_FALLBACK_TO_MEMORY", "false")).await;
    let id = new_session(&world.sidecar).await;
    world.cut().await;
    let app = &world.sidecar.app;
    assert_unchanged("merge", &app.patch(&v1(&id), r#"{"a":1}"#).await);
    assert_unchanged("touch", &app.send(Request::new("POST", format!("{}/touch", v1(&id)))).await);
    assert_unchanged("delete", &app.delete(&v1(&id)).await);
    assert_unchanged("create", &app.post("/v1/sessions", "{}").await);
    world.heal().await;
    assert!(!world.stored(&id).await.contains(r#""a":1"#));
    world.sidecar.stop().await;
}

#[tokio::test]
async fn memory_makes_sessions_in_an_outage_and_says_that_nothing_is_promised() {
    let world = world(|settings| settings.env("SESSION_FALLBACK_TO_MEMORY", "true")).await;
    world.cut().await;
    let app = &world.sidecar.app;
    let made = app.get("/api/sessions").await;
    assert_eq!((made.status, made.header("x-hyperpage-durability")), (202, Some("local")), "{made:?}");
    let id = made.json()["sessionId"].as_str().unwrap().to_owned();
    assert_journaled("a change to it", &app.patch(&v1(&id), r#"{"a":1}"#).await);
    let read = app.get(&v1(&id)).await.expect(200);
    assert_eq!((read.json()["a"].as_i64(), read.header("x-hyperpage-durability")), (Some(1), Some("local")));
    assert!(read.header("x-hyperpage-stale-ms").is_some() && read.header("etag").is_none(), "{read:?}");
    assert!(operations(&world.sidecar, "memory").await >= 1.0);
    world.cut().await;
    assert_eq!(world.sidecar.logs().matches("nothing is promised").count(), 1);
    world.heal().await;
    assert!(world.stored(&id).await.contains(r#""a":1"#));
    world.sidecar.stop().await;
}

/// Another sidecar has written meanwhile: the change is laid over that, and own changes keep their order.
#[tokio::test]
async fn changes_of_one_pod_keep_their_order_and_others_changes_stay() {
    let world = world(|settings| settings).await;
    let other = Sidecar::start(&Settings::redis(world.redis.url())).await;
    let (id, _) = new_v1(&world.sidecar, r#"{"theirs":0,"mine":0}"#).await;
    world.cut().await;
    for n in 1..=50 {
        assert_journaled("mine", &world.sidecar.app.patch(&v1(&id), format!(r#"{{"mine":{n}}}"#)).await);
        other.app.patch(&v1(&id), format!(r#"{{"theirs":{n}}}"#)).await.expect(200);
    }
    world.proxy.set(Mode::Pass);
    // The first that is answered comes after all that wait.
    let last = eventually("a write reaches Redis", RECOVERY, async || {
        let answer = world.sidecar.app.patch(&v1(&id), r#"{"mine":51}"#).await;
        if answer.status == 200 { Ok(answer) } else { Err(answer) }
    })
    .await;
    assert_eq!((last.json()["mine"].as_i64(), last.json()["theirs"].as_i64()), (Some(51), Some(50)));
    world.heal().await;
    let after = world.stored(&id).await;
    assert!(after.contains(r#""mine":51"#) && after.contains(r#""theirs":50"#), "{after}");
    other.stop().await;
    world.sidecar.stop().await;
}

#[tokio::test]
async fn a_blip_is_not_journaled() {
    let world = world(|settings| settings).await;
    let id = new_session(&world.sidecar).await;
    world.proxy.set(Mode::Cut);
    let answer = world.sidecar.app.patch(&v1(&id), r#"{"a":1}"#).await;
    assert_ne!(answer.status, 202, "{answer:?}");
    world.proxy.set(Mode::Pass);
    world.sidecar.serving(RECOVERY).await;
    assert_eq!(world.journal("/entries").await, 0);
    world.sidecar.stop().await;
}

/// With Redis away the journal goes with the process; with Redis there it is brought to it.
#[tokio::test]
async fn a_sidecar_that_stops_tells_how_many_changes_are_lost() {
    let world = world(|settings| settings).await;
    let id = new_session(&world.sidecar).await;
    world.cut().await;
    for n in 0..3 {
        assert_journaled("merge", &world.sidecar.app.patch(&v1(&id), format!(r#"{{"secret-{n}":1}}"#)).await);
    }
    world.sidecar.terminate();
    assert_eq!(world.sidecar.exit(Duration::from_secs(20)).await, 0);
    let logs = world.sidecar.logs();
    let lost = logs.lines().find(|line| line.contains("journaled changes are lost")).unwrap();
    assert!(lost.contains(r#""changes":3"#) && !logs.contains("secret") && !logs.contains(&id), "{logs}");
}

/// Redis comes back in the moment in which the sidecar is told to stop, or a little earlier: what was journaled reaches
/// it before the process ends.
#[tokio::test]
async fn a_sidecar_that_stops_when_redis_is_back_has_lost_no_change() {
    for noticed in [false, true] {
        let world = world(|settings| settings).await;
        let mut ids = Vec::new();
        for _ in 0..50 {
            ids.push(new_session(&world.sidecar).await);
        }
        world.cut().await;
        for id in &ids {
            for n in 0..4 {
                let merge = format!(r#"{{"n{n}":true}}"#);
                assert_journaled("merge", &world.sidecar.app.patch(&v1(id), merge).await);
            }
        }
        world.proxy.set(Mode::Pass);
        if noticed {
            eventually("the sidecar has noticed", RECOVERY, async || {
                let ready = world.sidecar.admin.get("/readyz").await.expect(200).json();
                check(ready["sessions"]["state"] != "outage", ready)
            })
            .await;
        }
        world.sidecar.terminate();
        let stopped = Instant::now();
        // Of the 30 s that Kubernetes gives.
        assert_eq!(world.sidecar.exit(Duration::from_secs(20)).await, 0);
        println!("200 changes were replayed and the process ended in {:?}", stopped.elapsed());
        let logs = world.sidecar.logs();
        assert!(!logs.contains("journaled changes are lost"), "{logs}");
        for id in &ids {
            let stored = world.stored(id).await;
            assert!((0..4).all(|n| stored.contains(&format!(r#""n{n}":true"#))), "{stored}");
            let ops: Vec<u8> = world.redis.command(&["HGET", &sibling(id), "ops"]).await.unwrap();
            assert_eq!(ops.len() / 8, 5, "the creation and four merges, each once");
        }
    }
}
