//! A bad image that is corrected heals, of the app and of Redis.

use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tests::audit::Entry;
use tests::eventually::eventually;
use tests::installation::OPERATOR;
use tests::kube::Scene;
use tests::nodes::{self, Nodes};

use crate::world::{MAX_UNAVAILABLE, SOON, World, machine, scene, shop, until, with, world};

const PATIENCE: Duration = Duration::from_secs(30);

/// No image whose name has `bad` in it can be pulled.
pub(crate) fn picky(scene: &Scene) -> Nodes {
    Nodes::saying(scene, |pod| match image(pod).contains("bad") {
        true => nodes::waiting(pod, "ErrImagePull", "not found"),
        false => nodes::ready(pod),
    })
}

fn image(pod: &Pod) -> String {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers.filter_map(|container| container.image.clone()).next().unwrap_or_default()
}

fn redis(image: &str) -> Value {
    with(shop(), json!({"redis": {"image": image}}))
}

async fn until_image(scene: &Scene, pod: &str, want: &str, within: Duration) -> Pod {
    eventually(&format!("{pod} runs {want}"), within, async || {
        let found = scene.api::<Pod>().get(pod).await?;
        anyhow::ensure!(
            image(&found) == want && found.metadata.deletion_timestamp.is_none(),
            "{}",
            image(&found)
        );
        anyhow::Ok(found)
    })
    .await
}

/// A StatefulSet like Redis', which no operator looks after.
async fn twin(scene: &Scene) -> StatefulSet {
    let mut twin =
        until(scene, "shop-hp-redis", "made", |set: &StatefulSet| Ok::<_, String>(set.clone())).await;
    let metadata = &mut twin.metadata;
    metadata.name = Some("twin".to_owned());
    (metadata.uid, metadata.resource_version, metadata.managed_fields) = (None, None, None);
    (metadata.owner_references, metadata.labels, metadata.annotations) = (None, None, None);
    let labels = Some([("app".to_owned(), "twin".to_owned())].into());
    let spec = twin.spec.as_mut().unwrap();
    spec.selector.match_labels.clone_from(&labels);
    spec.template.metadata.as_mut().unwrap().labels = labels;
    twin.status = None;
    scene.api().create(&PostParams::default(), &twin).await.unwrap()
}

async fn correct_twin(scene: &Scene, image: &str) {
    let path = "/spec/template/spec/containers/0/image";
    let patch = json!([{"op": "replace", "path": path, "value": image}]);
    let patch: Patch<()> = Patch::Json(serde_json::from_value(patch).unwrap());
    scene.api::<StatefulSet>().patch("twin", &PatchParams::default(), &patch).await.unwrap();
}

fn deletes(world: &World, namespace: &str) -> Vec<String> {
    let all = world.server.audit().since(world.server.audit().start(), OPERATOR).unwrap();
    let pods = all.iter().filter(|it| {
        it.verb == "delete" && it.object_ref.resource == "pods" && it.object_ref.namespace == namespace
    });
    pods.map(Entry::line).collect()
}

