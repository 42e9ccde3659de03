//! `/metrics`: there, parseable, counting what happened, and without anybody's id in it. The log: JSON, line by line.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::eventually::{check, eventually};
use tests::http::{Request, at_one_moment};
use tests::proxy::Mode;
use tests::redis::RedisServer;
use tests::sidecar::{Settings, Sidecar};

use crate::common::{PROMPT, RECOVERY, new_session, new_v1, pair};
use crate::outage::{World, v1, world};

const STOP: Duration = Duration::from_secs(20);

/// The sum over all series whose name ends so.
pub(crate) async fn total(sidecar: &Sidecar, name: &str) -> f64 {
    values(sidecar, name, &[]).await.into_iter().sum()
}

/// All series whose name ends so and that have these labels, in their order.
pub(crate) async fn values(sidecar: &Sidecar, name: &str, labels: &[&str]) -> Vec<f64> {
    let text = sidecar.admin.get("/metrics").await.expect(200).body;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let of_name = |line: &&str| line.split(['{', ' ']).next().is_some_and(|series| series.ends_with(name));
    let labelled = |line: &&str| labels.iter().all(|label| line.contains(label));
    let lines = lines.filter(of_name).filter(labelled);
    lines.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect()
}

#[tokio::test]
async fn metrics_count_sessions_requests_and_redis() {
    let (mut redis, sidecar) = pair().await;
    let id = new_session(&sidecar).await;
    let path = format!("/v1/sessions/{id}");
    sidecar.app.patch(&path, r#"{"a":1}"#).await.expect(200);
    sidecar.app.send(Request::new("POST", format!("{path}/touch"))).await.expect(204);
    sidecar.app.delete(&path).await.expect(204);
    for name in [
        "sessions_created_total",
        "sessions_updated_total",
        "sessions_touched_total",
        "sessions_deleted_total",
    ] {
        assert_eq!(total(&sidecar, name).await, 1.0, "{name}");
    }
    for operation in ["create", "update", "touch", "delete"] {
        let labels = [&*format!(r#"operation="{operation}""#), r#"source="redis""#];
        assert_eq!(values(&sidecar, "hyperpage_session_seconds_count", &labels).await, [1.0], "{operation}");
    }
    sidecar.app.get(&path).await.expect(404);
    let read = [r#"operation="read""#, r#"source="redis""#];
    assert!(values(&sidecar, "hyperpage_session_seconds_count", &read).await[0] >= 1.0);
    // As the original's dashboard asks for them.
    assert_eq!(values(&sidecar, "api_requests_total", &[r#"{status="204"}"#]).await, [2.0]);
    assert!(total(&sidecar, "http_requests_total").await >= 4.0);
    let touched = r#"route="/v1/sessions/{id}/touch""#;
    assert_eq!(values(&sidecar, "http_requests_total", &[touched, r#"status="204""#]).await, [1.0]);
    // What percentiles are computed from: how many answers came within each bound.
    let within = values(&sidecar, "http_request_seconds_bucket", &[touched]).await;
    assert!(within.len() > 10 && within.is_sorted() && within.last() == Some(&1.0), "{within:?}");
    assert_eq!(total(&sidecar, "redis_connections").await, 1.0);
    // Before Redis was connected there may have been some.
    let failed = async || {
        let failed = [r#"route="/v1/sessions/{id}""#, r#"status="503""#];
        values(&sidecar, "http_requests_total", &failed).await.into_iter().sum::<f64>()
    };
    let before = failed().await;
    assert!(total(&sidecar, "redis_call_seconds_count").await >= 4.0);
    redis.kill();
    sidecar.app.get(&path).await.expect(503);
    assert!(total(&sidecar, "sessions_errors_total").await >= 1.0);
    assert!(total(&sidecar, "redis_errors_total").await >= 1.0);
    eventually("it dials again", PROMPT, async || {
        let dials = total(&sidecar, "redis_dials_total").await;
        check(dials >= 2.0, dials)
    })
    .await;
    assert_eq!(failed().await, before + 1.0);
    sidecar.stop().await;
}

#[tokio::test]
async fn metrics_are_a_text_that_prometheus_reads_and_hold_no_id() {
    let (_redis, sidecar) = pair().await;
    let id = new_session(&sidecar).await;
    sidecar.app.get(&format!("/v1/sessions/{id}")).await.expect(200);
    sidecar.app.get("/no/such/path-of-a-scanner").await.expect(404);
    let answer = sidecar.admin.get("/metrics").await.expect(200);
    let kind = answer.header("content-type").unwrap();
    assert!(kind.starts_with("text/plain") || kind.starts_with("application/openmetrics-text"), "{kind}");
    for line in answer.body.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(
            series.split('{').next().unwrap().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'),
            "{line}"
        );
        assert!(!line.contains(&id) && !line.contains("scanner"), "{line}");
    }
    assert!(answer.body.ends_with("# EOF\n"), "{answer:?}");
    sidecar.stop().await;
}

#[tokio::test]
async fn every_line_of_the_log_is_json_with_a_time_a_level_and_a_message() {
    let (mut redis, sidecar) = pair().await;
    redis.command::<()>(&["SET", "hyperpage:session:odd", "line\nbreak\"quote"]).await.unwrap();
    sidecar.app.get("/v1/sessions/odd").await.expect(502);
    redis.kill();
    eventually("the log tells of an outage", PROMPT, async || {
        check(sidecar.logs().contains("Redis not connected"), sidecar.logs())
    })
    .await;
    sidecar.terminate();
    assert_eq!(sidecar.exit(STOP).await, 0);
    let logs = sidecar.logs();
    assert!(logs.lines().count() >= 4, "{logs}");
    for line in logs.lines() {
        let entry: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for member in ["timestamp", "level", "message"] {
            assert!(entry[member].is_string(), "{member}: {line}");
        }
    }
}

/// Every command takes so long, one after the other.
const AWAY: Duration = Duration::from_millis(30);

/// Redis is so far away that a hundred writers one after the other would be answered far too late.
#[tokio::test]
async fn metrics_count_combined_writes_exactly() {
    const WRITERS: usize = 100;
    let World { redis: _redis, proxy, sidecar } = world(|settings| settings).await;
    let path = v1(&new_session(&sidecar).await);
    proxy.set(Mode::Delay(AWAY));
    let begun = Instant::now();
    let writes = (0..WRITERS).map(|number| sidecar.app.patch(&path, format!(r#"{{"n{number}":1}}"#)));
    let answers = futures::future::join_all(writes).await;
    let most = begun.elapsed().as_millis() / AWAY.as_millis();
    // No two compare-and-sets leave the same bytes, and none begins before the last has ended.
    let left: HashSet<String> = answers.into_iter().map(|answer| answer.expect(200).etag()).collect();
    println!("{WRITERS} writes by {} compare-and-sets, of at most {most}", left.len());
    assert!(left.len() as u128 <= most && left.len() < WRITERS, "{left:?}");
    assert_eq!(total(&sidecar, "sessions_updated_total").await, WRITERS as f64);
    assert_eq!(total(&sidecar, "sessions_combined_total").await, (WRITERS - left.len()) as f64);
    sidecar.stop().await;
}

/// Each condition is a compare-and-set of its own, so that few leave the queue while all may wait in it.
#[tokio::test]
async fn metrics_count_writers_for_whom_the_queue_is_full() {
    let World { redis: _redis, proxy, sidecar } =
        world(|settings| settings.env("HYPERPAGE_MAX_REQUESTS", "1000")).await;
    let path = v1(&new_session(&sidecar).await);
    proxy.set(Mode::Delay(AWAY));
    let write = Request::new("PATCH", &path).json(r#"{"n":1}"#).header("if-match", "*");
    // On a slow machine the last may come after the first have given up.
    eventually("the crowd fills the queue", Duration::from_secs(60), async || {
        let before = total(&sidecar, "sessions_turned_away_total").await;
        let crowd = at_one_moment(sidecar.app_address, &write, 700).await;
        let turned_away = total(&sidecar, "sessions_turned_away_total").await - before;
        let refused: Vec<_> = crowd.iter().filter(|answer| answer.status != 200).collect();
        for answer in &refused {
            let told = (answer.status, answer.code(), answer.header("retry-after").is_some());
            assert_eq!(told, (503, "SESSION_STORE_UNAVAILABLE".to_owned(), true), "{answer:?}");
        }
        // Whoever waits does so for more than a second.
        let at_once = refused.iter().filter(|answer| answer.elapsed < Duration::from_secs(1)).count();
        let all = at_once as f64 <= turned_away && turned_away <= refused.len() as f64;
        check(at_once > 0 && all, (at_once, turned_away, refused.len()))
    })
    .await;
    sidecar.stop().await;
}

/// A stranger writes all the time, so that each compare-and-set of ours meets other bytes than were read.
#[tokio::test]
async fn metrics_count_writes_over_other_bytes_and_attempts_whose_answer_is_lost() {
    let World { redis, proxy, sidecar } = world(|settings| settings).await;
    let id = new_session(&sidecar).await;
    proxy.set(Mode::Delay(AWAY));
    let stranger = async {
        for number in 0.. {
            let set = ["SET", &format!("hyperpage:session:{id}"), &format!(r#"{{"theirs":{number}}}"#)];
            redis.command::<()>(&set).await.unwrap();
        }
    };
    let path = v1(&id);
    tokio::select! {
        answer = sidecar.app.patch(&path, r#"{"ours":1}"#) => drop(answer),
        () = stranger => {}
    }
    assert!(total(&sidecar, "sessions_conflicts_total").await >= 1.0);
    proxy.set(Mode::Pass);
    // On a slow machine there may be no time for a second attempt.
    eventually("it is sent again", 6 * RECOVERY, async || {
        sidecar.serving(RECOVERY).await;
        redis.hang();
        sidecar.app.send(Request::new("POST", format!("{path}/touch"))).await.expect(503);
        redis.resume();
        let resent = total(&sidecar, "sessions_resent_total").await;
        check(resent >= 1.0, resent)
    })
    .await;
    sidecar.stop().await;
}

#[tokio::test]
async fn metrics_count_what_waits_in_an_outage_and_what_becomes_of_it() {
    let world = world(|settings| settings).await;
    let sidecar = &world.sidecar;
    let (kept, gone) = (new_session(sidecar).await, new_session(sidecar).await);
    let shown = async |name: &str, least: f64| {
        eventually(name, RECOVERY, async || {
            let value = total(sidecar, name).await;
            check(if least > 0.0 { value >= least } else { value == 0.0 }, value)
        })
        .await;
    };
    world.cut().await;
    for id in [&kept, &gone] {
        sidecar.app.patch(&v1(id), r#"{"a":1}"#).await.expect(202);
    }
    assert_eq!(total(sidecar, "sessions_journaled_total").await, 2.0);
    shown("sessions_outage_state", 2.0).await;
    shown("sessions_journal_depth", 2.0).await;
    shown("sessions_journal_bytes", 100.0).await;
    shown("sessions_journal_age_seconds", 1.0).await;
    world.redis.command::<()>(&["DEL", &format!("hyperpage:session:{gone}")]).await.unwrap();
    world.heal().await;
    assert_eq!(total(sidecar, "sessions_journal_replayed_total").await, 1.0);
    let why = [r#"reason="gone""#];
    assert_eq!(values(sidecar, "sessions_journal_dropped_total", &why).await, [1.0]);
    for name in ["outage_state", "journal_depth", "journal_bytes", "journal_age_seconds"] {
        shown(&format!("sessions_{name}"), 0.0).await;
    }
    world.sidecar.stop().await;
}

/// 2 MB of the last seconds' writes are kept for a Redis that might lose them.
#[tokio::test]
async fn metrics_count_acknowledged_writes_that_are_kept_for_nobody() {
    let (_redis, sidecar) = pair().await;
    let fields = format!(r#"{{"a":"{}"}}"#, "x".repeat(60_000));
    for _ in 0..40 {
        new_v1(&sidecar, &fields).await;
    }
    assert!(total(&sidecar, "sessions_ring_forgotten_total").await >= 1.0);
    sidecar.stop().await;
}

/// Those that a pod has in memory; what another pod has there is that one's to count, and what is deleted nobody's.
#[tokio::test]
async fn metrics_count_sessions_that_expire() {
    let redis = RedisServer::start().await;
    let settings = Settings::redis(redis.url());
    let (one, other) = tokio::join!(Sidecar::start(&settings), Sidecar::start(&settings));
    let ids = [new_session(&one).await, new_session(&one).await, new_session(&one).await];
    for id in &ids {
        let life = ["PEXPIRE", &format!("hyperpage:session:{id}"), "3000"];
        redis.command::<()>(&life).await.unwrap();
    }
    // A read that this news overtakes is answered, and not kept.
    eventually("the pod has heard of the new lives", RECOVERY, async || {
        let kept = total(&one, "sessions_l1_entries").await;
        check(kept == 0.0, kept)
    })
    .await;
    for id in &ids {
        one.app.get(&v1(id)).await.expect(200);
    }
    other.app.get(&v1(&ids[0])).await.expect(200);
    one.app.delete(&v1(&ids[2])).await.expect(204);
    for (sidecar, count) in [(&one, 2.0), (&other, 1.0)] {
        eventually("what has expired is counted", RECOVERY, async || {
            let expired = total(sidecar, "sessions_expired_total").await;
            check(expired == count, expired)
        })
        .await;
        for id in &ids {
            sidecar.app.get(&v1(id)).await.expect(404);
        }
        assert_eq!(total(sidecar, "sessions_expired_total").await, count);
    }
    one.stop().await;
    other.stop().await;
}
