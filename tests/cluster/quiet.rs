//! A settled operator asks for nothing.

use std::time::Duration;

use serde_json::json;
use tests::audit::unquiet;
use tests::cluster::{Cluster, done};
use tests::eventually::eventually;
use tests::installation::OPERATOR;

use crate::parts::{ROLLED, demo_app, with};

const REST: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn three_hyperpages_at_rest_cause_no_request() {
    let Some(cluster) = Cluster::at_rest().await else { return };
    let scene = cluster.scene("t-quiet").await;
    let one = || with(demo_app(), "replicas", json!(1));
    let autoscaling = json!({"minReplicas": 1, "maxReplicas": 2, "targetCPUUtilizationPercentage": 80});
    for (name, spec) in [("a", one()), ("b", one()), ("c", with(one(), "autoscaling", autoscaling))] {
        scene.apply(name, spec).await.unwrap();
    }
    for name in ["a", "b", "c"] {
        scene.wait(name, "Ready", "True", ROLLED).await;
    }
    let audit = cluster.audit();
    eventually("the operator has settled", ROLLED, async || {
        let busy = unquiet(&audit.during(Duration::from_secs(3), OPERATOR).await?);
        anyhow::ensure!(busy.is_empty(), "{busy:?}");
        anyhow::Ok(())
    })
    .await;
    let seen = audit.during(REST, OPERATOR).await.unwrap();
    println!("60 s at rest: {} requests by the operator, all watches and its lease", seen.len());
    assert_eq!(unquiet(&seen), Vec::<String>::new());
    // The lease is renewed, so the log is alive and the name is right.
    assert!(seen.iter().any(|entry| entry.object_ref.resource == "leases"), "not one request for the lease");
    done(scene).await;
}
