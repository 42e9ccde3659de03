//! Redis' volume: made as asked, grown under a running pod, kept or deleted.

use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, PropagationPolicy};
use serde_json::{Value, json};
use tests::apiserver::ApiServer;
use tests::eventually::{check, eventually};
use tests::installation::{NAMESPACE, OPERATOR, Operator};
use tests::kube::Scene;
use tests::nodes::Nodes;
use tests::volumes::{self, Volumes, asked};

use crate::world::{SOON, bare, machine, scene, shop, until, until_replicas, with, world};

const CLAIM: &str = "data-shop-hp-redis-0";
const REDIS: &str = "shop-hp-redis";

fn durable(class: &str, size: &str, policy: &str) -> Value {
    let storage = json!({"size": size, "storageClassName": class, "retentionPolicy": policy});
    with(shop(), json!({"redis": {"storage": storage}}))
}

/// What a StatefulSet would make a claim with.
fn template(set: &StatefulSet) -> String {
    let claims = set.spec.as_ref().and_then(|spec| spec.volume_claim_templates.as_ref());
    claims.and_then(|claims| claims.first()).map(asked).unwrap_or_default()
}

async fn until_template(scene: &Scene, size: &str) -> StatefulSet {
    until(scene, REDIS, &format!("a template of {size}"), |set: &StatefulSet| {
        check(template(set) == size, template(set)).map(|()| set.clone())
    })
    .await
}

async fn until_asked(scene: &Scene, size: &str) -> PersistentVolumeClaim {
    until(scene, CLAIM, &format!("{size} asked for"), |claim: &PersistentVolumeClaim| {
        check(asked(claim) == size, asked(claim)).map(|()| claim.clone())
    })
    .await
}

async fn redis_pod(scene: &Scene) -> Pod {
    let mut pods = scene.pods("shop", "redis").await.unwrap();
    assert_eq!(pods.len(), 1, "{pods:?}");
    pods.remove(0)
}

/// Waits for words in a condition of the Hyperpage.
async fn until_says(scene: &Scene, type_: &str, status: &str, words: &[&str]) -> String {
    eventually(&format!("{type_} says {words:?}"), SOON, async || {
        let found = scene.condition("shop", type_).await?;
        let said = found.status == status && words.iter().all(|word| found.message.contains(word));
        anyhow::ensure!(said, "{found:?}");
        anyhow::Ok(found.message)
    })
    .await
}

/// The new StatefulSet has taken the old pod and the old claim.
async fn adopted(scene: &Scene, set: &StatefulSet, pod: &Pod, claim: &PersistentVolumeClaim) {
    until(scene, &pod.name_any(), "owned by the new StatefulSet", |now: &Pod| {
        assert_eq!(now.uid(), pod.uid(), "the pod was replaced");
        let owner = now.owner_references().first().map(|owner| owner.uid.clone());
        check(owner == set.uid(), owner)
    })
    .await;
    let now = scene.api::<PersistentVolumeClaim>().get(CLAIM).await.unwrap();
    assert_eq!((now.uid(), now.metadata.deletion_timestamp), (claim.uid(), None));
}