/// Its newer image is bad as well, and its third is good: each correction costs one delete, when its time is over.
#[tokio::test]
async fn a_bad_redis_image_corrected_heals_where_the_statefulset_waits_for_ever() {
    let _machine = machine().await;
    let Some(world) = World::start_with("healing", MAX_UNAVAILABLE).await else { return };
    let scene = scene(&world.server, "t-heal").await;
    let _nodes = picky(&scene);
    scene.apply("shop", redis("registry.test/bad:1")).await.unwrap();
    twin(&scene).await;
    let pods = ["shop-hp-redis-0", "twin-0"];
    for pod in pods {
        until_image(&scene, pod, "registry.test/bad:1", SOON).await;
    }
    let mut last = scene.api::<Pod>().get(pods[0]).await.unwrap();
    for (round, image) in ["registry.test/bad:2", "registry.test/good:3"].into_iter().enumerate() {
        scene.apply("shop", redis(image)).await.unwrap();
        correct_twin(&scene, image).await;
        let said = eventually("RedisReady says what comes", SOON, async || {
            let redis = scene.condition("shop", "RedisReady").await?;
            anyhow::ensure!(redis.message.contains("older revision"), "{redis:?}");
            anyhow::Ok(redis)
        })
        .await;
        assert_eq!((said.status.as_str(), said.reason.as_str()), ("False", "ImagePullFailed"));
        let next = until_image(&scene, pods[0], image, PATIENCE + SOON).await;
        let created = |pod: &Pod| pod.metadata.creation_timestamp.clone().unwrap().0;
        let lived = created(&next).duration_since(created(&last));
        // Whole seconds on both sides.
        assert!(lived.as_secs() >= PATIENCE.as_secs() as i64 - 1, "replaced after {lived:?}");
        println!("replaced after {lived:?}");
        assert_eq!(deletes(&world, "t-heal").len(), round + 1);
        last = next;
    }
    scene.wait("shop", "Ready", "True", SOON).await;
    let events = scene.events("shop").await.unwrap();
    assert!(events.iter().any(|it| it.contains("RedisPodReplaced") && it.contains(pods[0])), "{events:#?}");
    // Without us: twice corrected, and still the first image.
    let stuck = scene.api::<Pod>().get(pods[1]).await.unwrap();
    assert_eq!(image(&stuck), "registry.test/bad:1");
    assert_eq!(deletes(&world, "t-heal").len(), 2);
}

/// Without MaxUnavailableStatefulSet the controller replaces a pod that is not ready: nobody else has to.
#[tokio::test]
async fn a_bad_redis_image_corrected_heals_at_once_where_the_controller_replaces_it() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-parallel").await;
    let _nodes = picky(&scene);
    scene.apply("shop", redis("registry.test/bad:1")).await.unwrap();
    let bad = until_image(&scene, "shop-hp-redis-0", "registry.test/bad:1", SOON).await;
    scene.apply("shop", redis("registry.test/good:2")).await.unwrap();
    let good = until_image(&scene, "shop-hp-redis-0", "registry.test/good:2", SOON).await;
    assert_ne!(bad.uid(), good.uid());
    scene.wait("shop", "Ready", "True", SOON).await;
    assert_eq!(deletes(&world, "t-parallel"), [""; 0]);
}

#[tokio::test]
async fn a_bad_app_image_corrected_heals() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-app-heals").await;
    let _nodes = picky(&scene);
    scene.apply("shop", json!({"app": {"image": "registry.test/bad:1"}})).await.unwrap();
    eventually("AppReady names the image", SOON, async || {
        let app = scene.condition("shop", "AppReady").await?;
        anyhow::ensure!(app.reason == "ImagePullFailed", "{app:?}");
        anyhow::Ok(())
    })
    .await;
    scene.apply("shop", shop()).await.unwrap();
    scene.wait("shop", "Ready", "True", SOON).await;
}

/// Redis rolls when its configuration or its resources change.
#[tokio::test]
async fn a_changed_configuration_rolls_redis() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-config").await;
    let _nodes = picky(&scene);
    scene.apply("shop", shop()).await.unwrap();
    scene.wait("shop", "Ready", "True", SOON).await;
    for change in [json!({"config": {"hz": "20"}}), json!({"resources": {"limits": {"memory": "128Mi"}}})] {
        let before = scene.api::<Pod>().get("shop-hp-redis-0").await.unwrap();
        scene.apply("shop", with(shop(), json!({"redis": change}))).await.unwrap();
        eventually("another pod", SOON, async || {
            let now = scene.api::<Pod>().get("shop-hp-redis-0").await?;
            anyhow::ensure!(now.uid() != before.uid(), "the same pod");
            anyhow::Ok(())
        })
        .await;
        scene.wait("shop", "Ready", "True", SOON).await;
    }
}
