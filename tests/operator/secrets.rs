//! The password: made once, kept, and readable in one place only.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, PodTemplateSpec, Secret, Service};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tests::apiserver::ApiServer;
use tests::eventually::{check, eventually};
use tests::installation::{OPERATOR_USER, Operator, install};
use tests::kube::Scene;
use tests::leaks::leaks;
use tests::nodes::{self, Nodes};

use crate::world::{SOON, event, machine, readable, scene, shop, until, until_replicas, with, world};

async fn password(scene: &Scene) -> (String, Secret) {
    until(scene, "shop-hp-redis", "a password", |secret: &Secret| {
        let data = secret.data.as_ref().and_then(|data| data.get("password"));
        let text = data.and_then(|bytes| String::from_utf8(bytes.0.clone()).ok());
        text.map(|text| (text, secret.clone())).ok_or_else(|| "no password".to_owned())
    })
    .await
}

#[tokio::test]
async fn the_password_is_made_once_and_read_nowhere_else() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-password").await;
    let _nodes = Nodes::healthy(&scene);
    scene.apply("shop", shop()).await.unwrap();
    let (first, secret) = password(&scene).await;
    assert!(first.len() >= 32, "{} characters", first.len());
    assert_eq!(secret.immutable, Some(true));
    let url =
        secret.data.as_ref().and_then(|data| data.get("url")).map(|url| String::from_utf8_lossy(&url.0));
    assert!(url.is_some_and(|url| url.contains(&first)), "no url for the app");
    scene.wait("shop", "Ready", "True", SOON).await;
    scene
        .apply("shop", with(shop(), json!({"replicas": 4, "sidecar": {"logLevel": "trace"}})))
        .await
        .unwrap();
    until_replicas(&scene, "shop", 4).await;
    let (_, after) = password(&scene).await;
    assert_eq!(after, secret);

    let mut texts = readable(&world.server, &[&world.operator], "t-password");
    assert_eq!(leaks(&first, &texts), Vec::<&str>::new());
    // The checker finds it as the Secret itself holds it.
    let raw =
        world.server.kubectl(["get", "secret", "shop-hp-redis", "-n", "t-password", "-o", "json"]).unwrap();
    texts.push(("encoded".to_owned(), raw));
    texts.push(("plain".to_owned(), format!("AUTH {first}")));
    assert_eq!(leaks(&first, &texts), ["encoded", "plain"]);
}

/// Data that outlive a Hyperpage (a backup, a deletion that orphans) keep their password.
#[tokio::test]
async fn a_password_that_is_already_there_is_used_and_not_replaced() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-restored").await;
    let _nodes = Nodes::healthy(&scene);
    let restored = restore(&scene, "shop-hp-redis", json!([])).await;
    scene.apply("shop", shop()).await.unwrap();
    scene.wait("shop", "Ready", "True", SOON).await;
    let (_, now) = password(&scene).await;
    assert_eq!((now.data.clone(), now.metadata.uid.clone()), (restored.data, restored.metadata.uid));
    assert_eq!(owners(&now), [owner_uid(&scene).await]);
    event(&scene, "Normal PasswordAdopted").await;
}

/// Of a volume that cannot be mounted the kubelet speaks in events only: the pod is just being created, for ever.
#[tokio::test]
async fn a_deleted_password_is_noticed_by_a_pod_that_does_not_start_and_made_anew() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-regenerated").await;
    let deleted = Arc::new(Mutex::new(None));
    let gone = deleted.clone();
    let _nodes = Nodes::saying(&scene, move |pod| {
        let uid = pod.annotations().get("hyperpage.dev/redis-auth");
        if uid.is_none() || uid != gone.lock().unwrap().as_ref() {
            return nodes::ready(pod);
        }
        let mut status = nodes::waiting(pod, "ContainerCreating", "");
        status["startTime"] = json!(pod.metadata.creation_timestamp);
        status
    });
    scene.apply("shop", shop()).await.unwrap();
    scene.wait("shop", "Ready", "True", SOON).await;
    let (old, secret) = password(&scene).await;
    *deleted.lock().unwrap() = secret.uid();
    scene.delete::<Secret>("shop-hp-redis").await.unwrap();
    let pod = scene.pods("shop", "app").await.unwrap().swap_remove(0);
    scene.delete::<Pod>(&pod.name_any()).await.unwrap();

    let event = event(&scene, "Warning PasswordReplaced").await;
    assert!(event.contains("shop-hp-redis"), "{event}");
    let (new, secret) = password(&scene).await;
    assert_ne!(new, old);
    let rolled = |template: &PodTemplateSpec| {
        let annotations = template.metadata.as_ref().and_then(|it| it.annotations.as_ref());
        let uid = annotations.and_then(|it| it.get("hyperpage.dev/redis-auth"));
        check(uid == secret.metadata.uid.as_ref(), uid)
    };
    until(&scene, "shop", "the new Secret", |it: &Deployment| rolled(&it.spec.as_ref().unwrap().template))
        .await;
    until(&scene, "shop-hp-redis", "the new Secret", |it: &StatefulSet| {
        rolled(&it.spec.as_ref().unwrap().template)
    })
    .await;
    scene.wait("shop", "Ready", "True", SOON).await;
}

