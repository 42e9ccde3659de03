//! One run: sidecars, clients and a nemesis, and the history that they leave.

use std::sync::Arc;
use std::time::Duration;

use tests::eventually::{check, eventually};
use tests::history::{Consistency, History, Pod};
use tests::proxy::Mode;
use tests::random::Random;
use tokio::sync::Semaphore;

use crate::client::Client;
use crate::faults::Family;
use crate::world::{CLIENTS, NODES, SESSIONS, World};
use crate::{loss, nemesis};

const RECOVERY: Duration = Duration::from_secs(90);
/// Of the rule `short-tombstone`.
const TOMBSTONE: Duration = Duration::from_millis(1500);
/// Runs mostly wait; so many at a time leave the machine some air.
static AT_A_TIME: Semaphore = Semaphore::const_new(5);

/// Runs `seed` against sidecars with that rule broken, or none, and returns what was seen.
pub(crate) async fn run(seed: u64, family: Family, mutant: Option<&'static str>) -> History {
    let _turn = AT_A_TIME.acquire().await.unwrap();
    let world = Arc::new(World::new(seed, family, mutant).await);
    let mut random = Random::new(seed);
    serving(&world).await;
    let begin = (0..SESSIONS).map(|session| {
        let mut client = Client::new(world.clone(), CLIENTS, Random::new(0));
        async move { client.begin(session).await }
    });
    futures::future::join_all(begin).await;
    let nemesis = nemesis::run(&world, random.fork());
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let client = Client::new(world.clone(), number, random.fork());
        clients.push(tokio::spawn(client.run()));
    }
    tokio::time::timeout(RECOVERY * 2, nemesis).await.expect("the nemesis ends");
    for client in clients {
        tokio::time::timeout(RECOVERY, client).await.expect("clients end").unwrap();
    }
    healed(&world).await;
    look(&world).await;
    history(&world).await
}

async fn serving(world: &World) {
    for node in &world.nodes {
        node.proxy.set(Mode::Pass);
    }
    for node in &world.nodes {
        eventually("the sidecar serves", RECOVERY, async || {
            let answer = node.http().get("/v1/sessions/no-such-session").await;
            check(answer.status == 404, answer)
        })
        .await;
    }
}

/// Everything works again, and what was to be repaired has had its time.
async fn healed(world: &World) {
    serving(world).await;
    for node in &world.nodes {
        eventually("the journal is empty", RECOVERY, async || {
            let metrics = node.sidecar.lock().await.admin.get("/metrics").await.body;
            check(sum(&metrics, "sessions_journal_depth") == 0, metrics)
        })
        .await;
    }
    if world.family.forgets_deletes() {
        tokio::time::sleep(2 * TOMBSTONE).await;
    }
    let lost = world
        .faults
        .lock()
        .unwrap()
        .iter()
        .filter(|fault| fault.lost.is_some())
        .map(|fault| fault.ended)
        .max();
    if let Some(lost) = lost {
        let repaired = lost + world.family.repair() + Duration::from_secs(1);
        tokio::time::sleep(repaired.saturating_sub(world.now())).await;
    }
}

/// The last look at every session, through every pod.
async fn look(world: &Arc<World>) {
    let mut client = Client::new(world.clone(), CLIENTS, Random::new(0));
    for session in 0..world.sessions() {
        for pod in 0..NODES {
            client.read(session, pod, Consistency::Default).await;
            client.read(session, pod, Consistency::NoCache).await;
        }
    }
}

async fn history(world: &World) -> History {
    let (mut pods, mut logs) = (Vec::new(), Vec::new());
    for node in &world.nodes {
        let sidecar = node.sidecar.lock().await;
        sidecar.assert_sound();
        logs.push(sidecar.logs());
        let metrics = sidecar.admin.get("/metrics").await.expect(200).body;
        let Pod { killed, paused, .. } = node.pod.lock().unwrap().clone();
        pods.push(Pod {
            killed,
            paused,
            dropped: sum(&metrics, "sessions_journal_dropped_total"),
            forked: sum(&metrics, "sessions_forked_total"),
            overflowed: sum(&metrics, "sessions_ring_forgotten_total"),
        });
    }
    let renewed = if world.family.loses_data() { loss::renewed(world).await } else { Duration::ZERO };
    let mut faults = world.faults.lock().unwrap().clone();
    // There is one at most.
    faults.iter_mut().filter_map(|fault| fault.lost.as_mut()).for_each(|lost| lost.renewed = renewed);
    History { events: world.events(), faults, pods, repair: world.family.repair(), logs }
}

/// Of all samples of that name.
fn sum(metrics: &str, name: &str) -> u64 {
    let samples = metrics.lines().filter_map(|line| line.rsplit_once(' '));
    let named = samples.filter(|(sample, _)| sample.split('{').next() == Some(name));
    named.map(|(_, value)| value.parse::<u64>().unwrap()).sum()
}
