//! Redis' data on volumes of real nodes, and a Redis that could not start.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};
use tests::cluster::{Cluster, done, free_volumes};
use tests::eventually::eventually;
use tests::kube::Scene;

use crate::parts::{ROLLED, Visitor, demo_app, message, ready, with};

const CLAIM: &str = "data-shop-hp-redis-0";

fn kept(retention: &str) -> Value {
    let mut spec = with(demo_app(), "replicas", json!(1));
    spec["redis"]["storage"] =
        json!({"size": "1Gi", "storageClassName": "local", "retentionPolicy": retention});
    spec
}

async fn claim(scene: &Scene) -> Option<PersistentVolumeClaim> {
    scene.api::<PersistentVolumeClaim>().get_opt(CLAIM).await.unwrap()
}

async fn delete(scene: &Scene) {
    scene.hyperpages().delete("shop", &DeleteParams::default()).await.unwrap();
    // The last to go, too: a Service without ready pods leads to those that still drain, and they have no Redis.
    eventually("nothing runs", ROLLED, async || {
        let left = scene.api::<Pod>().list(&ListParams::default()).await?.items;
        let left: Vec<_> = left.iter().map(ResourceExt::name_any).collect();
        anyhow::ensure!(left.is_empty(), "{left:?}");
        anyhow::Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_survive_their_hyperpage_with_retain_and_go_with_delete() {
    let Some(cluster) = Cluster::shared().await else { return };
    let scene = cluster.scene("t-storage").await;
    ready(&scene, "shop", kept("Retain")).await;
    let mut visitor = Visitor::of(&scene, "shop").await.unwrap();
    let first = visitor.visit().await.unwrap();
    let uid = claim(&scene).await.unwrap().uid();
    delete(&scene).await;
    assert_eq!(claim(&scene).await.expect("the claim is retained").uid(), uid);

    ready(&scene, "shop", kept("Retain")).await;
    let mut again = Visitor::of(&scene, "shop").await.unwrap();
    again.session = visitor.session;
    let second = again.visit().await.unwrap();
    assert_eq!((second.visits, second.session_id), (2, first.session_id), "the session is another one");
    assert_eq!(claim(&scene).await.unwrap().uid(), uid);

    ready(&scene, "shop", kept("Delete")).await;
    eventually("Kubernetes has taken note that the claim goes with the StatefulSet", ROLLED, async || {
        let claim = claim(&scene).await.expect("the claim is there");
        anyhow::ensure!(!claim.owner_references().is_empty(), "{claim:?}");
        anyhow::Ok(())
    })
    .await;
    delete(&scene).await;
    eventually("the claim goes with the Hyperpage", ROLLED, async || {
        let left = claim(&scene).await;
        anyhow::ensure!(left.is_none(), "{left:?}");
        anyhow::Ok(())
    })
    .await;
    free_volumes(&cluster.client, "t-storage").await.unwrap();
    done(scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_image_of_redis_heals_once_it_is_corrected() {
    let Some(cluster) = Cluster::shared().await else { return };
    let scene = cluster.scene("t-redis-image").await;
    let image = |name: Value| {
        let mut spec = with(demo_app(), "replicas", json!(1));
        spec["redis"]["image"] = name;
        spec
    };
    scene.apply("shop", image(json!("localhost/nobody-built-this:7"))).await.unwrap();
    let said = message(&scene, "shop", "RedisReady", "ImagePullFailed").await;
    println!("redis: {said}");
    assert!(said.contains("localhost/nobody-built-this:7"), "{said}");
    ready(&scene, "shop", image(json!("localhost/redis:7"))).await;
    // A good one that becomes bad, too.
    scene.apply("shop", image(json!("localhost/nobody-built-this:8"))).await.unwrap();
    message(&scene, "shop", "RedisReady", "ImagePullFailed").await;
    ready(&scene, "shop", image(json!("localhost/redis:7"))).await;
    done(scene).await;
}