fn given() -> Value {
    with(shop(), json!({"redis": {"passwordSecretRef": {"name": "mine", "key": "k"}}}))
}

async fn put(scene: &Scene, name: &str, data: Value) {
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
    let patch = Patch::Apply(&secret);
    scene.api::<Secret>().patch(name, &PatchParams::apply("team").force(), &patch).await.unwrap();
}

/// The operator looks again after a while that doubles, up to a minute.
const RETRIED: Duration = SOON.saturating_mul(2);

#[tokio::test]
async fn a_given_password_is_waited_for_by_name_judged_and_never_repeated() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-given").await;
    let _nodes = Nodes::healthy(&scene);
    scene.apply("shop", given()).await.unwrap();
    scene.apply("other", shop()).await.unwrap();
    for type_ in ["AppReady", "RedisReady", "Ready", "Reconciling"] {
        let message = eventually(type_, SOON, async || {
            let found = scene.condition("shop", type_).await?;
            anyhow::ensure!(found.reason == "SecretMissing", "{found:?}");
            anyhow::Ok(found.message)
        })
        .await;
        assert!(message.contains("Secret mine (key k) does not exist"), "{message}");
    }
    scene.wait("other", "Ready", "True", SOON).await;
    assert!(scene.api::<Deployment>().get_opt("shop").await.unwrap().is_none(), "pods that cannot start");
    put(&scene, "mine", json!({"k": "horse/battery"})).await;
    let stalled = scene.wait("shop", "Stalled", "True", RETRIED).await;
    assert!(stalled.message.contains("Secret mine, key k"), "{}", stalled.message);
    put(&scene, "mine", json!({"k": "horse-battery"})).await;
    scene.wait("shop", "Ready", "True", RETRIED).await;
    assert!(scene.api::<Secret>().get_opt("shop-hp-redis").await.unwrap().is_none(), "made for nothing");
    for secret in ["horse/battery", "horse-battery"] {
        assert_eq!(
            leaks(secret, &readable(&world.server, &[&world.operator], "t-given")),
            Vec::<&str>::new()
        );
    }
    // There and back.
    scene.apply("shop", shop()).await.unwrap();
    password(&scene).await;
    scene.wait("shop", "Ready", "True", SOON).await;
    scene.apply("shop", given()).await.unwrap();
    gone::<Secret>(&scene).await;
    scene.wait("shop", "Ready", "True", SOON).await;
}

/// What had the name of the Redis that we ran.
async fn gone<K>(scene: &Scene)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    eventually(&format!("no {}", K::kind(&())), SOON, async || {
        let found = scene.api::<K>().get_opt("shop-hp-redis").await;
        check(matches!(found, Ok(None)), found.is_ok())
    })
    .await;
}