/// With a claim that would go with its StatefulSet: the growth must not take it for deleted.
#[tokio::test]
async fn a_volume_grows_under_a_running_redis() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-grow").await;
    let (_nodes, _volumes) = (Nodes::healthy(&scene), Volumes::provided(&scene));
    volumes::class(&scene, "grow-elastic", true).await.unwrap();
    scene.apply("shop", durable("grow-elastic", "1Gi", "Delete")).await.unwrap();
    scene.wait("shop", "Ready", "True", SOON).await;
    let (pod, first) = (redis_pod(&scene).await, until_template(&scene, "1Gi").await);
    let claim = until(&scene, CLAIM, "owned by its StatefulSet", |claim: &PersistentVolumeClaim| {
        check(claim.owner_references().iter().any(|it| Some(&it.uid) == first.metadata.uid.as_ref()), claim)
            .map(|()| claim.clone())
    })
    .await;

    let grown = with(durable("grow-elastic", "2Gi", "Delete"), json!({"replicas": 4}));
    scene.apply("shop", grown).await.unwrap();
    until_asked(&scene, "2Gi").await;
    until_says(&scene, "Reconciling", "True", &[CLAIM, "2Gi", "not answered"]).await;
    let words = "Waiting for user to (re-)start a pod";
    volumes::resizer_says(&scene, CLAIM, "FileSystemResizePending", words).await.unwrap();
    until_says(&scene, "Reconciling", "True", &[CLAIM, "FileSystemResizePending", words]).await;
    // Everything else goes on, and nothing is asked while it waits.
    until_replicas(&scene, "shop", 4).await;
    eventually("nothing is asked while it waits", SOON, async || {
        let waiting = world.server.audit().during(Duration::from_secs(3), OPERATOR).await?;
        let here = waiting.iter().filter(|entry| entry.object_ref.namespace == "t-grow");
        let lines: Vec<_> = here.map(tests::audit::Entry::line).collect();
        anyhow::ensure!(lines.is_empty(), "{lines:?}");
        anyhow::Ok(())
    })
    .await;
    assert_eq!(until_template(&scene, "1Gi").await.uid(), first.uid());

    volumes::resizer_grows(&scene, CLAIM).await.unwrap();
    let second = until_template(&scene, "2Gi").await;
    assert_ne!(second.uid(), first.uid());
    adopted(&scene, &second, &pod, &claim).await;
    scene.wait("shop", "Ready", "True", SOON).await;
}

#[tokio::test]
async fn a_volume_that_cannot_grow_is_named_and_stands_in_nobodys_way() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-rigid").await;
    let (_nodes, _volumes) = (Nodes::healthy(&scene), Volumes::provided(&scene));
    volumes::class(&scene, "rigid", false).await.unwrap();
    scene.apply("shop", durable("rigid", "1Gi", "Retain")).await.unwrap();
    scene.wait("shop", "Ready", "True", SOON).await;
    let first = until_template(&scene, "1Gi").await;

    scene.apply("shop", durable("rigid", "2Gi", "Retain")).await.unwrap();
    let words =
        [CLAIM, "from 1Gi to 2Gi", "must support resize", "allowVolumeExpansion in StorageClass rigid"];
    until_says(&scene, "Stalled", "True", &words).await;
    let mut busy = with(durable("rigid", "2Gi", "Delete"), json!({"replicas": 5}));
    busy["redis"]["config"] = json!({"hz": "20"});
    scene.apply("shop", busy).await.unwrap();
    until_replicas(&scene, "shop", 5).await;
    until(&scene, REDIS, "a new template and policy", |set: &StatefulSet| {
        let spec = set.spec.as_ref().unwrap();
        let before = first.spec.as_ref().unwrap();
        let policy = spec.persistent_volume_claim_retention_policy.as_ref().unwrap().when_deleted.as_deref();
        check(spec.template != before.template && policy == Some("Delete") && template(set) == "1Gi", spec)
    })
    .await;
    let now = scene.api::<StatefulSet>().get(REDIS).await.unwrap();
    assert_eq!(now.uid(), first.uid());

    // Somebody follows the advice: it goes on by itself.
    let classes: Api<StorageClass> = Api::all(scene.client.clone());
    let expands = Patch::Merge(json!({"allowVolumeExpansion": true}));
    classes.patch("rigid", &PatchParams::default(), &expands).await.unwrap();
    eventually("the claim is asked to grow", SOON * 2, async || {
        let claim = scene.api::<PersistentVolumeClaim>().get(CLAIM).await?;
        anyhow::ensure!(asked(&claim) == "2Gi", "{claim:?}");
        anyhow::Ok(())
    })
    .await;
    volumes::resizer_grows(&scene, CLAIM).await.unwrap();
    until_template(&scene, "2Gi").await;
    scene.wait("shop", "Stalled", "False", SOON).await;
}

