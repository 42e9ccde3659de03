//! The app beside its sidecar: who starts first, who stops last, and what is not in the pod.

use std::process::Command;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::PostParams;
use serde_json::{Value, json};
use tests::cluster::{Cluster, Container, container, done, pids, pod_url};
use tests::eventually::{check, eventually};
use tests::kube::Scene;

use crate::parts::{Kept, ROLLED, demo_app, ready, rolled, script, with};

async fn get(url: &str) -> anyhow::Result<String> {
    let http = reqwest::Client::builder().no_proxy().timeout(ROLLED).build()?;
    Ok(http.get(url).send().await?.error_for_status()?.text().await?)
}

async fn containers_of(scene: &Scene, name: &str, which: &str) -> Vec<(String, Container)> {
    let pods = scene.pods(name, "app").await.unwrap();
    pods.iter().map(|pod| (pod.name_any(), container(pod, which).unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sidecar_is_there_before_the_app_starts_and_after_it_has_stopped() {
    let Some(cluster) = Cluster::shared().await else { return };
    let scene = cluster.scene("t-entry").await;
    let app = with(script(include_str!("entry.js")), "replicas", json!(2));
    ready(&scene, "shop", app).await;
    let kept = Kept::of(&scene, "shop").await;
    // Ten starts, each with one chance: two, and two more for each of four rollouts.
    for _ in 0..4 {
        let before = scene.pods("shop", "app").await.unwrap();
        let mut sessions = Vec::new();
        for pod in &before {
            sessions.push(get(&format!("{}/mine", pod_url(pod).unwrap())).await.unwrap());
        }
        cluster.kubectl(["rollout", "restart", "deployment/shop", "-n", "t-entry"]).unwrap();
        rolled(&cluster, &scene, "shop").await;
        let survivor = pod_url(&scene.pods("shop", "app").await.unwrap()[0]).unwrap();
        for session in &sessions {
            let text = get(&format!("{survivor}{session}")).await.unwrap();
            let session: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(session["last"], "act", "the last act of a stopping app is lost: {text}");
        }
        for (pod, app) in containers_of(&scene, "shop", "app").await {
            assert_eq!(app.restarts, 0, "the app of {pod} found no sidecar");
        }
    }
    kept.check(&scene, "shop").await;
    done(scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_sidecar_comes_back_and_the_app_does_not_notice() {
    let Some(cluster) = Cluster::shared().await else { return };
    let scene = cluster.scene("t-kill").await;
    ready(&scene, "shop", with(demo_app(), "replicas", json!(1))).await;
    let (pod, sidecar) = containers_of(&scene, "shop", "sidecar").await.remove(0);
    let (_, app) = containers_of(&scene, "shop", "app").await.remove(0);
    for pid in pids(&sidecar).unwrap() {
        assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
    }
    eventually("the sidecar runs again", ROLLED, async || {
        let seen = container(&scene.api::<Pod>().get(&pod).await.unwrap(), "sidecar").unwrap();
        check(seen.restarts == 1 && seen.id != sidecar.id && pids(&seen).is_ok(), seen)
    })
    .await;
    let url = pod_url(&scene.api::<Pod>().get(&pod).await.unwrap()).unwrap();
    eventually("the app serves sessions again", ROLLED, async || get(&format!("{url}/visit")).await).await;
    let now = container(&scene.api::<Pod>().get(&pod).await.unwrap(), "app").unwrap();
    assert_eq!(now, app, "the app was restarted too");
    done(scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn app_pods_are_restricted_and_hold_no_token() {
    let Some(cluster) = Cluster::shared().await else { return };
    let scene = cluster.scene("t-token").await;
    ready(&scene, "shop", with(demo_app(), "replicas", json!(1))).await;
    // The namespace does refuse what is not restricted.
    let lax = serde_json::from_value(json!({
        "metadata": {"name": "lax"}, "spec": {"containers": [{"name": "a", "image": "localhost/pause:1"}]},
    }));
    let refused = scene.api::<Pod>().create(&PostParams::default(), &lax.unwrap()).await.unwrap_err();
    assert!(refused.to_string().contains("PodSecurity"), "{refused}");

    for component in ["app", "redis"] {
        for pod in scene.pods("shop", component).await.unwrap() {
            let spec = pod.spec.clone().unwrap();
            assert_eq!(spec.automount_service_account_token, Some(false), "{}", pod.name_any());
            let text = serde_json::to_string(&spec).unwrap();
            assert!(!text.contains("serviceaccount") && !text.contains("kube-api-access"), "{text}");
        }
    }
    let pod = scene.pods("shop", "app").await.unwrap().remove(0).name_any();
    let exists = "console.log(require('fs').existsSync('/var/run/secrets/kubernetes.io'))";
    let exec = ["exec", "-n", "t-token", &pod, "-c", "app", "--", "node", "-e", exists];
    assert_eq!(cluster.kubectl(exec).unwrap().trim(), "false");
    done(scene).await;
}
