//! The operator comes, changes, goes and comes back; what it made serves all the while.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use kube::ResourceExt;
use serde_json::{Value, json};
use tests::binaries::{output, workspace};
use tests::cluster::{Cluster, container, pids, service_url};
use tests::eventually::eventually;
use tests::kube::Scene;
use tests::load::Load;
use tests::readme::{run, section};
use tests::scratch::Scratch;

use crate::parts::{IMAGE, Kept, ROLLED, Visitor, demo_app, image, ready, with};
use crate::readme::look;

const SYSTEM: &str = "hyperpage-system";
const CRD: &str = "hyperpages.hyperpage.dev";
const CHART: &str = "charts/hyperpage-operator";
const TAKEN_OVER: Duration = Duration::from_secs(40);

fn helm(cluster: &Cluster, args: &[&str]) -> String {
    cluster.helm(args).unwrap_or_else(|error| panic!("helm {args:?}: {error}"))
}

/// What a release after this one could bring: a field more, and its documentation.
fn next_chart(dir: &Scratch) -> String {
    let next = dir.path().join("chart");
    output(Command::new("cp").arg("-rL").arg(workspace().join(CHART)).arg(&next)).unwrap();
    let file = next.join(format!("files/{CRD}.yaml"));
    let mut crd: Value = serde_yaml::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    let fields = crd.pointer_mut(spec).unwrap().as_object_mut().unwrap();
    fields.insert("novelty".to_owned(), json!({"type": "string", "maxLength": 8, "description": "New."}));
    std::fs::write(&file, crd.to_string()).unwrap();
    next.to_string_lossy().into_owned()
}

async fn uids(scene: &Scene) -> BTreeSet<String> {
    let mut uids = BTreeSet::new();
    for component in ["app", "redis"] {
        uids.extend(scene.pods("shop", component).await.unwrap().iter().filter_map(ResourceExt::uid));
    }
    assert!(uids.len() > 1, "{uids:?}");
    uids
}

/// A change of the spec is acted upon, by an operator of now.
async fn works(scene: &Scene, replicas: usize) {
    ready(scene, "shop", with(demo_app(), "replicas", json!(replicas))).await;
    eventually("as many pods as the spec says", ROLLED, async || {
        let pods = scene.pods("shop", "app").await?.len();
        anyhow::ensure!(pods == replicas, "{pods}");
        anyhow::Ok(())
    })
    .await;
}

