//! One run: sidecars, their apps and a nemesis, and the history that they leave.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tests::agreement::History;
use tests::http::{Http, Request};
use tests::proxy::Mode;
use tests::random::Random;
use tokio::sync::Semaphore;

use super::faults::Family;
use super::nemesis::{self, FAULTS, Struck};
use super::world::World;
use crate::nemesis::pause;

/// A machine under load, and sentinels.
const RECOVERY: Duration = Duration::from_secs(15);
const LEASE_MS: u64 = 700;
/// Runs mostly wait; so many at a time leave the machine some air.
static AT_A_TIME: Semaphore = Semaphore::const_new(4);

pub(super) struct Done {
    pub(super) history: History,
    pub(super) struck: Struck,
    /// From the last fault until all name one leader.
    pub(super) led_after: Duration,
}

pub(super) async fn run(seed: u64, family: Family, mutant: Option<&'static str>) -> Done {
    let _turn = AT_A_TIME.acquire().await.unwrap();
    let world = Arc::new(World::new(family, mutant).await);
    let mut random = Random::new(seed);
    assert!(led(&world).await, "a leader to begin with");
    let struck = tokio::time::timeout(RECOVERY * 4, nemesis::run(&world, random.fork()));
    let struck = struck.await.expect("the nemesis ends");
    for node in &world.nodes {
        node.proxy.set(Mode::Pass);
    }
    let healed = super::world::now();
    // What was known before the last fault is over by then.
    pause(LEASE_MS).await;
    let settled = led(&world).await;
    let led_after = super::world::now() - healed;
    let history = History { settled, ..history(&world).await };
    Done { history, struck, led_after }
}

/// L5: there is a leader again, and all know it.
async fn led(world: &World) -> bool {
    let end = super::world::now() + RECOVERY;
    while super::world::now() < end {
        let mut told = Vec::new();
        for node in &world.nodes {
            let request = Request::new("GET", "/v1/leader");
            let answer = Http::new(node.present().address).try_send(request).await;
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

async fn history(world: &World) -> History {
    for node in &world.nodes {
        let sidecar = node.sidecar.lock().await;
        sidecar.assert_sound();
        world.read_claims(&node.present(), &sidecar);
    }
    let seen = std::mem::take(&mut *world.seen.lock().unwrap());
    let super::world::Seen { wins, claims } = seen;
    // Where the tail may be lost and nobody confirms, only the fence orders what leaders do.
    let exclusive = !matches!(world.family, Family::Flushed | Family::Wiped);
    History { wins, claims, exclusive, ..History::default() }
}

impl Done {
    /// A run in which too little happened proves nothing.
    pub(super) fn worth(&self) -> Result<String, String> {
        let happened = self.struck.iter().filter(|(_, happened)| *happened).count();
        let History { wins, claims, .. } = &self.history;
        let said = format!(
            "{happened} faults, {} elections, {} renewals, a leader {} ms after",
            wins.len(),
            claims.len(),
            self.led_after.as_millis()
        );
        if happened >= FAULTS && !wins.is_empty() { Ok(said) } else { Err(said) }
    }
}
