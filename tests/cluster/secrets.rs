//! The password, in a running cluster: where it may be read, and everywhere else.

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use serde_json::json;
use tests::cluster::{Cluster, containers, done, is_ready, logs, password, proc_texts};
use tests::eventually::eventually;
use tests::kube::Scene;
use tests::leaks::leaks;

use crate::fleet::keys;
use crate::parts::{Kept, ROLLED, demo_app, ready, rolled, with};

/// Arguments of every process of the namespace, and the environment of every container but the app, which alone
/// gets the complete REDIS_URL, and of Redis, whose probes log in by theirs.
async fn processes(scene: &Scene) -> Result<Vec<(String, String)>> {
    let mut texts = Vec::new();
    for pod in scene.api::<Pod>().list(&ListParams::default()).await?.items {
        for container in containers(&pod) {
            let at = format!("{}/{}", pod.metadata.name.clone().unwrap_or_default(), container.name);
            texts.push((format!("arguments of {at}"), proc_texts(&container, "cmdline")?.join("\n")));
            if container.name == "sidecar" {
                texts.push((format!("environment of {at}"), proc_texts(&container, "environ")?.join("\n")));
            }
        }
    }
    Ok(texts)
}

async fn exposed(cluster: &Cluster, scene: &Scene) -> Result<Vec<(String, String)>> {
    let mut texts = logs(scene).await?;
    texts.extend(logs(&Scene { namespace: "hyperpage-system".to_owned(), ..scene.clone() }).await?);
    texts.extend(processes(scene).await?);
    let kinds = "hyperpages,deployments,statefulsets,replicasets,configmaps,services,serviceaccounts,pods,events,\
        events.events.k8s.io,horizontalpodautoscalers,poddisruptionbudgets,networkpolicies,persistentvolumeclaims";
    for kind in kinds.split(',') {
        let all = ["get", kind, "-n", &scene.namespace, "-o", "json", "--show-managed-fields"];
        texts.push((kind.to_owned(), cluster.kubectl(all)?));
    }
    texts.push((
        "audit log".to_owned(),
        std::fs::read_to_string(tests::binaries::workspace().join("target/cluster/audit.log"))?,
    ));
    Ok(texts)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_is_in_no_log_event_argument_status_or_environment_of_the_sidecar() {
    let Some(cluster) = Cluster::shared().await else { return };
    let scene = cluster.scene("t-secrets").await;
    ready(&scene, "shop", with(demo_app(), "replicas", json!(2))).await;
    let kept = Kept::of(&scene, "shop").await;
    // The loudest it can be, and past a restart.
    let loud = with(with(demo_app(), "replicas", json!(2)), "sidecar", json!({"logLevel": "trace"}));
    ready(&scene, "shop", loud).await;
    rolled(&cluster, &scene, "shop").await;
    let redis = async || scene.api::<Pod>().get("shop-hp-redis-0").await;
    let old = redis().await.unwrap().metadata.uid;
    cluster.kubectl(["delete", "pod", "shop-hp-redis-0", "-n", "t-secrets", "--wait=true"]).unwrap();
    // What the Hyperpage says of it may be of the old one still.
    eventually("another Redis serves", ROLLED, async || {
        let pod = redis().await?;
        anyhow::ensure!(pod.metadata.uid != old && is_ready(&pod), "{:?}", pod.status);
        anyhow::Ok(())
    })
    .await;
    scene.wait("shop", "Ready", "True", ROLLED).await;

    let (_, data) = password(&scene, "shop").await.unwrap();
    let secret = &data["password"];
    let mut texts = exposed(&cluster, &scene).await.unwrap();
    assert!(texts.iter().any(|(name, text)| name.starts_with("environment of") && text.contains("POD_NAME")));
    assert!(
        texts
            .iter()
            .any(|(name, text)| name.starts_with("log of") && name.ends_with("sidecar") && !text.is_empty())
    );
    assert_eq!(leaks(secret, &texts), Vec::<&str>::new());
    for bus in keys(&scene).await {
        let key = bus.split_once(' ').expect("an id and a key").1;
        assert_eq!(leaks(key, &texts), Vec::<&str>::new());
    }
    // The app's environment does hold it, and the same checker sees it there.
    let app = scene.pods("shop", "app").await.unwrap().remove(0);
    let app = tests::cluster::container(&app, "app").unwrap();
    texts.push(("the app".to_owned(), proc_texts(&app, "environ").unwrap().join("\n")));
    assert_eq!(leaks(secret, &texts), ["the app"]);
    kept.check(&scene, "shop").await;
    done(scene).await;
}
