//! The key that pods seal their messages with: made once, kept, and read in one place only.

use std::sync::{Arc, Mutex};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};
use tests::eventually::{check, eventually};
use tests::kube::Scene;
use tests::leaks::leaks;
use tests::nodes::{self, Nodes};
use tests::scratch::Scratch;
use tests::sidecar::{Settings, Sidecar};

use crate::world::{SOON, event, readable, shop, until, until_replicas, with, world};

pub(crate) const BUS: &str = "shop-hp-bus";

/// Lines of `id base64`.
pub(crate) fn lines(secret: &Secret) -> Vec<String> {
    let text = secret.data.as_ref().and_then(|data| data.get("keys")).map(|it| it.0.clone());
    let text = String::from_utf8(text.unwrap_or_default()).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

async fn made(scene: &Scene) -> Secret {
    until(scene, BUS, "a key", |secret: &Secret| {
        check(!lines(secret).is_empty(), secret.metadata.uid.as_ref()).map(|()| secret.clone())
    })
    .await
}

async fn absent(scene: &Scene) {
    eventually("no bus key", SOON, async || {
        let found = scene.api::<Secret>().get_opt(BUS).await;
        check(matches!(found, Ok(None)), found.is_ok())
    })
    .await;
}

pub(crate) async fn bus_key(scene: &Scene) -> Value {
    scene.hyperpages().get("shop").await.unwrap().data["status"]["sidecar"]["busKey"].clone()
}

pub(crate) fn key(line: &str) -> &str {
    line.split_once(' ').expect("an id and a key").1
}

#[tokio::test]
async fn the_bus_key_is_made_once_and_kept_and_read_nowhere_else() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-bus-key").await;
    let _nodes = Nodes::healthy(&scene);
    scene.apply("shop", shop()).await.unwrap();
    scene.wait("shop", "Ready", "True", SOON).await;
    let secret = made(&scene).await;
    let keys = lines(&secret);
    assert_eq!((keys.len(), key(&keys[0]).len()), (1, 44), "32 bytes in base64");
    let uid = scene.hyperpages().get("shop").await.unwrap().uid();
    let owners: Vec<_> = secret.owner_references().iter().map(|owner| Some(owner.uid.clone())).collect();
    assert_eq!(owners, [uid]);
    assert_eq!(bus_key(&scene).await, json!({"secret": BUS}));
    let more = with(shop(), json!({"replicas": 4, "sidecar": {"logLevel": "trace"}}));
    scene.apply("shop", more).await.unwrap();
    until_replicas(&scene, "shop", 4).await;
    assert_eq!(made(&scene).await, secret);

    let mut texts = readable(&world.server, &[&world.operator], "t-bus-key");
    assert_eq!(leaks(key(&keys[0]), &texts), Vec::<&str>::new());
    let raw = world.server.kubectl(["get", "secret", BUS, "-n", "t-bus-key", "-o", "json"]).unwrap();
    texts.push(("the Secret".to_owned(), raw));
    assert_eq!(leaks(key(&keys[0]), &texts), ["the Secret"], "the checker finds it there");
}

/// Of a volume that cannot be mounted the kubelet speaks in events only: the pod is just being created, for ever.
#[tokio::test]
async fn a_deleted_bus_key_is_noticed_by_a_pod_that_does_not_start_and_made_again() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-bus-again").await;
    let gone = Arc::new(Mutex::new(false));
    let is_gone = gone.clone();
    let _nodes = Nodes::saying(&scene, move |pod| {
        if !*is_gone.lock().unwrap() {
            return nodes::ready(pod);
        }
        let mut status = nodes::waiting(pod, "ContainerCreating", "");
        status["startTime"] = json!(pod.metadata.creation_timestamp);
        status
    });
    scene.apply("shop", shop()).await.unwrap();
    scene.wait("shop", "Ready", "True", SOON).await;
    let (first, template) = (made(&scene).await, template(&scene).await);
    *gone.lock().unwrap() = true;
    scene.delete::<Secret>(BUS).await.unwrap();
    let pod = scene.pods("shop", "app").await.unwrap().swap_remove(0);
    scene.delete::<Pod>(&pod.name_any()).await.unwrap();
    let second = eventually("another key", SOON, async || {
        let found = scene.api::<Secret>().get(BUS).await.map_err(|error| error.to_string())?;
        check(found.uid() != first.uid(), &found.metadata.name).map(|()| found)
    })
    .await;
    assert_ne!(lines(&second), lines(&first));
    event(&scene, "Warning BusKeyReplaced").await;
    assert_eq!(self::template(&scene).await, template, "no pod restarts for it");
}

