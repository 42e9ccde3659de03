//! One API server and one operator for all tests that can share them; each has its own namespace.

use std::ops::Deref;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Resource;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tests::apiserver::ApiServer;
use tests::eventually::eventually;
use tests::installation::{OPERATOR_USER, Operator, install};
use tests::kube::Scene;
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// For what must merely happen: on an idle machine a fraction of it, on a busy one with five more API servers less.
pub(crate) const SOON: Duration = Duration::from_secs(120);

/// A test that measures time waits for the others, and keeps them out.
static MACHINE: RwLock<()> = RwLock::const_new(());

pub(crate) struct World {
    pub(crate) server: ApiServer,
    pub(crate) operator: Operator,
}

/// The world, and the right to use the machine while it is held.
pub(crate) struct Turn<G> {
    world: &'static World,
    _machine: G,
}

impl<G> Deref for Turn<G> {
    type Target = World;

    fn deref(&self) -> &World {
        self.world
    }
}

/// None, with one line that says why, where Kubernetes' programs are missing.
pub(crate) async fn world() -> Option<Turn<RwLockReadGuard<'static, ()>>> {
    let machine = MACHINE.read().await;
    Some(Turn { world: shared().await?, _machine: machine })
}

/// As [`world`], with nothing else at work in this process.
pub(crate) async fn world_alone() -> Option<Turn<RwLockWriteGuard<'static, ()>>> {
    let machine = MACHINE.write().await;
    Some(Turn { world: shared().await?, _machine: machine })
}

async fn shared() -> Option<&'static World> {
    static WORLD: OnceCell<Option<World>> = OnceCell::const_new();
    WORLD.get_or_init(|| World::start_by("shared", "", Operator::keep)).await.as_ref()
}

/// Waits until the audit log tells of nothing but `only`: an answer may be here before its line is there.
pub(crate) async fn asked_for(asked: impl Fn() -> anyhow::Result<Vec<String>>, only: &[&str]) {
    eventually("the audit log tells of what is asked for", SOON, async || {
        let asked = asked()?;
        anyhow::ensure!(asked == only, "{asked:?}");
        anyhow::Ok(())
    })
    .await;
}

/// For a test with servers of its own.
pub(crate) async fn machine() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().await
}

impl World {
    /// A server, its controllers, the chart's objects and one leading operator.
    pub(crate) async fn start(name: &str) -> Option<Self> {
        Self::start_with(name, "").await
    }

    pub(crate) async fn start_with(name: &str, gates: &str) -> Option<Self> {
        Self::start_by(name, gates, Operator::start).await
    }

    async fn start_by(
        name: &str,
        gates: &str,
        start: fn(&ApiServer, &str) -> anyhow::Result<Operator>,
    ) -> Option<Self> {
        let server = bare_with(name, gates).await?;
        let operator = start(&server, "operator-a").expect("the operator starts");
        operator.leads(&server, SOON).await;
        Some(Self { server, operator })
    }

    pub(crate) async fn scene(&self, namespace: &str) -> Scene {
        scene(&self.server, namespace).await
    }
}

/// Like [`World::start`], without an operator.
pub(crate) async fn bare(name: &str) -> Option<ApiServer> {
    bare_with(name, "").await
}

async fn bare_with(name: &str, gates: &str) -> Option<ApiServer> {
    let mut server = ApiServer::start_with(name, &[OPERATOR_USER], gates).await?;
    install(&server).await.expect("the chart's objects are accepted");
    // Only now: the garbage collector learns of a new kind half a minute late.
    server.start_controllers().expect("controllers start");
    Some(server)
}

pub(crate) async fn scene(server: &ApiServer, namespace: &str) -> Scene {
    let client = server.admin().await.expect("a client");
    Scene::open(client, namespace).await.expect("a new namespace")
}

/// Off in Kubernetes 1.34, on in 1.35.0 to 1.35.3, where a StatefulSet with parallel pods then waits for its unready
/// pods and does not replace them; because of that off again until 1.37, which has it repaired.
pub(crate) const MAX_UNAVAILABLE: &str = "MaxUnavailableStatefulSet=true";

/// The least a Hyperpage can say.
pub(crate) fn shop() -> Value {
    json!({"app": {"image": "registry.test/shop:1"}})
}

/// `base` with the fields of `more`.
pub(crate) fn with(base: Value, more: Value) -> Value {
    let (Value::Object(mut base), Value::Object(more)) = (base, more) else { panic!("two objects") };
    base.extend(more);
    Value::Object(base)
}

/// Waits until `look` finds what it wants in the object, and gives that.
pub(crate) async fn until<K, T>(
    scene: &Scene,
    name: &str,
    what: &str,
    mut look: impl FnMut(&K) -> Result<T, String>,
) -> T
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    let what = format!("{}/{name}: {what}", scene.namespace);
    eventually(&what, SOON, async || {
        let object = scene.api::<K>().get(name).await.map_err(|error| error.to_string())?;
        look(&object)
    })
    .await
}

/// Waits until the Deployment wants so many pods.
pub(crate) async fn until_replicas(scene: &Scene, name: &str, want: i32) -> Deployment {
    until(scene, name, &format!("{want} replicas"), |deployment: &Deployment| {
        let seen = deployment.spec.as_ref().and_then(|spec| spec.replicas);
        if seen == Some(want) { Ok(deployment.clone()) } else { Err(format!("{seen:?}")) }
    })
    .await
}

/// Waits until one was recorded that begins so, and gives it.
pub(crate) async fn event(scene: &Scene, begins: &str) -> String {
    eventually(begins, SOON, async || {
        let events = scene.events("shop").await?;
        let found = events.iter().find(|event| event.starts_with(begins)).cloned();
        found.ok_or_else(|| anyhow::anyhow!("{events:?}"))
    })
    .await
}

/// Everything of the namespace but Secrets, and what was said about it.
pub(crate) fn readable(
    server: &ApiServer,
    operators: &[&Operator],
    namespace: &str,
) -> Vec<(String, String)> {
    let kinds = "hyperpages,deployments,statefulsets,replicasets,configmaps,services,serviceaccounts,pods,\
        events.events.k8s.io,horizontalpodautoscalers";
    let objects = server.kubectl(["get", kinds, "-n", namespace, "-o", "json", "--show-managed-fields"]);
    let logs = operators.iter().map(|it| (it.identity.clone(), it.process.log()));
    let texts = [("objects", objects.expect("kubectl get")), ("the API server's log", server.log())];
    texts.map(|(name, text)| (name.to_owned(), text)).into_iter().chain(logs).collect()
}
