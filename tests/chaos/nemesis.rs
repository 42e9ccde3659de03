//! Breaks things, one after the other, mends each, and lets sessions expire. It loses no data.

use std::time::Duration;

use tests::history::{Action, Outcome};
use tests::proxy::Mode;
use tests::random::Random;

use crate::run::{Fate, SESSIONS, World, fate};

#[derive(Debug, Clone, Copy)]
enum Fault {
    Cut,
    Stall,
    BlackHole,
    HalfOpen,
    HalfClose,
    Delay,
    Hang,
    Restart,
}

const FAULTS: [Fault; 9] = [
    Fault::Cut,
    Fault::Stall,
    Fault::Stall,
    Fault::BlackHole,
    Fault::HalfOpen,
    Fault::HalfClose,
    Fault::Delay,
    Fault::Hang,
    Fault::Restart,
];

pub(crate) async fn run(world: &World, mut random: Random) {
    let mut mortal: Vec<usize> = (0..SESSIONS).filter(|session| fate(*session) == Fate::Expired).collect();
    while !world.over() {
        pause(100 + random.below(300)).await;
        if let Some(session) = mortal.pop() {
            // Slow writers are under way when it goes.
            for proxy in &world.proxies {
                proxy.set(Mode::Delay(Duration::from_millis(20)));
            }
            pause(50 + random.below(100)).await;
            expire(world, session).await;
            pause(100).await;
            for proxy in &world.proxies {
                proxy.set(Mode::Pass);
            }
        }
        let fault = *random.choose(&FAULTS);
        strike(world, fault, &mut random).await;
    }
}

/// Begins a fault, and ends it.
async fn strike(world: &World, fault: Fault, random: &mut Random) {
    let proxy = &world.proxies[random.below(world.proxies.len() as u64) as usize];
    let for_a_while = 200 + random.below(1000);
    let mode = match fault {
        Fault::Cut => Mode::Cut,
        Fault::Stall => {
            // Calls are under way when it begins, and it ends when others have seen that a write has not come.
            proxy.set(Mode::Delay(Duration::from_millis(80)));
            pause(200).await;
            return hold(proxy, Mode::Stall, for_a_while + 1000).await;
        }
        Fault::BlackHole => Mode::BlackHole,
        Fault::Delay => Mode::Delay(Duration::from_millis(20 + random.below(300))),
        Fault::HalfOpen => return proxy.half_open(),
        Fault::HalfClose => return proxy.half_close(),
        Fault::Hang => {
            let redis = world.redis.lock().await;
            redis.hang();
            pause(for_a_while).await;
            return redis.resume();
        }
        Fault::Restart => return world.redis.lock().await.restart().await,
    };
    hold(proxy, mode, for_a_while).await;
}

async fn hold(proxy: &tests::proxy::Proxy, mode: Mode, ms: u64) {
    proxy.set(mode);
    pause(ms).await;
    proxy.set(Mode::Pass);
}

/// As if its time had come: the key goes, and nothing is left that says so.
async fn expire(world: &World, session: usize) {
    let invoked = world.now();
    let key = format!("hyperpage:session:{}", world.id(session));
    let redis = world.redis.lock().await;
    let gone: i64 = redis.command(&["DEL", &key]).await.unwrap();
    if gone == 1 {
        world.record(session, invoked, Action::Expire, Outcome::Ok { etag: None, log: None });
    }
}

/// A fault lasts, and something has to happen meanwhile.
async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}
