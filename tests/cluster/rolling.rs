//! A new version under load: nobody notices.

use serde_json::json;
use tests::cluster::{Cluster, service_url};
use tests::load::Load;
use tokio::net::TcpListener;

use crate::parts::{Kept, Visitor, demo_app, ready, rolled, with};

const PER_SECOND: u32 = 110;

#[tokio::test(flavor = "multi_thread")]
async fn rolling_the_app_under_load_loses_no_request() {
    let Some(cluster) = Cluster::alone().await else { return };
    let scene = cluster.scene("t-roll").await;
    ready(&scene, "shop", demo_app()).await;
    let kept = Kept::of(&scene, "shop").await;
    let mut visitor = Visitor::of(&scene, "shop").await.unwrap();
    visitor.visit().await.unwrap();
    let url = format!("{}/session", service_url(&scene, "shop").await.unwrap());
    let load = Load::start(url, visitor.cookie(), PER_SECOND).unwrap();
    let mut spec = demo_app();
    spec["app"]["env"] = json!([{"name": "VERSION", "value": "2"}]);
    scene.apply("shop", with(spec, "replicas", json!(3))).await.unwrap();
    scene.wait("shop", "Ready", "True", crate::parts::ROLLED).await;
    rolled(&cluster, &scene, "shop").await;
    // The way a person does it, too.
    cluster.kubectl(["rollout", "restart", "deployment/shop", "-n", "t-roll"]).unwrap();
    rolled(&cluster, &scene, "shop").await;
    let tally = load.end().await.unwrap();
    let (sent, seconds) = (tally.sent, tally.elapsed.as_secs_f64());
    println!("rolled twice: {sent} requests in {seconds:.0} s, {} bad", tally.bad.len());
    tally.ensure_clean(2_000, 100.0).unwrap();
    kept.check(&scene, "shop").await;
    cluster.leave(scene).await;
}

/// The count of failures is not zero because nobody counts.
#[tokio::test]
async fn a_server_that_resets_connections_is_caught() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/session", listener.local_addr().unwrap());
    let load = Load::start(url, String::new(), PER_SECOND).unwrap();
    for _ in 0..20 {
        drop(listener.accept().await.unwrap());
    }
    drop(listener);
    let tally = load.end().await.unwrap();
    assert!(tally.bad.len() >= 20, "{tally:?}");
    assert!(tally.ensure_clean(1, 1.0).is_err());
}
