//! What a person finds after `make up`.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use tests::cluster::Cluster;
use tests::eventually::eventually;

use crate::parts::{Kept, ROLLED, Visitor};

#[tokio::test(flavor = "multi_thread")]
async fn what_make_up_leaves_counts_one_visitor_on_three_pods_and_past_the_death_of_one() {
    let Some(cluster) = Cluster::shared().await else { return };
    let demo = cluster.demo();
    let kept = Kept::of(&demo, "shop").await;
    for condition in ["Ready", "AppReady", "RedisReady", "AutoscalingReady"] {
        demo.wait("shop", condition, "True", ROLLED).await;
    }
    let app = demo.hyperpages().get("shop").await.unwrap().data["status"]["app"].clone();
    assert_eq!(app, "3/3");

    let mut visitor = Visitor::of(&demo, "shop").await.unwrap();
    let mut pods = BTreeSet::new();
    let mut last = visitor.visit().await.unwrap();
    assert_eq!(last.visits, 1);
    pods.insert(last.pod.clone());
    for _ in 1..30 {
        last = visitor.visit().await.unwrap();
        pods.insert(last.pod.clone());
    }
    println!("30 requests: {} pods, {} visits", pods.len(), last.visits);
    assert_eq!((pods.len(), last.visits), (3, 30), "{pods:?}");

    let doomed = demo.api::<Pod>().get(&last.pod).await.unwrap();
    demo.delete::<Pod>(&last.pod).await.unwrap();
    let uid = doomed.uid();
    eventually("the pod that wrote last is gone", ROLLED, async || {
        let now = demo.api::<Pod>().get_opt(&last.pod).await?;
        anyhow::ensure!(now.and_then(|pod| pod.uid()) != uid, "still there");
        anyhow::Ok(())
    })
    .await;
    let after = visitor.visit().await.unwrap();
    assert_eq!((after.visits, &after.session_id), (31, &last.session_id));
    assert_ne!(after.pod, last.pod);
    demo.wait("shop", "Ready", "True", ROLLED).await;
    kept.check(&demo, "shop").await;
}
