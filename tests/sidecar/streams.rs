//! Answers that last.

use std::time::Duration;

use tests::events::{Events, Next};
use tests::eventually::{check, eventually};
use tests::sidecar::Sidecar;

use crate::common::{PROMPT, pair, pair_with};
use crate::metrics::total;

/// As many as there is room for.
const PLACES: usize = 128;

async fn listen(sidecar: &Sidecar) -> Events {
    let mut events = Events::open(sidecar.app_address, "/v1/events", None).await;
    events.expect(&["hello"], PROMPT).await;
    events
}

#[tokio::test]
async fn streams_say_who_speaks_are_kept_alive_and_end_when_the_sidecar_does() {
    let (_redis, sidecar) = pair_with(|settings| settings.env("POD_NAME", "pod-a")).await;
    let mut events = Events::open(sidecar.app_address, "/v1/events", None).await;
    assert_eq!(events.expect(&["hello"], PROMPT).await.json()["pod"], "pod-a");
    assert_eq!(total(&sidecar, "hyperpage_http_streams").await, 1.0);
    while events.comments < 2 {
        assert!(!matches!(events.next(Duration::from_millis(100)).await, Next::End));
    }
    sidecar.terminate();
    let end = async { while events.next(PROMPT).await != Next::End {} };
    tests::lived::timeout(PROMPT, end).await.expect("the stream ends when the process is told to");
    assert_eq!(sidecar.exit(PROMPT).await, 0, "{}", sidecar.logs());
    sidecar.assert_no_panic();
}

#[tokio::test]
async fn there_is_room_for_so_many_streams_and_for_requests_beside_them() {
    let (_redis, sidecar) = pair().await;
    let mut all = Vec::new();
    for _ in 0..PLACES {
        all.push(listen(&sidecar).await);
    }
    let refused = sidecar.app.get("/v1/events").await.expect(503);
    assert_eq!((refused.code().as_str(), refused.header("retry-after")), ("TOO_MANY_STREAMS", Some("1")));
    assert!(refused.elapsed < PROMPT, "{refused:?}");
    assert_eq!(total(&sidecar, "hyperpage_http_overloads_total").await, 1.0);
    sidecar.app.get("/v1/sessions/x").await.expect(404);
    // Whoever goes makes room, although nothing is said on his stream.
    all.truncate(1);
    eventually("the places are free", 4 * PROMPT, async || {
        let open = total(&sidecar, "hyperpage_http_streams").await;
        check(open == 1.0, open)
    })
    .await;
    listen(&sidecar).await;
    sidecar.stop().await;
}

#[tokio::test]
async fn without_coordination_its_paths_are_404_and_say_why() {
    let (_redis, sidecar) = pair_with(|settings| settings.env("POD_COORDINATION_ENABLED", "false")).await;
    let absent = sidecar.app.get("/v1/events").await.expect(404);
    assert_eq!(absent.code(), "COORDINATION_DISABLED");
    sidecar.stop().await;
}