pub(crate) async fn template(scene: &Scene) -> (Option<i64>, Value) {
    let deployment = scene.api::<Deployment>().get("shop").await.unwrap();
    (deployment.metadata.generation, serde_json::to_value(deployment.spec.unwrap().template).unwrap())
}

#[tokio::test]
async fn a_strangers_secret_in_the_place_of_the_bus_key_is_left_alone_and_named() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-bus-taken").await;
    let owner = serde_json::from_value(json!({"metadata": {"name": "theirs"}})).unwrap();
    let owner = scene.api::<ConfigMap>().create(&PostParams::default(), &owner).await.unwrap();
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "theirs", "uid": owner.uid(), "controller": true});
    let good = "old AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    for (owners, keys, says) in [
        (json!([owner]), good, "belongs to ConfigMap theirs"),
        (json!([]), "no key", "restore it, or remove it"),
    ] {
        let theirs =
            json!({"metadata": {"name": BUS, "ownerReferences": owners}, "stringData": {"keys": keys}});
        let theirs: Secret = serde_json::from_value(theirs).unwrap();
        let before = scene.api::<Secret>().create(&PostParams::default(), &theirs).await.unwrap();
        scene.apply("shop", shop()).await.unwrap();
        let stalled = scene.wait("shop", "Stalled", "True", SOON).await;
        assert_eq!(stalled.reason, "NameTaken");
        assert!(stalled.message.contains(BUS) && stalled.message.contains(says), "{}", stalled.message);
        assert!(scene.api::<Deployment>().get_opt("shop").await.unwrap().is_none(), "pods without a key");
        assert!(
            scene.api::<Secret>().get_opt("shop-hp-redis").await.unwrap().is_none(),
            "a password beside it"
        );
        assert_eq!(scene.api::<Secret>().get(BUS).await.unwrap(), before);
        scene.hyperpages().delete("shop", &DeleteParams::default()).await.unwrap();
        scene.delete::<Secret>(BUS).await.unwrap();
        absent(&scene).await;
    }
    // Somebody's is in nobody's way where there is no bus.
    let theirs = json!({"metadata": {"name": BUS}, "stringData": {"any": "thing"}});
    let theirs: Secret = serde_json::from_value(theirs).unwrap();
    scene.api::<Secret>().create(&PostParams::default(), &theirs).await.unwrap();
    scene.apply("shop", off()).await.unwrap();
    until_replicas(&scene, "shop", 3).await;
    scene.apply("shop", shop()).await.unwrap();
    scene.wait("shop", "Stalled", "True", SOON).await;
    scene.delete::<Secret>(BUS).await.unwrap();
    scene.wait("shop", "Stalled", "False", SOON * 2).await;
    made(&scene).await;
}

fn off() -> Value {
    with(shop(), json!({"sidecar": {"coordination": {"enabled": false}}}))
}

#[tokio::test]
async fn without_coordination_there_is_no_bus_key_and_one_from_before_goes_with_the_pods_that_used_it() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-bus-off").await;
    let _nodes = Nodes::healthy(&scene);
    scene.apply("shop", off()).await.unwrap();
    scene.wait("shop", "Ready", "True", SOON).await;
    absent(&scene).await;
    assert_eq!(bus_key(&scene).await, Value::Null);
    let text = template(&scene).await.1.to_string();
    assert!(text.contains("POD_COORDINATION_ENABLED") && !text.contains("hp-bus"), "{text}");
    // On, and off again.
    scene.apply("shop", shop()).await.unwrap();
    made(&scene).await;
    scene.wait("shop", "Ready", "True", SOON).await;
    scene.apply("shop", off()).await.unwrap();
    absent(&scene).await;
    event(&scene, "Normal Deleted Delete").await;
    scene.wait("shop", "Ready", "True", SOON).await;
    eventually("status knows", SOON, async || check(bus_key(&scene).await.is_null(), "a key")).await;
}

