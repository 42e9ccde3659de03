//! NetworkPolicies as nodes enforce them: who reaches which port, tried by pods that are there for nothing else.

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use tests::cluster::{Cluster, containers, done};
use tests::eventually::eventually;
use tests::kube::Scene;

use crate::parts::{ROLLED, Visitor, demo_app, image, ready, small, with};

const NEAR: &str = "t-policy";
const FAR: &str = "t-policy-far";

/// Prints which of `HOST:PORT …` accept a connection, in their order: `open closed`.
const KNOCK: &str = "Promise.all(process.argv.slice(1).map((it) => new Promise((resolve) => {
  const [host, port] = it.split(':'), socket = require('net').connect({host, port, timeout: 1500});
  const end = (word) => { socket.destroy(); resolve(word); };
  socket.on('connect', () => end('open')).on('error', () => end('closed')).on('timeout', () => end('closed'));
}))).then((words) => console.log(words.join(' ')))";

/// A pod that waits to be told to knock.
async fn visitor(scene: &Scene, name: &str) {
    let pod = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"role": name}},
        "spec": {
            "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "visitor", "image": image(), "command": ["node", "-e", "setInterval(() => {}, 1e6)"],
                "resources": small(),
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    }));
    scene.api::<Pod>().create(&PostParams::default(), &pod.unwrap()).await.unwrap();
    eventually(&format!("{name} runs"), ROLLED, async || {
        let pod = scene.api::<Pod>().get(name).await?;
        let phase = pod.status.and_then(|status| status.phase);
        anyhow::ensure!(phase.as_deref() == Some("Running"), "{phase:?}");
        anyhow::Ok(())
    })
    .await;
}

/// The ports of the app, of metrics and of Redis, by address.
async fn doors(scene: &Scene) -> anyhow::Result<Vec<String>> {
    let ip = async |component: &str| {
        let pod = scene.pods("shop", component).await?.remove(0);
        pod.status.and_then(|status| status.pod_ip).ok_or_else(|| anyhow::anyhow!("no address"))
    };
    let (app, redis) = (ip("app").await?, ip("redis").await?);
    Ok(vec![format!("{app}:3000"), format!("{app}:4101"), format!("{redis}:6379")])
}

/// Waits until each visitor, `NAMESPACE/POD`, sees these doors open or closed.
async fn sees(cluster: &Cluster, scene: &Scene, expected: &[(&str, &str)]) {
    let doors = doors(scene).await.unwrap();
    for (visitor, want) in expected {
        let (namespace, pod) = visitor.split_once('/').unwrap();
        let knock = ["exec", "-n", namespace, pod, "--", "node", "-e", KNOCK, "--"];
        eventually(&format!("{visitor} sees app, metrics, Redis: {want}"), ROLLED, async || {
            let seen = cluster.kubectl(knock.into_iter().chain(doors.iter().map(String::as_str)))?;
            anyhow::ensure!(seen.trim() == *want, "{}", seen.trim());
            anyhow::Ok(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_reach_neither_redis_nor_metrics_and_the_app_as_the_spec_says() {
    let Some(cluster) = Cluster::shared().await else { return };
    let (scene, far) = (cluster.scene(NEAR).await, cluster.scene(FAR).await);
    let app = |policy| with(with(demo_app(), "replicas", json!(1)), "networkPolicy", policy);
    ready(&scene, "shop", app(json!({"enabled": false}))).await;
    visitor(&scene, "front").await;
    visitor(&scene, "other").await;
    visitor(&far, "stranger").await;
    let (front, other, stranger) = ("t-policy/front", "t-policy/other", "t-policy-far/stranger");
    // Without policies every door is open, so that one found closed was closed by them.
    sees(&cluster, &scene, &[(other, "open open open"), (stranger, "open open open")]).await;

    ready(&scene, "shop", with(demo_app(), "replicas", json!(1))).await;
    sees(&cluster, &scene, &[(other, "open open closed"), (stranger, "open closed closed")]).await;
    // The app reaches its own Redis.
    assert_eq!(Visitor::of(&scene, "shop").await.unwrap().visit().await.unwrap().visits, 1);
    let monitored = json!({"metadata": {"labels": {"hyperpage.dev/metrics": "true"}}});
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    namespaces.patch(FAR, &PatchParams::default(), &Patch::Merge(&monitored)).await.unwrap();
    sees(&cluster, &scene, &[(stranger, "open open closed")]).await;

    let labels = |key: &str, value: &str| json!({"matchLabels": {key: value}});
    let chosen = json!({
        "appFrom": [{"podSelector": labels("role", "front")}],
        "metricsFrom": [{"namespaceSelector": labels("kubernetes.io/metadata.name", FAR)}],
    });
    ready(&scene, "shop", app(chosen)).await;
    let chosen =
        [(front, "open closed closed"), (other, "closed closed closed"), (stranger, "closed open closed")];
    sees(&cluster, &scene, &chosen).await;

    // The kubelet's probes came through all the while.
    for component in ["app", "redis"] {
        for pod in scene.pods("shop", component).await.unwrap() {
            assert!(containers(&pod).iter().all(|it| it.restarts == 0), "{:?}", containers(&pod));
        }
    }
    scene.wait("shop", "Ready", "True", ROLLED).await;
    done(far).await;
    done(scene).await;
}