/// One operator after another, each killed as soon as it has taken one step.
struct Relay<'a> {
    server: &'a ApiServer,
    runner: Option<Operator>,
    started: u32,
}

impl Relay<'_> {
    /// Each brings a newer image of Redis, which nobody has asked for.
    async fn start(&mut self) {
        self.started += 1;
        let (name, image) =
            (format!("operator-{}", self.started), format!("--redis-image=redis:7.{}", self.started));
        let operator = Operator::start_with(self.server, &name, &[&image]).unwrap();
        operator.leads(self.server, SOON).await;
        self.runner = Some(operator);
    }

    fn kill(&mut self) {
        self.runner.take().expect("it runs").process.signal("KILL").unwrap();
        // It would run out in a quarter of a minute.
        self.server.kubectl(["delete", "lease", "hyperpage-operator", "-n", NAMESPACE]).unwrap();
    }
}

#[tokio::test]
async fn a_growth_survives_the_operators_death_at_every_step() {
    let _machine = machine().await;
    let Some(server) = bare("growth").await else { return };
    let scene = scene(&server, "t-steps").await;
    let (_nodes, _volumes) = (Nodes::healthy(&scene), Volumes::provided(&scene));
    volumes::class(&scene, "steps", true).await.unwrap();
    let mut relay = Relay { server: &server, runner: None, started: 0 };
    relay.start().await;
    scene.apply("shop", durable("steps", "1Gi", "Retain")).await.unwrap();
    scene.wait("shop", "Ready", "True", SOON).await;
    let (pod, first) = (redis_pod(&scene).await, until_template(&scene, "1Gi").await);
    relay.kill();

    // Asked for while nobody looks.
    scene.apply("shop", durable("steps", "2Gi", "Retain")).await.unwrap();
    relay.start().await;
    let claim = until_asked(&scene, "2Gi").await;
    relay.kill();

    // Grown while nobody looks; and the StatefulSet goes, but its successor is another's task.
    volumes::resizer_grows(&scene, CLAIM).await.unwrap();
    let orphan =
        DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..DeleteParams::default() };
    scene.api::<StatefulSet>().delete(REDIS, &orphan).await.unwrap();
    relay.start().await;
    let second = until_template(&scene, "2Gi").await;
    assert_ne!(second.uid(), first.uid());
    adopted(&scene, &second, &pod, &claim).await;
    scene.wait("shop", "Ready", "True", SOON).await;
    relay.kill();

    // The last step by a new process.
    scene.apply("shop", durable("steps", "3Gi", "Retain")).await.unwrap();
    relay.start().await;
    until_asked(&scene, "3Gi").await;
    relay.kill();
    volumes::resizer_grows(&scene, CLAIM).await.unwrap();
    relay.start().await;
    let third = until_template(&scene, "3Gi").await;
    adopted(&scene, &third, &pod, &claim).await;
    scene.wait("shop", "Ready", "True", SOON).await;
}