#[tokio::test]
async fn an_external_redis_replaces_ours_once_its_secrets_are_there_and_the_app_has_rolled() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-external").await;
    let _nodes = Nodes::saying(&scene, |pod| match pod.name_any().starts_with("slow") {
        true => nodes::waiting(pod, "PodInitializing", ""),
        false => nodes::ready(pod),
    });
    scene.apply("shop", shop()).await.unwrap();
    scene.wait("shop", "Ready", "True", SOON).await;
    let url = "rediss://:external-horse-battery@redis.test:6380";
    put(&scene, "theirs", json!({"url": url})).await;
    let external = json!({"mode": "External", "external": {
        "urlSecretRef": {"name": "theirs", "key": "url"}, "caSecretRef": {"name": "ca", "key": "ca.crt"}}});
    let external = with(shop(), json!({"redis": external}));
    scene.apply("shop", external.clone()).await.unwrap();
    let reconciling = eventually("the missing Secret is named", SOON, async || {
        let found = scene.condition("shop", "Reconciling").await?;
        anyhow::ensure!(found.reason == "SecretMissing", "{found:?}");
        anyhow::Ok(found.message)
    })
    .await;
    assert!(reconciling.contains("Secret ca (key ca.crt)"), "{reconciling}");
    assert_eq!(scene.condition("shop", "AppReady").await.unwrap().status, "True");
    assert!(scene.api::<StatefulSet>().get_opt("shop-hp-redis").await.unwrap().is_some());
    // What runs goes on being looked after, and nothing of it is rolled.
    let app = scene.api::<Deployment>().get("shop").await.unwrap();
    scene.apply("shop", with(external.clone(), json!({"replicas": 4}))).await.unwrap();
    until_replicas(&scene, "shop", 4).await;
    let scaled = scene.api::<Deployment>().get("shop").await.unwrap();
    assert_eq!(scaled.spec.unwrap().template, app.spec.unwrap().template);
    put(&scene, "ca", json!({"ca.crt": "-----BEGIN CERTIFICATE-----"})).await;
    scene.wait("shop", "Ready", "True", RETRIED).await;
    gone::<StatefulSet>(&scene).await;
    gone::<Service>(&scene).await;
    gone::<ConfigMap>(&scene).await;
    gone::<Secret>(&scene).await;
    scene.wait("shop", "RedisReady", "True", SOON).await;
    let status = scene.hyperpages().get("shop").await.unwrap().data["status"]["redis"].clone();
    assert_eq!(status, json!({"mode": "External"}));
    scene.apply("slow", external).await.unwrap();
    scene.wait("slow", "RedisReady", "Unknown", SOON).await;
    assert_eq!(
        leaks("external-horse-battery", &readable(&world.server, &[&world.operator], "t-external")),
        Vec::<&str>::new()
    );
}

/// As a backup brings it back.
async fn restore(scene: &Scene, name: &str, owners: Value) -> Secret {
    let restored = serde_json::from_value(json!({
        "metadata": {"name": name, "ownerReferences": owners},
        "stringData": {"password": "restored-from-a-backup", "url": "redis://:restored-from-a-backup@x:6379"},
    }));
    scene.api::<Secret>().create(&PostParams::default(), &restored.unwrap()).await.unwrap()
}

fn owners(secret: &Secret) -> Vec<String> {
    secret.owner_references().iter().map(|owner| owner.uid.clone()).collect()
}

async fn owner_uid(scene: &Scene) -> String {
    scene.hyperpages().get("shop").await.unwrap().uid().unwrap()
}

/// Kubernetes deletes what a dead owner left within a second: whoever restores such a Secret loses it, unless it
/// is adopted first.
#[tokio::test]
async fn a_secret_restored_with_a_dead_owner_is_adopted_and_outlives_the_garbage_collector() {
    let _machine = machine().await;
    let Some(mut server) = ApiServer::start("adopted", &[OPERATOR_USER]).await else { return };
    install(&server).await.unwrap();
    let scene = scene(&server, "t-adopted").await;
    let dead = |name: &str| {
        json!([{"apiVersion": "hyperpage.dev/v1alpha1", "kind": "Hyperpage", "name": name, "uid": "dead",
            "controller": true, "blockOwnerDeletion": true}])
    };
    let restored = restore(&scene, "shop-hp-redis", dead("shop")).await;
    restore(&scene, "gone-hp-redis", dead("gone")).await;
    let operator = Operator::start(&server, "operator-a").unwrap();
    operator.leads(&server, SOON).await;
    scene.apply("shop", shop()).await.unwrap();
    event(&scene, "Normal PasswordAdopted").await;
    // Nothing collects garbage until here.
    server.start_controllers().unwrap();
    eventually("the garbage collector is at work", SOON, async || {
        let gone = scene.api::<Secret>().get_opt("gone-hp-redis").await;
        check(matches!(gone, Ok(None)), gone.is_ok())
    })
    .await;
    let (password, now) = password(&scene).await;
    assert_eq!(password, "restored-from-a-backup");
    assert_eq!((now.data.clone(), now.metadata.uid.clone()), (restored.data, restored.metadata.uid));
    assert_eq!(owners(&now), [owner_uid(&scene).await]);
    assert_eq!(now.immutable, Some(true), "nothing but its deletion changes the password");
    operator.process.alive().unwrap();
}
