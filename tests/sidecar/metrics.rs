//! `/metrics`: there, parseable, counting what happened, and without anybody's id in it.

use tests::http::Request;
use tests::sidecar::Sidecar;

use crate::common::{new_session, pair};

/// The sum over all series whose name ends so.
async fn total(sidecar: &Sidecar, name: &str) -> f64 {
    let text = sidecar.admin.get("/metrics").await.expect(200).body;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let of_name = |line: &&str| line.split(['{', ' ']).next().is_some_and(|series| series.ends_with(name));
    lines.filter(of_name).map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
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
    assert!(total(&sidecar, "requests_total").await >= 4.0);
    assert_eq!(total(&sidecar, "redis_connections").await, 1.0);
    redis.kill();
    sidecar.app.get(&path).await.expect(503);
    assert!(total(&sidecar, "sessions_errors_total").await >= 1.0);
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
