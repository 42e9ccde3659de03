//! Sessions served from memory: as fresh as the answer says, whoever writes them and whatever breaks.

use std::time::{Duration, Instant};

use serde_json::Value;
use tests::eventually::{check, eventually};
use tests::http::{Answer, Request};
use tests::proxy::{Mode, Proxy};
use tests::redis::{RedisServer, Sentinels};
use tests::sidecar::{Settings, Sidecar};

use crate::common::{RECOVERY, new_session, pair};
use crate::metrics::{total, values};
use crate::strong::{replicated_cluster, with_replicas};

/// What an answer may be older than its request, as the header says it.
const BOUND: Duration = Duration::from_millis(300);

pub(crate) fn bound_ms(answer: &Answer) -> u64 {
    answer.header("x-hyperpage-bound-ms").unwrap_or_else(|| panic!("no bound: {answer:?}")).parse().unwrap()
}

fn path(id: &str) -> String {
    format!("/v1/sessions/{id}")
}

/// Reads until an answer comes from memory.
async fn warm(sidecar: &Sidecar, id: &str) -> Answer {
    let l1 = || async {
        values(sidecar, "hyperpage_session_seconds_count", &[r#"operation="read""#, r#"source="l1""#])
            .await
            .iter()
            .sum::<f64>()
    };
    eventually("it is served from memory", RECOVERY, async || {
        let before = l1().await;
        let answer = sidecar.app.get(&path(id)).await.expect(200);
        check(l1().await > before, (before, &answer))?;
        Ok::<_, String>(answer)
    })
    .await
}

/// The counter of a session, which every writer here raises.
fn n(answer: &Answer) -> i64 {
    serde_json::from_str::<Value>(&answer.body).ok().and_then(|body| body["n"].as_i64()).unwrap_or(-1)
}

/// A stranger writes the session as the original's pods do.
async fn set(redis: &RedisServer, id: &str, n: i64) {
    redis
        .command::<()>(&["SET", &format!("hyperpage:session:{id}"), &format!(r#"{{"n":{n}}}"#), "KEEPTTL"])
        .await
        .unwrap();
}

/// Whether an answer that shows what was so before `changed` says so: it is within the bound, or marked as so old.
fn honest(answer: &Answer, asked: Instant, changed: Instant) -> bool {
    let stale = answer.header("x-hyperpage-stale-ms").map(|ms| Duration::from_millis(ms.parse().unwrap()));
    answer.status != 200 || asked <= changed + stale.unwrap_or(BOUND)
}

/// Whoever asks later than the bound after the change sees it, and most see it much earlier.
async fn seen(sidecar: &Sidecar, id: &str, changed: Instant, expected: i64) {
    loop {
        let asked = Instant::now();
        let answer = sidecar.app.get(&path(id)).await;
        if answer.status == 200 && n(&answer) == expected {
            return;
        }
        assert!(honest(&answer, asked, changed), "{:?} later: {answer:?}", changed.elapsed());
        assert!(changed.elapsed() < RECOVERY, "{answer:?}");
    }
}

#[tokio::test]
async fn a_session_is_served_from_memory_and_own_writes_are_seen_at_once() {
    let (redis, sidecar) = pair().await;
    let id = new_session(&sidecar).await;
    assert_eq!(bound_ms(&warm(&sidecar, &id).await), 300);
    for n in 0..300 {
        let body = format!(r#"{{"n":{n}}}"#);
        sidecar.app.patch(&path(&id), &body).await.expect(200);
        let answer = sidecar.app.get(&path(&id)).await.expect(200);
        assert_eq!(self::n(&answer), n);
        let api = sidecar.app.get(&format!("/api/sessions?sessionId={id}")).await.expect(200);
        assert_eq!((api.json()["session"]["n"].as_i64(), bound_ms(&api) <= 300), (Some(n), true));
    }
    warm(&sidecar, &id).await;
    for name in ["sessions_l1_bytes", "sessions_l1_entries", "redis_coherent", "sessions_bound_seconds_sum"] {
        assert!(total(&sidecar, name).await > 0.0, "{name}");
    }
    // Touches leave it there, and a delete does not.
    sidecar.app.send(Request::new("POST", format!("{}/touch", path(&id)))).await.expect(204);
    assert_eq!(bound_ms(&sidecar.app.get(&path(&id)).await.expect(200)), 300);
    sidecar.app.delete(&path(&id)).await.expect(204);
    sidecar.app.get(&path(&id)).await.expect(404);
    drop(redis);
    sidecar.stop().await;
}

#[tokio::test]
async fn no_cache_asks_redis_and_is_as_fresh() {
    let (redis, sidecar) = pair().await;
    let id = new_session(&sidecar).await;
    for round in 0..200 {
        sidecar.app.get(&path(&id)).await.expect(200);
        set(&redis, &id, round).await;
        let request = Request::new("GET", path(&id)).header("cache-control", "no-cache");
        let answer = sidecar.app.send(request).await.expect(200);
        assert_eq!((n(&answer), bound_ms(&answer)), (round, 0));
    }
    sidecar.stop().await;
}

#[tokio::test]
async fn another_sidecars_write_a_strangers_and_a_strangers_delete_are_seen_within_the_bound() {
    let redis = RedisServer::start().await;
    let settings = Settings::redis(redis.url());
    let (one, other) = (Sidecar::start(&settings).await, Sidecar::start(&settings).await);
    let id = new_session(&one).await;
    for round in 0..20 {
        warm(&one, &id).await;
        other.app.patch(&path(&id), format!(r#"{{"n":{round}}}"#)).await.expect(200);
        seen(&one, &id, Instant::now(), round).await;
        warm(&other, &id).await;
        set(&redis, &id, round + 1000).await;
        let changed = Instant::now();
        tokio::join!(seen(&one, &id, changed, round + 1000), seen(&other, &id, changed, round + 1000));
    }
    assert!(total(&one, "redis_invalidations_total").await >= 20.0);
    warm(&one, &id).await;
    redis.command::<()>(&["DEL", &format!("hyperpage:session:{id}")]).await.unwrap();
    tokio::time::sleep(BOUND).await;
    one.app.get(&path(&id)).await.expect(404);
    other.stop().await;
    one.stop().await;
}

/// An own write takes the key from what Redis tracks; its script reads last, so that the next change is told.
#[tokio::test]
async fn a_strangers_write_after_an_own_one_is_still_heard_of() {
    let (redis, sidecar) = pair().await;
    let id = new_session(&sidecar).await;
    for round in 0..50 {
        sidecar.app.patch(&path(&id), format!(r#"{{"n":{round}}}"#)).await.expect(200);
        warm(&sidecar, &id).await;
        set(&redis, &id, round + 1000).await;
        seen(&sidecar, &id, Instant::now(), round + 1000).await;
        sidecar.app.send(Request::new("POST", format!("{}/touch", path(&id)))).await.expect(204);
        set(&redis, &id, round + 2000).await;
        seen(&sidecar, &id, Instant::now(), round + 2000).await;
    }
    sidecar.stop().await;
}

#[tokio::test]
async fn nothing_that_was_flushed_is_served_unless_it_is_given_back() {
    let (redis, sidecar) = pair().await;
    for flush in ["FLUSHALL", "FLUSHDB"] {
        let id = new_session(&sidecar).await;
        warm(&sidecar, &id).await;
        redis.command::<()>(&[flush]).await.unwrap();
        let flushed = Instant::now();
        eventually("it is served as it is in Redis again", RECOVERY, async || {
            let asked = Instant::now();
            let answer = sidecar.app.get(&path(&id)).await;
            let back = redis.session(&id).await.is_some();
            let stale = answer.header("x-hyperpage-stale-ms").is_some();
            assert!(back || stale || honest(&answer, asked, flushed), "{answer:?}");
            check(back && !stale && answer.status == 200, answer)
        })
        .await;
    }
    assert!(total(&sidecar, "redis_flushes_total").await >= 2.0);
    sidecar.stop().await;
}

/// Changes meet fills 3 000 times, and not once is an old value kept.
#[tokio::test]
async fn no_fill_that_races_a_change_leaves_an_old_value() {
    let (redis, sidecar) = pair().await;
    let id = new_session(&sidecar).await;
    let mut connection = redis.connection().await.unwrap();
    let key = format!("hyperpage:session:{id}");
    for round in 0..3_000 {
        let mut set = redis::cmd("SET");
        set.arg(&key).arg(format!(r#"{{"n":{round}}}"#)).arg("KEEPTTL");
        let (read, again) = (path(&id), path(&id));
        let reads = async { tokio::join!(sidecar.app.get(&read), sidecar.app.get(&again)) };
        let (written, _) = tokio::join!(set.query_async::<()>(&mut connection), reads);
        written.unwrap();
        seen(&sidecar, &id, Instant::now(), round).await;
    }
    sidecar.stop().await;
}

/// The same with all keys at once: a flush, and in the same breath what is there from then on.
#[tokio::test]
async fn no_fill_that_races_a_flush_leaves_an_old_value() {
    let (redis, sidecar) = pair().await;
    let mut connection = redis.connection().await.unwrap();
    for round in 0..100 {
        let mut flush = redis::pipe();
        flush.atomic().cmd("FLUSHALL").ignore();
        flush.cmd("SET").arg("hyperpage:session:theirs").arg(format!(r#"{{"n":{round}}}"#)).ignore();
        let path = path("theirs");
        let reads = async { tokio::join!(sidecar.app.get(&path), sidecar.app.get(&path)) };
        let (flushed, _) = tokio::join!(flush.query_async::<()>(&mut connection), reads);
        flushed.unwrap();
        seen(&sidecar, "theirs", Instant::now(), round).await;
    }
    sidecar.stop().await;
}

/// A burst of changes ends nothing, and neither does a connection that is made anew after it.
#[tokio::test]
async fn hundreds_of_changes_in_one_breath_are_all_heard_again_and_again() {
    let redis = RedisServer::start().await;
    let proxy = Proxy::start(redis.port()).await;
    let sidecar = Sidecar::start(&Settings::redis(proxy.url())).await;
    let mut connection = redis.connection().await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..300 {
        ids.push(new_session(&sidecar).await);
    }
    for round in 0..3 {
        for id in &ids {
            sidecar.app.get(&path(id)).await.expect(200);
        }
        warm(&sidecar, &ids[299]).await;
        let mut burst = redis::pipe();
        for id in &ids {
            let key = format!("hyperpage:session:{id}");
            burst.cmd("SET").arg(key).arg(format!(r#"{{"n":{round}}}"#)).arg("KEEPTTL").ignore();
        }
        burst.query_async::<()>(&mut connection).await.unwrap();
        let changed = Instant::now();
        for id in &ids {
            seen(&sidecar, id, changed, round).await;
        }
        proxy.half_open();
        sidecar.serving(RECOVERY).await;
    }
    assert!(total(&sidecar, "redis_invalidations_total").await >= 600.0);
    sidecar.stop().await;
}

/// Own writes and fills on one connection, in any order: who reads after an answer sees what it said.
#[tokio::test(flavor = "multi_thread")]
async fn no_fill_that_races_an_own_write_leaves_an_old_value() {
    let (_redis, sidecar) = pair().await;
    let id = new_session(&sidecar).await;
    for round in 0..500 {
        let (body, path) = (format!(r#"{{"n":{round}}}"#), path(&id));
        let reads = futures::future::join_all((0..4).map(|_| sidecar.app.get(&path)));
        let (written, _) = tokio::join!(sidecar.app.patch(&path, &body), reads);
        written.expect(200);
        assert_eq!(n(&sidecar.app.get(&path).await.expect(200)), round);
    }
    sidecar.stop().await;
}

/// The connection is dead without a word: what was read on it is served no longer than the bound.
#[tokio::test]
async fn nothing_is_served_beyond_the_bound_on_a_dead_connection() {
    let redis = RedisServer::start().await;
    let proxy = Proxy::start(redis.port()).await;
    let sidecar = Sidecar::start(&Settings::redis(proxy.url())).await;
    let id = new_session(&sidecar).await;
    let faults: [fn(&Proxy); 4] = [
        |proxy| proxy.half_open(),
        |proxy| proxy.set(Mode::BlackHole),
        |proxy| proxy.set(Mode::Stall),
        |proxy| proxy.set(Mode::Cut),
    ];
    for (round, fault) in (0..).zip(faults.iter().cycle().take(12)) {
        warm(&sidecar, &id).await;
        fault(&proxy);
        set(&redis, &id, round).await;
        let changed = Instant::now();
        while changed.elapsed() < 3 * BOUND {
            let asked = Instant::now();
            let answer = sidecar.app.get(&path(&id)).await;
            let fresh = n(&answer) == round || honest(&answer, asked, changed);
            assert!(fresh, "{round}, {:?} later: {answer:?}", changed.elapsed());
        }
        proxy.set(Mode::Pass);
        sidecar.serving(RECOVERY).await;
        seen(&sidecar, &id, changed, round).await;
    }
    assert!(total(&sidecar, "redis_leases_lost_total").await >= 12.0);
    sidecar.stop().await;
}

/// Where a master may be replaced, a write that replicas confirmed is needed too. They are paused: the master, and
/// this pod with it, may be on the wrong side of a partition.
async fn lapses(sidecar: &Sidecar, id: &str, replicas: &[RedisServer]) {
    assert_eq!(bound_ms(&warm(sidecar, id).await), 1000);
    replicas.iter().for_each(RedisServer::hang);
    let hung = Instant::now();
    let mut asked_in_vain = 0;
    while hung.elapsed() < 3 * CONFIRMED {
        let asked = hung.elapsed();
        let answer = sidecar.app.get(&path(id)).await.expect(200);
        // From memory; or a read that was shared, which is younger.
        let served = bound_ms(&answer) == 1000;
        assert!(!served || asked < CONFIRMED, "{asked:?} later: {answer:?}");
        assert!(answer.header("x-hyperpage-stale-ms").is_none(), "the master is there: {answer:?}");
        asked_in_vain += u32::from(asked >= CONFIRMED);
    }
    assert!(asked_in_vain > 10, "{asked_in_vain}");
    replicas.iter().for_each(RedisServer::resume);
    assert_eq!(bound_ms(&warm(sidecar, id).await), 1000);
}

/// So long is a confirmed write worth something.
const CONFIRMED: Duration = Duration::from_secs(1);

#[tokio::test]
async fn with_sentinels_nothing_is_served_that_no_replica_confirms() {
    let group = Sentinels::start().await;
    let sidecar = Sidecar::start(&Settings::sentinels(&group)).await;
    let id = new_session(&sidecar).await;
    lapses(&sidecar, &id, &group.data[1..]).await;
    sidecar.stop().await;
}

#[tokio::test]
async fn with_replicas_to_wait_for_nothing_is_served_that_too_few_confirm() {
    let (master, replicas) = with_replicas(2).await;
    let settings = Settings::redis(master.url()).env("HYPERPAGE_REDIS_WAIT_REPLICAS", "1");
    let sidecar = Sidecar::start(&settings).await;
    let id = new_session(&sidecar).await;
    // One of two is enough.
    replicas[0].hang();
    lapses(&sidecar, &id, &replicas[1..]).await;
    replicas[0].resume();
    lapses(&sidecar, &id, &replicas).await;
    sidecar.stop().await;
}

#[tokio::test]
async fn on_a_cluster_nothing_is_served_of_a_shard_whose_replica_does_not_confirm() {
    let (cluster, sidecar, sessions) = replicated_cluster().await;
    lapses(&sidecar, &sessions[0], &cluster.replicas[..1]).await;
    // The others have their own.
    cluster.replicas[1].hang();
    tokio::time::sleep(2 * CONFIRMED).await;
    for shard in [0, 2] {
        assert_eq!(bound_ms(&warm(&sidecar, &sessions[shard]).await), 1000);
    }
    assert_eq!(bound_ms(&sidecar.app.get(&path(&sessions[1])).await.expect(200)), 0);
    cluster.replicas[1].resume();
    assert_eq!(bound_ms(&warm(&sidecar, &sessions[1]).await), 1000);
    sidecar.stop().await;
}

#[tokio::test]
async fn a_hundred_thousand_sessions_do_not_exceed_the_budget() {
    const COUNT: usize = 100_000;
    let redis = RedisServer::start().await;
    let settings = Settings::redis(redis.url()).env("SESSION_L1_BYTES", (1 << 20).to_string());
    let sidecar = Sidecar::start(&settings).await;
    warm(&sidecar, &new_session(&sidecar).await).await;
    let mut connection = redis.connection().await.unwrap();
    let text = format!(r#"{{"filler":"{}"}}"#, "x".repeat(1_000));
    for start in (0..COUNT).step_by(1_000) {
        let mut pipe = redis::pipe();
        for number in start..start + 1_000 {
            pipe.cmd("SET").arg(format!("hyperpage:session:many-{number}")).arg(&text).ignore();
        }
        pipe.query_async::<()>(&mut connection).await.unwrap();
    }
    let before = sidecar.rss_bytes();
    for start in (0..COUNT).step_by(100) {
        let ids: Vec<_> = (start..start + 100).map(|number| format!("many-{number}")).collect();
        let body = serde_json::json!({ "ids": ids });
        sidecar.app.post("/v1/sessions:batchGet", body).await.expect(200);
    }
    let grown = sidecar.rss_bytes().saturating_sub(before);
    assert!(grown < 24 << 20, "{} KiB more", grown >> 10);
    let (bytes, entries) =
        (total(&sidecar, "sessions_l1_bytes").await, total(&sidecar, "sessions_l1_entries").await);
    assert!((500.0..1_000.0).contains(&entries) && bytes <= f64::from(1 << 20), "{entries} in {bytes}");
    assert!(total(&sidecar, "sessions_l1_evictions_total").await >= 99_000.0);
    sidecar.stop().await;
}

#[tokio::test]
async fn who_reads_at_once_shares_one_read_and_no_cache_reads_for_itself() {
    let redis = RedisServer::start().await;
    let proxy = Proxy::start(redis.port()).await;
    let settings = Settings::redis(proxy.url()).env("SESSION_L1_BYTES", "0");
    let sidecar = Sidecar::start(&settings).await;
    let id = new_session(&sidecar).await;
    let read = || async { values(&sidecar, "sessions_filled_total", &[]).await.iter().sum::<f64>() };
    let at_once = |request: Request| {
        let requests = (0..50).map(|_| sidecar.app.send(request.clone())).collect::<Vec<_>>();
        futures::future::join_all(requests)
    };
    proxy.set(Mode::Delay(Duration::from_millis(60)));
    let before = read().await;
    let answers = at_once(Request::new("GET", path(&id))).await;
    assert!(answers.iter().all(|answer| answer.status == 200 && bound_ms(answer) <= 250), "{answers:?}");
    let shared = read().await;
    assert!(shared - before <= 5.0, "{} reads for 50", shared - before);
    let fresh = at_once(Request::new("GET", path(&id)).header("cache-control", "no-cache")).await;
    assert!(fresh.iter().all(|answer| answer.status != 200 || bound_ms(answer) == 0), "{fresh:?}");
    assert_eq!(read().await - shared, 50.0);
    proxy.set(Mode::Pass);
    sidecar.stop().await;
}

/// The life in Redis was cut short by nobody who would say so twice: a copy ends with what it was read with.
#[tokio::test]
async fn a_copy_never_outlives_its_session() {
    let (redis, sidecar) = pair().await;
    let id = new_session(&sidecar).await;
    let key = format!("hyperpage:session:{id}");
    redis.command::<()>(&["PEXPIRE", &key, "1500"]).await.unwrap();
    let began = Instant::now();
    let mut served = 0;
    loop {
        let asked = began.elapsed();
        let answer = sidecar.app.get(&path(&id)).await;
        if answer.status == 404 {
            break;
        }
        assert!(asked < Duration::from_millis(1_500) + BOUND, "{answer:?}");
        served += u32::from(answer.status == 200 && bound_ms(&answer) == 300);
    }
    assert!(served > 10, "{served}");
    sidecar.stop().await;
}

/// `/readyz` says so, and nothing else changes.
#[tokio::test]
async fn without_a_budget_every_read_asks_redis() {
    let redis = RedisServer::start().await;
    let sidecar = Sidecar::start(&Settings::redis(redis.url()).env("SESSION_L1_BYTES", "0")).await;
    let id = new_session(&sidecar).await;
    for _ in 0..20 {
        assert_eq!(bound_ms(&sidecar.app.get(&path(&id)).await.expect(200)), 0);
    }
    let ready: Value = sidecar.admin.get("/readyz").await.expect(200).json();
    assert_eq!(ready["l1"]["on"], false);
    assert!(ready["l1"]["reason"].as_str().unwrap().contains("SESSION_L1_BYTES"), "{ready}");
    sidecar.stop().await;
}
