//! One run: sidecars, their apps and a nemesis, and the history that they leave.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tests::agreement::History;
use tests::http::Request;
use tests::proxy::Mode;
use tests::random::Random;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::app::App;
use super::calls::Caller;
use super::faults::Family;
use super::nemesis;
use super::world::{NODES, Seen, World, now, pod};
use crate::nemesis::pause;

/// A machine under load, and sentinels.
const RECOVERY: Duration = Duration::from_secs(60);
const LEASE_MS: u64 = 700;
/// Runs mostly wait; so many at a time leave the machine some air.
static AT_A_TIME: Semaphore = Semaphore::const_new(4);

pub(super) struct Done {
    pub(super) history: History,
    /// By operation and outcome.
    pub(super) calls: BTreeMap<(&'static str, &'static str), usize>,
    pub(super) strange: Vec<String>,
    /// From the last fault until all name one leader.
    pub(super) led_after: Duration,
    /// In the end an invalidation was applied by all.
    pub(super) applied: bool,
}

pub(super) async fn run(seed: u64, family: Family, mutant: Option<&'static str>) -> Done {
    let _turn = AT_A_TIME.acquire().await.unwrap();
    let world = Arc::new(World::new(family, mutant).await);
    let mut random = Random::new(seed);
    assert!(led(&world).await, "a leader to begin with");
    let nemesis = nemesis::run(&world, random.fork());
    let apps = begin_to_listen(&world, &mut random).await;
    let callers = begin_to_call(&world, &mut random);
    let faults = timeout(RECOVERY * 4, nemesis).await.expect("the nemesis ends");
    world.quiet.cancel();
    timeout(RECOVERY, callers.join_all()).await.expect("callers end");
    for node in &world.nodes {
        node.proxy.set(Mode::Pass);
    }
    let healed = now();
    // What was known before the last fault is over by then.
    pause(LEASE_MS).await;
    let settled = led(&world).await;
    let led_after = now() - healed;
    let applied = all_heard(&world).await;
    let until = now();
    world.over.cancel();
    timeout(RECOVERY, apps.join_all()).await.expect("apps end");
    let seen = seen(&world).await;
    let (calls, strange) = (seen.calls.clone(), seen.strange.clone());
    let history = History { settled, faults, ..history(&world, seen, until) };
    Done { history, calls, strange, led_after, applied }
}

/// Each app is told by its sidecar that it hears.
async fn begin_to_listen(world: &Arc<World>, random: &mut Random) -> JoinSet<()> {
    let mut apps = JoinSet::new();
    for pod in 0..NODES {
        apps.spawn(App { world: world.clone(), pod, random: random.fork() }.run());
    }
    let end = now() + RECOVERY;
    while now() < end && world.nodes.iter().any(|node| node.heard.lock().unwrap().begun == 0) {
        pause(10).await;
    }
    apps
}

fn begin_to_call(world: &Arc<World>, random: &mut Random) -> JoinSet<()> {
    let mut callers = JoinSet::new();
    let mut caller = |pod| Caller::new(world.clone(), pod, random.fork());
    for pod in 0..NODES {
        callers.spawn(caller(pod).talk());
        callers.spawn(caller(pod).lead());
    }
    callers.spawn(caller(0).change());
    callers
}

/// L5: there is a leader again, and all know it.
async fn led(world: &World) -> bool {
    let end = now() + RECOVERY;
    while now() < end {
        let mut told = Vec::new();
        for node in &world.nodes {
            let answer = node.present().http.try_send(Request::new("GET", "/v1/leader")).await;
            let answer = answer.ok().filter(|answer| answer.status == 200).map(|answer| answer.json());
            told.push(answer.unwrap_or_default());
        }
        let named = |told: &Value| (told["leaderId"].clone(), told["term"].clone());
        let leaders = told.iter().filter(|told| told["isLeader"] == true).count();
        if leaders == 1 && told.iter().all(|other| named(other) == named(&told[0])) {
            return true;
        }
        pause(20).await;
    }
    false
}

/// Once more everybody is told something, and says that it is applied; then each has heard all that came before.
async fn all_heard(world: &Arc<World>) -> bool {
    let mut caller = Caller::new(world.clone(), 0, Random::new(0));
    let end = now() + RECOVERY;
    let mut last = None;
    while now() < end {
        last = match last {
            None => caller.invalidate(0, "1000").await,
            known => known,
        };
        let reached = |last| world.nodes.iter().all(|node| node.heard.lock().unwrap().reached(last));
        if last.is_some_and(reached) {
            return true;
        }
        pause(20).await;
    }
    false
}

async fn seen(world: &World) -> Seen {
    for node in &world.nodes {
        let sidecar = node.sidecar.lock().await;
        sidecar.assert_sound();
        world.read_claims(&node.present(), &sidecar);
    }
    std::mem::take(&mut *world.seen.lock().unwrap())
}

fn history(world: &World, seen: Seen, until: Duration) -> History {
    let Seen { wins, claims, published, barriers, calls: _, strange: _ } = seen;
    // Where the tail may be lost and nobody confirms, only the fence orders what leaders do.
    let exclusive = !matches!(world.family, Family::Flushed | Family::Wiped);
    let mut history = History { wins, claims, published, barriers, exclusive, ..History::default() };
    for (number, node) in world.nodes.iter().enumerate() {
        let heard = std::mem::take(&mut *node.heard.lock().unwrap());
        let listener = tests::agreement::Listener { until, ..heard.listener };
        history.heard.insert(pod(number), listener);
        history.effects.insert(pod(number), heard.effects);
        history.reads.extend(heard.reads);
    }
    history
}
