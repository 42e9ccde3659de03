//! The watches, each in a task of its own, and the controller that they wake.

mod naive;

use std::{
    collections::HashSet,
    fmt::Debug,
    sync::Arc,
    time::{Duration, Instant},
};

use crds::contract::label;
use futures::{Stream, StreamExt, TryStreamExt, future, stream};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Client, Resource, ResourceExt,
    api::PartialObjectMeta,
    core::NamespaceResourceScope,
    runtime::{
        Controller, Predicate, PredicateConfig, WatchStreamExt, controller, predicates,
        reflector::{self, ObjectRef},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    children::{Child, Wake},
    claims,
    context::{Clients, Context},
    health::Health,
    hyperpage::{self, Stored},
    metrics::Metrics,
    pulse,
    scope::{Scope, Watch},
    shape::Shape,
};

/// Reconciles at a time.
const CONCURRENCY: u16 = 16;
/// Changes come in bursts, our own among them; one look serves them all.
const DEBOUNCE: Duration = Duration::from_millis(250);
/// Full, it holds up a watch, which loses nothing by waiting.
const WAKES: usize = 1024;
/// Objects in one answer to a list. While it is read, an answer takes more memory than all that is kept of it.
const PAGE: u32 = 20;

/// Works in every scope until told to stop and what is under way is finished.
pub async fn run(
    clients: &Clients,
    contexts: Vec<Arc<Context>>,
    health: Arc<Health>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    health.starts_to_read(contexts.iter().map(|context| context.scope.clone()));
    // Shared, not multiplied.
    let concurrency = (CONCURRENCY / u16::try_from(contexts.len()).unwrap_or(CONCURRENCY)).max(2);
    let scopes = contexts.into_iter();
    let work = scopes.map(|context| watch(clients, context, health.clone(), concurrency, stop.clone()));
    future::try_join_all(work).await.map(drop)
}

/// Reads what exists, then reconciles.
async fn watch(
    clients: &Clients,
    context: Arc<Context>,
    health: Arc<Health>,
    concurrency: u16,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let (wakes, woken) = mpsc::channel(WAKES);
    let mut watches = Watches {
        client: clients.watch.clone(),
        metrics: context.metrics.clone(),
        scope: context.scope.clone(),
        health: health.clone(),
        wakes,
        tasks: JoinSet::new(),
        ready: Vec::new(),
    };
    match context.shape {
        Shape::Lean => watches.children(&context),
        Shape::Naive => watches.everything(&context),
    }
    let Watches { mut tasks, ready, .. } = watches;
    tokio::select! {
        _ = future::try_join_all(ready) => {}
        ended = tasks.join_next() => return Err(watch_ended(ended)),
        () = stop.cancelled() => return Ok(()),
    }
    let work = control(clients, context, health, concurrency, woken, stop);
    tokio::select! {
        () = work => Ok(()),
        ended = tasks.join_next() => Err(watch_ended(ended)),
    }
}

fn watch_ended(ended: Option<Result<(), tokio::task::JoinError>>) -> anyhow::Error {
    match ended {
        Some(Err(error)) => anyhow::Error::new(error).context("a watch ended"),
        Some(Ok(())) | None => anyhow::anyhow!("a watch ended"),
    }
}

async fn control(
    clients: &Clients,
    context: Arc<Context>,
    health: Arc<Health>,
    concurrency: u16,
    mut woken: mpsc::Receiver<Wake>,
    stop: CancellationToken,
) {
    let (reader, writer) = reflector::store::<Stored>();
    let ready = {
        let (reader, health, scope) = (reader.clone(), health.clone(), context.scope.clone());
        async move {
            if reader.wait_until_ready().await.is_ok() {
                health.has_read(&scope);
                tracing::info!(namespace = scope.namespace(), "watches are ready");
            }
        }
    };
    let hyperpages = hyperpages(clients.watch.clone(), context.clone(), health)
        .reflect(writer)
        .applied_objects()
        .predicate_filter(
            predicates::generation.combine(predicates::annotations).combine(predicates::finalizers),
            PredicateConfig::default(),
        );
    let wakes = stream::poll_fn(move |cx| woken.poll_recv(cx))
        .map(|(namespace, name)| ObjectRef::<Stored>::new(&name).within(&namespace));
    let controller = Controller::for_stream(hyperpages, reader)
        .with_config(controller::Config::default().concurrency(concurrency).debounce(DEBOUNCE))
        .reconcile_on(wakes)
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(hyperpage::reconcile, hyperpage::retry, context)
        .for_each(|_| future::ready(()));
    future::join(controller, ready).await;
}

