//! Breaks things, one after the other, mends each, and writes down what came of it.

use std::sync::Arc;
use std::time::Duration;

use tests::history::{Event, Fault, Loss, Outcome};
use tests::proxy::{Mode, Proxy};
use tests::random::Random;

use crate::faults::Kind;
use crate::loss;
use crate::world::{NODES, World};

/// Load lasts so long at least, and until enough has happened.
const LENGTH: Duration = Duration::from_secs(4);
/// Then it is for the run to say that this was not enough.
const LONGEST: Duration = Duration::from_secs(25);
pub(crate) const FAULTS: usize = 3;
pub(crate) const CALLS: usize = 500;
/// A data loss is judged when the repair of the one before is over.
const LOSSES: usize = 1;
const AFTER_A_LOSS: Duration = Duration::from_millis(1300);
/// By what all sessions hold.
const WRITES: &str = "metadata";
/// Of every write; then the next PING finds the connection dead.
const ANSWERS_LOST: Mode = Mode::Mute(WRITES);
/// A call that took so long was held up.
const SLOW: Duration = Duration::from_millis(150);

pub(crate) async fn run(world: &Arc<World>, mut random: Random) {
    let kinds = world.family.kinds();
    let mut turn = random.below(kinds.len() as u64) as usize;
    let begun = world.now();
    let load = || world.now() - begun;
    while !enough(world, load()) && load() < LONGEST {
        pause(150 + random.below(250)).await;
        if world.family.loses_data() && !is_due(world, load()) {
            continue;
        }
        let kind = kinds[turn % kinds.len()];
        strike(world, kind, &mut random).await;
        // What sidecars remember is compared with each new incarnation before anything is written.
        if kind == Kind::Swap {
            pause(600).await;
        }
        turn += 1;
    }
    world.end();
}

/// Data is lost once, and late: what is there before is as much of interest as what happens then.
fn is_due(world: &World, load: Duration) -> bool {
    load > LENGTH - AFTER_A_LOSS && world.faults.lock().unwrap().len() < LOSSES
}

fn enough(world: &World, load: Duration) -> bool {
    let happened = world.faults.lock().unwrap().iter().filter(|fault| !fault.effect.is_empty()).count();
    let faults = if world.family.loses_data() { LOSSES } else { FAULTS };
    load > LENGTH && happened >= faults && world.calls() >= CALLS
}

/// Begins a fault, ends it, and looks what it did.
async fn strike(world: &Arc<World>, kind: Kind, random: &mut Random) {
    let victim = random.below(NODES as u64) as usize;
    let connections = || world.nodes.iter().map(|node| node.proxy.connections()).sum::<u64>();
    let (begun, before) = (world.now(), connections());
    let (pod, mut effect, lost) = happen(world, kind, victim, random).await;
    let ended = world.now();
    // Who was held up has yet to be answered, and half a connection to be found out.
    pause(if matches!(kind, Kind::HalfOpen | Kind::HalfClose) { 400 } else { 60 }).await;
    let hurt = world.events().iter().filter(|event| hurt(event, pod, begun)).count();
    let dialled = connections() - before;
    if hurt + dialled as usize > 0 {
        effect = format!("{effect}{hurt} calls failed or waited, {dialled} connections dialled");
    }
    world.faults.lock().unwrap().push(Fault { name: kind.name(), pod, begun, ended, effect, lost });
}

fn hurt(event: &Event, pod: Option<usize>, begun: Duration) -> bool {
    let here = pod.is_none_or(|pod| event.pod == pod) && event.ended > begun;
    here && (matches!(event.outcome, Outcome::Unknown | Outcome::Fail) || event.ended - event.invoked > SLOW)
}

/// The pod that it befell, or all; what is known of it; what was lost.
async fn happen(
    world: &Arc<World>,
    kind: Kind,
    victim: usize,
    random: &mut Random,
) -> (Option<usize>, String, Option<Loss>) {
    let for_a_while = 200 + random.below(900);
    let node = &world.nodes[victim];
    let one = |effect: &str| (Some(victim), effect.to_owned(), None);
    let all = |effect: String| (None, effect, None);
    match kind {
        Kind::Cut => hold(&node.proxy, Mode::Cut, for_a_while).await,
        Kind::LongCut => hold(&node.proxy, Mode::Cut, for_a_while + 1300).await,
        Kind::LongCutThenMute => {
            hold(&node.proxy, Mode::Cut, for_a_while + 1300).await;
            hold(&node.proxy, ANSWERS_LOST, 300).await;
        }
        Kind::LongCutThenDelay => {
            hold(&node.proxy, Mode::Cut, for_a_while + 1300).await;
            hold(&node.proxy, Mode::Delay(Duration::from_millis(15)), 1200).await;
        }
        Kind::Mute => hold(&node.proxy, ANSWERS_LOST, for_a_while).await,
        Kind::BlackHole => hold(&node.proxy, Mode::BlackHole, for_a_while).await,
        Kind::Delay => {
            let delay = Duration::from_millis(20 + random.below(300));
            hold(&node.proxy, Mode::Delay(delay), for_a_while).await;
        }
        Kind::Stall => {
            // Calls are under way when it begins, and it ends when others have seen that a write has not come.
            hold(&node.proxy, Mode::Delay(Duration::from_millis(80)), 250).await;
            hold(&node.proxy, Mode::Stall, for_a_while + 900).await;
        }
        // Whoever wrote has given up when it ends, and others have seen that the write has not come.
        Kind::StallWrites => hold(&node.proxy, Mode::StallAt(WRITES), for_a_while + 2400).await,
        Kind::HalfOpen => node.proxy.half_open(),
        Kind::HalfClose => node.proxy.half_close(),
        Kind::PauseRedis => {
            let redis = world.redis.lock().await;
            redis.master().hang();
            pause(for_a_while).await;
            redis.master().resume();
            return all(String::new());
        }
        Kind::RestartRedis => {
            world.redis.lock().await.master_mut().restart().await;
            return all("killed, serving again; ".to_owned());
        }
        Kind::PauseSidecar => {
            let sidecar = node.sidecar.lock().await;
            let begun = world.now();
            sidecar.pause();
            pause(for_a_while).await;
            sidecar.resume();
            node.pod.lock().unwrap().paused.push((begun, world.now()));
        }
        Kind::KillSidecar => {
            let mut sidecar = node.sidecar.lock().await;
            sidecar.assert_no_panic();
            sidecar.kill();
            node.pod.lock().unwrap().killed.push(world.now());
            pause(for_a_while / 2).await;
            node.replace(&mut sidecar).await;
            return one("killed, another begun; ");
        }
        Kind::Expire => {
            let gone = loss::expire(world, random).await;
            return all(if gone { "one session gone; ".to_owned() } else { String::new() });
        }
        Kind::Swap => return all(format!("{} sessions swapped; ", loss::swap(world).await)),
        Kind::Flush => return loss::flush(world).await,
        Kind::FailOver | Kind::FailOverAlone => {
            return loss::fail_over(world, kind == Kind::FailOverAlone).await;
        }
        Kind::Wipe | Kind::Rollback => return loss::restart(world, kind, for_a_while).await,
    }
    one("")
}

/// That for so long, and then nothing.
pub(crate) async fn hold(proxy: &Proxy, mode: Mode, ms: u64) {
    proxy.set(mode);
    pause(ms).await;
    proxy.set(Mode::Pass);
}

/// A fault lasts, and something has to happen meanwhile.
pub(crate) async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}