fn novelty(cluster: &Cluster) -> bool {
    cluster.kubectl(["get", "crd", CRD, "-o", "json"]).unwrap().contains("novelty")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chart_is_upgraded_with_a_new_definition_removed_and_installed_again_under_load() {
    let Some(cluster) = Cluster::alone().await else { return };
    let (scene, dir) = (cluster.scene("t-chart").await, Scratch::new("chart"));
    works(&scene, 2).await;
    let (kept, pods) = (Kept::of(&scene, "shop").await, uids(&scene).await);
    let hyperpage = scene.hyperpages().get("shop").await.unwrap().uid();
    let values = dir
        .write("values.json", &helm(&cluster, &["get", "values", "hyperpage", "-n", SYSTEM, "-o", "json"]));
    let mut visitor = Visitor::of(&scene, "shop").await.unwrap();
    visitor.visit().await.unwrap();
    let url = format!("{}/session", service_url(&scene, "shop").await.unwrap());
    let load = Load::start(url, visitor.cookie(), 30).unwrap();

    let next = next_chart(&dir);
    assert!(!novelty(&cluster), "an earlier run has left its definition");
    let images = ["--set=sidecarImage=localhost/hyperpage-sidecar:next,redisImage=localhost/redis:next"];
    let upgrade = ["upgrade", "hyperpage", &next, "-n", SYSTEM, "--reuse-values", "--wait", "--timeout=2m"];
    helm(&cluster, &[&upgrade[..], &images[..]].concat());
    assert!(novelty(&cluster), "helm upgrade has not changed the definition");
    eventually("status knows of newer images", ROLLED, async || {
        let status = scene.hyperpages().get("shop").await?.data["status"].clone();
        let known = ["sidecar", "redis"].map(|part| status[part]["updateAvailable"].clone());
        anyhow::ensure!(known == ["localhost/hyperpage-sidecar:next", "localhost/redis:next"], "{status}");
        anyhow::Ok(())
    })
    .await;
    assert_eq!(uids(&scene).await, pods, "new default images restarted pods");

    run(&[&look(), &section("Remove")[0]], &[]).unwrap();
    eventually("nothing of the operator is left", ROLLED, async || {
        let kinds = "deployments,pods,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings";
        let selector = "app.kubernetes.io/name=hyperpage-operator";
        let left = cluster.kubectl(["get", kinds, "-n", SYSTEM, "-l", selector, "-o", "name"])?;
        anyhow::ensure!(left.is_empty(), "{left}");
        anyhow::Ok(())
    })
    .await;
    assert!(novelty(&cluster), "the definition is gone, and every Hyperpage with it");
    assert_eq!(uids(&scene).await, pods, "helm uninstall restarted pods");

    let values = values.to_string_lossy();
    let chart = workspace().join(CHART);
    let (chart, again) = (chart.to_string_lossy(), ["-n", SYSTEM, "--wait", "--timeout=2m", "-f", &values]);
    helm(&cluster, &[&["install", "hyperpage", &chart], &again[..]].concat());
    assert!(!novelty(&cluster), "helm install has not taken over the definition");
    assert_eq!(scene.hyperpages().get("shop").await.unwrap().uid(), hyperpage);
    works(&scene, 3).await;
    assert!(uids(&scene).await.is_superset(&pods), "pods were restarted");
    let tally = load.end().await.unwrap();
    let seconds = tally.elapsed.as_secs_f64();
    println!(
        "upgraded, removed, installed: {} requests in {seconds:.0} s, {} bad",
        tally.sent,
        tally.bad.len()
    );
    tally.ensure_clean(300, 25.0).unwrap();
    kept.check(&scene, "shop").await;
    cluster.leave(scene).await;
}

fn leader(cluster: &Cluster) -> String {
    let path = "jsonpath={.spec.holderIdentity}";
    cluster.kubectl(["get", "lease", "hyperpage-operator", "-n", SYSTEM, "-o", path]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_replica_takes_over_from_a_leader_whose_pod_is_lost() {
    let Some(cluster) = Cluster::alone().await else { return };
    let scene = cluster.scene("t-leader").await;
    let system = Scene { namespace: SYSTEM.to_owned(), ..scene.clone() };
    works(&scene, 1).await;
    let before = leader(&cluster);
    let pod = system.api::<k8s_openapi::api::core::v1::Pod>().get(&before).await.unwrap();
    // Killed, not told: it cannot give the Lease back; and removed, or the same name would hold it again.
    for pid in pids(&container(&pod, "operator").unwrap()).unwrap() {
        assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
    }
    let killed = Instant::now();
    cluster.kubectl(["delete", "pod", &before, "-n", SYSTEM, "--grace-period=0", "--force"]).unwrap();
    let after = eventually("another replica leads", TAKEN_OVER, async || {
        let now = leader(&cluster);
        if now != before && !now.is_empty() { Ok(now) } else { Err(now) }
    })
    .await;
    println!("leader killed: {after} leads after {:.1} s", killed.elapsed().as_secs_f32());
    works(&scene, 2).await;
    cluster
        .kubectl(["rollout", "status", "deployment/hyperpage-operator", "-n", SYSTEM, "--timeout=60s"])
        .unwrap();
    cluster.leave(scene).await;
}

/// What `external.yaml` is for: a Redis that the operator does not run, and the Secret with its URL.
const THEIRS: &str = r#"
apiVersion: v1
kind: Secret
metadata: {name: theirs}
stringData: {url: "redis://:theirs@redis.t-examples.svc:6379"}
---
apiVersion: v1
kind: Service
metadata: {name: redis}
spec: {selector: {app: theirs}, ports: [{port: 6379}]}
---
apiVersion: v1
kind: Pod
metadata: {name: theirs, labels: {app: theirs}}
spec:
  securityContext: {runAsUser: 999, runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: redis
      image: REDIS
      command: [redis-server, --save, "", --maxmemory-policy, noeviction, --requirepass, theirs]
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
"#;

/// Every file a reader may copy. Together they ask for most of what two nodes have.
#[tokio::test(flavor = "multi_thread")]
async fn every_example_is_applied_and_becomes_ready() {
    let Some(cluster) = Cluster::alone().await else { return };
    let scene = cluster.scene("t-examples").await;
    let is_yaml = |path: &Path| path.extension().is_some_and(|end| end == "yaml");
    let entries = std::fs::read_dir(workspace().join("examples")).unwrap();
    let path = "jsonpath={.spec.template.spec.containers[0].image}";
    let redis = cluster.kubectl(["get", "statefulset", "shop-hp-redis", "-n", "demo", "-o", path]).unwrap();
    cluster.apply("t-examples", &THEIRS.replace("REDIS", &redis)).unwrap();
    let mut names = Vec::new();
    for path in entries.map(|entry| entry.unwrap().path()).filter(|path| is_yaml(path)) {
        let text = std::fs::read_to_string(&path).unwrap();
        // Beside them lies what is for Docker.
        if text.contains("kind: Hyperpage") {
            names.extend(
                tests::installation::documents(&text)
                    .unwrap()
                    .into_iter()
                    .filter(|object| object["kind"] == "Hyperpage")
                    .map(|object| object["metadata"]["name"].as_str().unwrap().to_owned()),
            );
            cluster.apply("t-examples", &text.replace(IMAGE, &image())).unwrap();
        }
    }
    for name in &names {
        scene.wait(name, "Ready", "True", ROLLED).await;
    }
    println!("ready: {}", names.join(", "));
    assert!(names.len() > 4, "{names:?}");
    cluster.leave(scene).await;
}
