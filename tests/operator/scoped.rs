//! An operator that may work in some namespaces only, by Roles there and no ClusterRole.

use std::time::Duration;

use serde_json::{Value, json};
use tests::apiserver::ApiServer;
use tests::audit::{Entry, unquiet, unquiet_at_start};
use tests::eventually::eventually;
use tests::installation::{OPERATOR, OPERATOR_USER, Operator, chart, install_objects};
use tests::nodes::Nodes;

use crate::world::{SOON, machine, scene, shop, until_replicas};

const WATCHED: [&str; 2] = ["t-mine", "t-also-mine"];
/// Watched too, but nobody allowed it.
const LOCKED: &str = "t-locked";

/// The chart's objects, with what its ClusterRole allows given by a Role in each of the namespaces.
fn scoped(namespaces: &[&str]) -> Vec<Value> {
    let (cluster, mut objects): (Vec<_>, Vec<_>) = chart().unwrap().into_iter().partition(|object| {
        ["ClusterRole", "ClusterRoleBinding"].contains(&object["kind"].as_str().unwrap_or_default())
    });
    for namespace in namespaces {
        for mut object in cluster.clone() {
            let kind = object["kind"].as_str().unwrap_or_default().replacen("Cluster", "", 1);
            object["kind"] = json!(kind);
            object["metadata"]["namespace"] = json!(namespace);
            if object["roleRef"].is_object() {
                object["roleRef"]["kind"] = json!("Role");
            }
            objects.push(object);
        }
    }
    objects
}

#[tokio::test]
async fn with_roles_only_the_watched_namespaces_work_and_nothing_else_is_read() {
    let _machine = machine().await;
    let Some(mut server) = ApiServer::start("scoped", &[OPERATOR_USER]).await else { return };
    let mut scenes = Vec::new();
    for namespace in WATCHED.into_iter().chain(["t-elsewhere", LOCKED]) {
        scenes.push(scene(&server, namespace).await);
    }
    install_objects(&server, scoped(&WATCHED)).await.unwrap();
    server.start_controllers().unwrap();
    let [mine, also_mine, elsewhere, locked] = &scenes[..] else { panic!("four namespaces") };
    let _nodes = [mine, also_mine].map(Nodes::healthy);
    let watch = format!("--watch-namespaces={},{LOCKED}", WATCHED.join(","));
    let operator = Operator::start_with(&server, "operator-a", &[&watch]).unwrap();
    operator.leads(&server, SOON).await;

    for scene in &scenes {
        scene.apply("shop", shop()).await.unwrap();
    }
    for scene in [mine, also_mine] {
        scene.wait("shop", "Ready", "True", SOON).await;
        server.kubectl(["scale", "deployment/shop", "--replicas=7", "-n", &scene.namespace]).unwrap();
        until_replicas(scene, "shop", 3).await;
    }
    // One that cannot be read holds up no other, and is named.
    let ready = operator.admin().await.get("/readyz").await;
    assert!(ready.status == 503 && ready.body.contains(LOCKED), "{ready:?}");
    for scene in [elsewhere, locked] {
        let untouched = scene.hyperpages().get("shop").await.unwrap();
        assert!(untouched.data["status"].is_null(), "{:?}", untouched.data["status"]);
    }
    let all = server.audit().since(server.audit().start(), OPERATOR).unwrap();
    assert_eq!(beyond(&all), Vec::<String>::new());
    let mut cluster_wide = all.last().unwrap().clone();
    cluster_wide.object_ref.namespace.clear();
    assert_eq!(beyond(&[cluster_wide]).len(), 1, "the gate is not blind");
    nothing_is_asked_after_a_restart(&server, operator).await;
}

/// Requests for what the operator has no business with.
fn beyond(entries: &[Entry]) -> Vec<String> {
    let at_home = |entry: &&Entry| {
        let namespace = entry.object_ref.namespace.as_str();
        let refused = namespace == LOCKED && entry.response_status.code == 403;
        namespace == "hyperpage-system" || refused || WATCHED.contains(&namespace)
    };
    entries.iter().filter(|entry| !at_home(entry)).map(Entry::line).collect()
}

async fn nothing_is_asked_after_a_restart(server: &ApiServer, operator: Operator) {
    let audit = server.audit();
    eventually("the operator has settled", SOON, async || {
        let busy = unquiet(&allowed(audit.during(Duration::from_secs(2), OPERATOR).await?));
        anyhow::ensure!(busy.is_empty(), "{busy:?}");
        anyhow::Ok(())
    })
    .await;
    operator.process.signal("TERM").unwrap();
    assert_eq!(operator.process.exited(SOON).await.unwrap(), 0, "{}", operator.process.tail(20));
    let mark = audit.mark().unwrap();
    let watch = format!("--watch-namespaces={}", WATCHED.join(","));
    let again = Operator::start_with(server, "operator-b", &[&watch]).unwrap();
    again.leads(server, SOON).await;
    let admin = again.admin().await;
    eventually("it has read both", SOON, async || {
        let ready = admin.get("/readyz").await;
        tests::eventually::check(ready.status == 200, ready)
    })
    .await;
    let after = allowed(audit.during(Duration::from_secs(4), OPERATOR).await.unwrap());
    assert_eq!(unquiet(&after), Vec::<String>::new());
    let start = allowed(audit.since(mark, OPERATOR).unwrap());
    assert_eq!(unquiet_at_start(&start), Vec::<String>::new());
    assert!(start.iter().any(|entry| entry.verb == "list"), "it read what exists");
}

fn allowed(entries: Vec<Entry>) -> Vec<Entry> {
    entries.into_iter().filter(|entry| entry.response_status.code != 403).collect()
}