/// The environment of the sidecar in this Hyperpage's pods, for one that runs here: with files and ports of its own.
async fn settings(scene: &Scene, dir: &Scratch) -> Settings {
    let template = until(scene, "shop", "a template", |deployment: &Deployment| {
        let template = deployment.spec.as_ref().map(|spec| serde_json::to_value(&spec.template));
        template.and_then(Result::ok).ok_or_else(String::new)
    })
    .await;
    let mut settings = Settings::default();
    for variable in template["spec"]["initContainers"][0]["env"].as_array().unwrap() {
        let (name, value) = (variable["name"].as_str().unwrap(), &variable["value"]);
        let value = match name {
            "HYPERPAGE_LISTEN" | "HYPERPAGE_ADMIN_LISTEN" => "127.0.0.1:0".to_owned(),
            "HYPERPAGE_BUS_KEYS_FILE" => {
                let keys = lines(&made(scene).await).join("\n");
                dir.write("keys", &keys).to_string_lossy().into_owned()
            }
            "HYPERPAGE_REDIS_PASSWORD_FILE" => dir.write("password", "any").to_string_lossy().into_owned(),
            "REDIS_URL" => "redis://127.0.0.1:1".to_owned(),
            "POD_NAME" => "shop-1".to_owned(),
            _ => value.as_str().unwrap().to_owned(),
        };
        settings = settings.env(name, value);
    }
    settings
}

#[tokio::test]
async fn a_sidecar_takes_what_the_operator_says_of_coordination() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-bus-taken-up").await;
    let dir = Scratch::new("bus");
    let all =
        json!({"leaderProfile": "relaxed", "highPerMinute": 7, "normalPerMinute": 0, "originalPeers": true});
    scene.apply("shop", with(shop(), json!({"sidecar": {"coordination": all}}))).await.unwrap();
    let sidecar = Sidecar::spawn(&settings(&scene, &dir).await).await;
    let leader = sidecar.app.get("/v1/leader").await;
    assert_ne!(leader.status, 404, "{leader:?}");
    eventually("it has read the key", SOON, async || {
        let log = sidecar.logs();
        check(log.contains("messages are sealed with the first of these keys"), log)
    })
    .await;
    sidecar.assert_sound();
    scene.apply("shop", off()).await.unwrap();
    until(&scene, "shop", "no coordination", |deployment: &Deployment| {
        let text = serde_json::to_string(&deployment.spec).unwrap_or_default();
        check(text.contains("POD_COORDINATION_ENABLED"), text)
    })
    .await;
    let sidecar = Sidecar::spawn(&settings(&scene, &dir).await).await;
    let leader = sidecar.app.get("/v1/leader").await;
    assert!(leader.status == 404 && leader.body.contains("COORDINATION_DISABLED"), "{leader:?}");
}

/// As a backup brings it back: with the owner it had, who is gone, or with none.
#[tokio::test]
async fn a_bus_key_from_a_backup_is_adopted() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-bus-restored").await;
    let restored = json!({"metadata": {"name": BUS}, "stringData": {"keys": "old AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}});
    let restored: Secret = serde_json::from_value(restored).unwrap();
    let restored = scene.api::<Secret>().create(&PostParams::default(), &restored).await.unwrap();
    scene.apply("shop", shop()).await.unwrap();
    event(&scene, "Normal BusKeyAdopted").await;
    let now = made(&scene).await;
    assert_eq!((now.data.clone(), now.uid()), (restored.data.clone(), restored.uid()));
    assert_eq!(now.owner_references().len(), 1);
}