/// As an operator of another version may have made it.
#[tokio::test]
async fn a_statefulset_whose_fixed_fields_differ_is_made_again_around_its_pods() {
    let _machine = machine().await;
    let Some(server) = bare("fixed").await else { return };
    let scene = scene(&server, "t-fixed").await;
    let (_nodes, _volumes) = (Nodes::healthy(&scene), Volumes::provided(&scene));
    volumes::class(&scene, "fixed", false).await.unwrap();
    let mut relay = Relay { server: &server, runner: None, started: 0 };
    relay.start().await;
    scene.apply("shop", durable("fixed", "1Gi", "Retain")).await.unwrap();
    scene.wait("shop", "Ready", "True", SOON).await;
    let (pod, mut other) = (redis_pod(&scene).await, until_template(&scene, "1Gi").await);
    let claim = until_asked(&scene, "1Gi").await;
    relay.kill();

    let orphan =
        DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..DeleteParams::default() };
    scene.api::<StatefulSet>().delete(REDIS, &orphan).await.unwrap();
    eventually("gone", SOON, async || {
        let found = scene.api::<StatefulSet>().get_opt(REDIS).await;
        check(matches!(found, Ok(None)), found.is_ok())
    })
    .await;
    other.spec.as_mut().unwrap().pod_management_policy = Some("OrderedReady".to_owned());
    let metadata = &mut other.metadata;
    (metadata.uid, metadata.resource_version, metadata.managed_fields) = (None, None, None);
    metadata.annotations = None;
    let other = scene.api::<StatefulSet>().create(&PostParams::default(), &other).await.unwrap();
    relay.start().await;
    let renewed = until(&scene, REDIS, "as it is built", |set: &StatefulSet| {
        let policy = set.spec.as_ref().unwrap().pod_management_policy.as_deref();
        check(policy == Some("Parallel"), policy).map(|()| set.clone())
    })
    .await;
    assert_ne!(renewed.uid(), other.uid());
    adopted(&scene, &renewed, &pod, &claim).await;
    scene.wait("shop", "Ready", "True", SOON).await;
}

async fn password(scene: &Scene) -> Vec<u8> {
    let secret = scene.api::<Secret>().get(REDIS).await.unwrap();
    secret.data.unwrap()["password"].0.clone()
}

async fn until_deleted(scene: &Scene) {
    scene.hyperpages().delete("shop", &DeleteParams::default()).await.unwrap();
    eventually("all that it owned is gone", SOON, async || {
        let set = scene.api::<StatefulSet>().get_opt(REDIS).await?;
        let secret = scene.api::<Secret>().get_opt(REDIS).await?;
        let pods = scene.pods("shop", "redis").await?;
        anyhow::ensure!(set.is_none() && secret.is_none() && pods.is_empty(), "{set:?} {pods:?}");
        anyhow::Ok(())
    })
    .await;
}

#[tokio::test]
async fn data_are_kept_or_deleted_as_asked_when_the_hyperpage_goes() {
    let Some(world) = world().await else { return };
    let scene = world.scene("t-kept").await;
    let (_nodes, _volumes) = (Nodes::healthy(&scene), Volumes::provided(&scene));
    volumes::class(&scene, "kept", true).await.unwrap();
    scene.apply("shop", durable("kept", "1Gi", "Retain")).await.unwrap();
    scene.wait("shop", "Ready", "True", SOON).await;
    let (claim, first) = (until_asked(&scene, "1Gi").await, password(&scene).await);
    until_deleted(&scene).await;
    let same = |now: &PersistentVolumeClaim| {
        assert_eq!((now.uid(), &now.metadata.deletion_timestamp), (claim.uid(), &None));
    };
    same(&scene.api().get(CLAIM).await.unwrap());

    // Its successor finds the data, has a password of its own, and may ask for more at once.
    scene.apply("shop", durable("kept", "2Gi", "Retain")).await.unwrap();
    same(&until_asked(&scene, "2Gi").await);
    volumes::resizer_grows(&scene, CLAIM).await.unwrap();
    scene.wait("shop", "Ready", "True", SOON).await;
    assert_ne!(password(&scene).await, first);

    // Another policy acts on the StatefulSet that is there.
    scene.apply("shop", durable("kept", "2Gi", "Delete")).await.unwrap();
    until(&scene, CLAIM, "owned by its StatefulSet", |claim: &PersistentVolumeClaim| {
        check(!claim.owner_references().is_empty(), claim)
    })
    .await;
    same(&scene.api().get(CLAIM).await.unwrap());
    until_deleted(&scene).await;
    eventually("the claim is gone", SOON, async || {
        let found = scene.api::<PersistentVolumeClaim>().get_opt(CLAIM).await;
        check(matches!(found, Ok(None)), found)
    })
    .await;
}
