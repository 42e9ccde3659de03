//! Breaks things, one after the other, and mends each.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tests::agreement::Fault;
use tests::http::Request;
use tests::proxy::Mode;
use tests::random::Random;

use super::faults::Kind;
use super::totals::CALLS;
use super::world::{NODES, World, now};
use crate::nemesis::{hold, pause};

/// Load lasts so long at least, and until enough has happened.
const LENGTH: Duration = Duration::from_secs(5);
/// Then it is for the run to say that this was not enough.
const LONGEST: Duration = Duration::from_secs(60);
pub(super) const FAULTS: usize = 3;
/// What most messages hold.
const SAID: &str = "broadcast";

pub(super) async fn run(world: &Arc<World>, mut random: Random) -> Vec<Fault> {
    let kinds = world.family.kinds();
    let mut turn = random.below(kinds.len() as u64) as usize;
    let (begun, mut struck) = (now(), Vec::<Fault>::new());
    let enough = |struck: &[Fault]| {
        let happened = struck.iter().filter(|fault| fault.happened).count();
        let acted = world.nodes.iter().all(|node| !node.heard.lock().unwrap().effects.is_empty());
        happened >= FAULTS && world.calls.load(Ordering::SeqCst) >= CALLS && acted
    };
    while now() - begun < LENGTH || (!enough(&struck) && now() - begun < LONGEST) {
        pause(if world.family.unseats() { 1_500 } else { 300 } + random.below(400)).await;
        let kind = kinds[turn % kinds.len()];
        turn += 1;
        if kind == Kind::FailOver && struck.iter().any(|fault| fault.name == kind.name()) {
            continue;
        }
        let (name, begun) = (kind.name(), now());
        let happened = happen(world, kind, &mut random).await;
        struck.push(Fault { name, begun, ended: now(), happened });
    }
    struck
}

async fn happen(world: &Arc<World>, kind: Kind, random: &mut Random) -> bool {
    let any = random.below(NODES as u64) as usize;
    // Whoever leads has most to lose.
    let victim = if random.below(2) == 0 { leader(world).await.unwrap_or(any) } else { any };
    // From a part of a lease to more than one.
    let for_a_while = 150 + random.below(1_100);
    let node = &world.nodes[victim];
    match kind {
        Kind::Cut => hold(&node.proxy, Mode::Cut, for_a_while).await,
        Kind::LongCut => hold(&node.proxy, Mode::Cut, for_a_while + 3_400).await,
        Kind::Mute => hold(&node.proxy, Mode::Mute(SAID), for_a_while).await,
        Kind::BlackHole => hold(&node.proxy, Mode::BlackHole, for_a_while).await,
        Kind::Delay => hold(&node.proxy, Mode::Delay(Duration::from_millis(for_a_while / 5)), 900).await,
        Kind::Stall => hold(&node.proxy, Mode::Stall, for_a_while).await,
        Kind::HalfOpen => node.proxy.half_open(),
        Kind::PauseRedis => {
            let redis = world.redis.lock().await;
            redis.master().hang();
            pause(for_a_while).await;
            redis.master().resume();
        }
        Kind::RestartRedis => world.redis.lock().await.master_mut().restart().await,
        Kind::Wipe => world.redis.lock().await.master_mut().restart_empty().await,
        Kind::Rollback => {
            let mut redis = world.redis.lock().await;
            redis.master().command::<()>(&["SAVE"]).await.unwrap();
            pause(for_a_while).await;
            redis.master_mut().restart().await;
        }
        Kind::Flush => {
            let redis = world.redis.lock().await;
            return redis.master().command::<()>(&["FLUSHALL"]).await.is_ok();
        }
        Kind::PauseLeader => {
            let Some(leader) = leader(world).await else { return false };
            let sidecar = world.nodes[leader].sidecar.lock().await;
            sidecar.pause();
            pause(600 + for_a_while).await;
            sidecar.resume();
        }
        Kind::KillLeader => {
            let Some(leader) = leader(world).await else { return false };
            kill(world, leader).await;
        }
        Kind::KillAny => kill(world, victim).await,
        Kind::FailOver => {
            let mut redis = world.redis.lock().await;
            redis.hang_replicas(false).await;
            pause(for_a_while).await;
            redis.fail_over().await;
        }
        Kind::Part => {
            // Two of three are so long that those on the other side count this pod out.
            let longer = 1_000 + 3_000 * random.below(3).min(1);
            world.redis.lock().await.part(victim, pause(for_a_while + longer)).await;
        }
    }
    true
}

async fn kill(world: &Arc<World>, victim: usize) {
    let node = &world.nodes[victim];
    let mut sidecar = node.sidecar.lock().await;
    sidecar.assert_no_panic();
    sidecar.kill();
    pause(100).await;
    node.replace(world, &mut sidecar).await;
}

/// The one that says that it leads.
async fn leader(world: &Arc<World>) -> Option<usize> {
    for (number, node) in world.nodes.iter().enumerate() {
        let answer = node.present().http.try_send(Request::new("GET", "/v1/leader")).await;
        if answer.is_ok_and(|answer| answer.status == 200 && answer.json()["isLeader"] == true) {
            return Some(number);
        }
    }
    None
}
