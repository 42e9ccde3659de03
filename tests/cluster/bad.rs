//! Hyperpages that cannot work say why on real nodes, and do not keep the others from it.

use serde_json::json;
use tests::cluster::{Cluster, done};

use crate::parts::{ROLLED, demo_app, message, ready, with};

#[tokio::test(flavor = "multi_thread")]
async fn broken_hyperpages_name_field_and_reason_and_others_go_on() {
    let Some(cluster) = Cluster::shared().await else { return };
    let scene = cluster.scene("t-bad").await;
    let one = |spec| with(spec, "replicas", json!(1));
    let mut unpulled = one(demo_app());
    unpulled["app"]["image"] = json!("localhost/nobody-built-this:1");
    let mut keyless = one(demo_app());
    keyless["app"]["env"] =
        json!([{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "no-such-secret", "key": "k"}}}]);
    scene.apply("unpulled", unpulled).await.unwrap();
    scene.apply("keyless", keyless.clone()).await.unwrap();
    let refused =
        scene.apply("huge", with(demo_app(), "replicas", json!(1001))).await.unwrap_err().to_string();
    assert!(refused.contains("spec.replicas") && refused.contains("1000"), "{refused}");
    ready(&scene, "good", one(demo_app())).await;

    let said = message(&scene, "unpulled", "AppReady", "ImagePullFailed").await;
    println!("unpulled: {said}");
    assert!(said.contains("localhost/nobody-built-this:1") && said.contains("app"), "{said}");
    let said = message(&scene, "keyless", "AppReady", "ContainerConfigError").await;
    println!("keyless: {said}");
    assert!(said.contains("no-such-secret") && said.contains("app"), "{said}");
    // Mended, it works; the message goes.
    keyless["app"]["env"] = json!([]);
    ready(&scene, "keyless", keyless).await;
    ready(&scene, "unpulled", one(demo_app())).await;
    done(scene).await;
}

/// What a namespace refuses is said by the ReplicaSet alone, and must reach the Hyperpage.
#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_is_exceeded_is_named_and_room_heals_it() {
    let Some(cluster) = Cluster::shared().await else { return };
    let scene = cluster.scene("t-quota").await;
    let quota = |pods: &str| {
        format!(
            "{{apiVersion: v1, kind: ResourceQuota, metadata: {{name: few}}, spec: {{hard: {{pods: '{pods}'}}}}}}"
        )
    };
    cluster.apply("t-quota", &quota("2")).unwrap();
    scene.apply("shop", with(demo_app(), "replicas", json!(3))).await.unwrap();
    let said = message(&scene, "shop", "AppReady", "QuotaExceeded").await;
    println!("over quota: {said}");
    assert!(said.contains("exceeded quota: few"), "{said}");
    cluster.apply("t-quota", &quota("9")).unwrap();
    scene.wait("shop", "Ready", "True", ROLLED).await;
    done(scene).await;
}

/// A Hyperpage cannot ask for such a pod; whoever changes its Deployment can.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_pod_security_refuses_is_named_and_the_old_one_serves_on() {
    let Some(cluster) = Cluster::shared().await else { return };
    let scene = cluster.scene("t-refused").await;
    ready(&scene, "shop", with(demo_app(), "replicas", json!(1))).await;
    let pod = scene.pods("shop", "app").await.unwrap().remove(0);
    let patch = |value: &str| {
        let patch = format!("{{\"spec\":{{\"template\":{{\"spec\":{{\"hostPID\":{value}}}}}}}}}");
        cluster.kubectl(["patch", "deployment", "shop", "-n", "t-refused", "-p", &patch]).unwrap();
    };
    patch("true");
    let said = message(&scene, "shop", "AppReady", "PodsRefused").await;
    println!("refused: {said}");
    assert!(said.contains("violates PodSecurity") && said.contains("hostPID"), "{said}");
    let left = scene.pods("shop", "app").await.unwrap();
    assert_eq!((left.len(), &left[0].metadata.uid), (1, &pod.metadata.uid));
    patch("null");
    scene.wait("shop", "AppReady", "True", ROLLED).await;
    done(scene).await;
}
