//! `/metrics`: there, parseable, counting what happened, and without anybody's id in it. The log: JSON, line by line.

use std::time::Duration;

use serde_json::Value;
use tests::eventually::{check, eventually};
use tests::http::Request;
use tests::sidecar::Sidecar;

use crate::common::{PROMPT, new_session, pair, pair_with};

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

/// What writers of one session do to each other.
#[tokio::test]
async fn metrics_count_combined_resent_and_refused_writes() {
    let (redis, sidecar) = pair_with(|settings| settings.env("HYPERPAGE_MAX_REQUESTS", "1000")).await;
    let id = new_session(&sidecar).await;
    let path = format!("/v1/sessions/{id}");
    let writes = |count: usize| {
        let writes = (0..count).map(|number| sidecar.app.patch(&path, format!(r#"{{"n":{number}}}"#)));
        futures::future::join_all(writes)
    };
    for answer in writes(50).await {
        answer.expect(200);
    }
    assert!(total(&sidecar, "sessions_combined_total").await >= 1.0);
    assert_eq!(total(&sidecar, "sessions_updated_total").await, 50.0);
    redis.hang();
    let crowd = writes(700).await;
    redis.resume();
    for answer in crowd {
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.header("retry-after").is_some() && answer.elapsed < PROMPT, "{answer:?}");
    }
    // At most 512 wait, and 64 are being written.
    let turned_away = total(&sidecar, "sessions_turned_away_total").await;
    assert!(turned_away >= 1.0, "{turned_away} turned away");
    sidecar.stop().await;
    let (redis, sidecar) = pair().await;
    let id = new_session(&sidecar).await;
    let path = format!("/v1/sessions/{id}/touch");
    redis.hang();
    sidecar.app.send(Request::new("POST", path)).await.expect(503);
    assert!(total(&sidecar, "sessions_resent_total").await >= 1.0);
    redis.resume();
    sidecar.stop().await;
}