/// The Hyperpages themselves; one that is gone is forgotten.
fn hyperpages(
    client: Client,
    context: Arc<Context>,
    health: Arc<Health>,
) -> impl Stream<Item = watcher::Result<watcher::Event<Stored>>> + Send {
    let mut listed = HashSet::new();
    let watch = Watch { kind: "Hyperpage", scope: context.scope.clone() };
    let client = pulse::heard(&client, &watch, &context.metrics);
    watcher(watch.scope.api::<Stored>(client), paged())
        .default_backoff()
        .inspect_ok(move |event| match event {
            watcher::Event::Init => listed.clear(),
            watcher::Event::InitApply(found) => drop(listed.insert(found.uid().unwrap_or_default())),
            watcher::Event::InitDone => context.memories.keep(&std::mem::take(&mut listed)),
            watcher::Event::Apply(_) => {}
            watcher::Event::Delete(gone) => context.memories.forget(&gone.uid().unwrap_or_default()),
        })
        .inspect(move |event| note(&health, &watch, event.as_ref().err()))
        .modify(|hyperpage| hyperpage.managed_fields_mut().clear())
}

/// Of the newest state: "any" is answered from a cache that knows no pages.
fn paged() -> watcher::Config {
    watcher::Config::default().page_size(PAGE)
}

struct Watches {
    client: Client,
    metrics: Arc<Metrics>,
    scope: Scope,
    health: Arc<Health>,
    wakes: mpsc::Sender<Wake>,
    tasks: JoinSet<()>,
    ready: Vec<oneshot::Receiver<()>>,
}

impl Watches {
    /// Secrets are never watched: they cannot be told apart by label in RBAC, and somebody's are large.
    fn children(&mut self, context: &Arc<Context>) {
        let ours = paged().labels(&format!("{}={}", label::MANAGED_BY, label::MANAGER));
        self.child::<Deployment>(context, ours.clone());
        self.child::<StatefulSet>(context, ours.clone());
        self.child::<PartialObjectMeta<Service>>(context, ours.clone());
        self.child::<PartialObjectMeta<ServiceAccount>>(context, ours.clone());
        self.child::<PartialObjectMeta<ConfigMap>>(context, ours.clone());
        self.child::<PartialObjectMeta<PodDisruptionBudget>>(context, ours.clone());
        self.child::<PartialObjectMeta<NetworkPolicy>>(context, ours.clone());
        // Of all owners: somebody else's may scale our Deployment.
        self.child::<HorizontalPodAutoscaler>(context, paged());
        let seen = context.clone();
        self.follow::<Pod>("Pod", ours, move |event| seen.pods.take(event));
        let claims = paged().labels(&claims::selector());
        let seen = context.clone();
        self.follow::<PersistentVolumeClaim>("PersistentVolumeClaim", claims, move |event| {
            seen.claims.take(event, claims::keep)
        });
    }

    fn child<K: Child>(&mut self, context: &Arc<Context>, config: watcher::Config) {
        let seen = context.clone();
        self.follow::<K>(K::KIND.as_str(), config, move |event| seen.children.take(event));
    }

    fn follow<K>(
        &mut self,
        kind: &'static str,
        config: watcher::Config,
        take: impl FnMut(watcher::Event<K>) -> Vec<Wake> + Send + 'static,
    ) where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        let (ready, is_ready) = oneshot::channel();
        self.ready.push(is_ready);
        let watch = Watch { kind, scope: self.scope.clone() };
        let client = pulse::heard(&self.client, &watch, &self.metrics);
        let events = watcher(watch.scope.api::<K>(client), config).default_backoff().boxed();
        self.tasks.spawn(deliver(events, watch, take, self.health.clone(), self.wakes.clone(), ready));
    }
}

/// Feeds one watch into its store, and wakes who is concerned. Nobody needs waking before the first list is
/// complete: every Hyperpage is looked at after that anyway.
async fn deliver<K: Debug>(
    mut events: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Unpin,
    watch: Watch,
    mut take: impl FnMut(watcher::Event<K>) -> Vec<Wake>,
    health: Arc<Health>,
    wakes: mpsc::Sender<Wake>,
    ready: oneshot::Sender<()>,
) {
    let mut ready = Some(ready);
    while let Some(event) = events.next().await {
        note(&health, &watch, event.as_ref().err());
        let Ok(event) = event else { continue };
        let listed = matches!(event, watcher::Event::InitDone);
        let concerned = take(event);
        if ready.is_none() {
            for wake in concerned {
                if wakes.send(wake).await.is_err() {
                    return;
                }
            }
        }
        if listed && let Some(ready) = ready.take() {
            // Nobody listens any more when the operator stops while it starts.
            let _ = ready.send(());
        }
    }
}

fn note(health: &Health, watch: &Watch, error: Option<&watcher::Error>) {
    match error {
        None => health.watch_works(watch),
        Some(error) => {
            tracing::warn!(%watch, %error, "a watch failed; it is tried again");
            health.watch_failed(watch, Instant::now());
        }
    }
}
