//! The faults that change or lose what Redis holds, each with an account of what was lost.

use std::sync::Arc;
use std::time::Duration;

use redis::Script;
use tests::history::{Action, Answer, Event, Loss, Outcome};
use tests::proxy::Mode;
use tests::random::Random;

use crate::client::Client;
use crate::faults::Kind;
use crate::nemesis::pause;
use crate::world::{CLIENTS, STRONG, World};

/// What a nemesis did: no pod.
const NOBODY: usize = usize::MAX;

/// Each session's key and text, in turn.
const STORED: &str = r"
local found = {}
for _, key in ipairs(redis.call('KEYS', 'hyperpage:session:*')) do
  found[#found + 1] = {key, redis.call('GET', key)}
end
";

/// Every key is put back as it was, and then each session gets a mark more, from ARGV[1] on, that nobody hears of.
const SWAP: &str = r#"
local kept = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  kept[#kept + 1] = {key, math.max(redis.call('PTTL', key), 0), redis.call('DUMP', key)}
end
redis.call('FLUSHDB')
for _, one in ipairs(kept) do redis.call('RESTORE', one[1], one[2], one[3]) end
for at, one in ipairs(found) do
  local op = ARGV[1] + at - 1
  local text = one[2]:gsub('("metadata":{[^}]*)}', '%1,"w' .. op .. '":1}', 1)
  text = text:gsub('"last":%d+', '"last":' .. op, 1)
  redis.call('SET', one[1], text, 'KEEPTTL')
end
"#;

/// Calls on all sessions are slow meanwhile, so that some are under way when one goes.
pub(crate) async fn expire(world: &World, random: &mut Random) -> bool {
    let set = |mode: Mode| world.nodes.iter().for_each(|node| node.proxy.set(mode.clone()));
    set(Mode::Delay(Duration::from_millis(60)));
    pause(100 + random.below(100)).await;
    let gone = expire_one(world, world.mortal()).await;
    pause(100).await;
    set(Mode::Pass);
    gone
}

/// As if its time had come: the key goes, and nothing is left that says so.
async fn expire_one(world: &World, session: usize) -> bool {
    let invoked = world.now();
    let key = format!("hyperpage:session:{}", world.id(session));
    let gone: i64 = world.redis.lock().await.master().command(&["DEL", &key]).await.unwrap();
    if gone == 1 {
        world.expired();
        let outcome = Outcome::Ok(Answer::default());
        let ended = world.now();
        world.record(Event {
            session,
            pod: NOBODY,
            before: Vec::new(),
            invoked,
            ended,
            action: Action::Expire,
            outcome,
        });
    }
    gone == 1
}

/// How many sessions were swapped for others.
pub(crate) async fn swap(world: &World) -> usize {
    let first = world.next_ops(1000);
    let invoked = world.now();
    let found = evaluate(world, &format!("{STORED}{SWAP} return found"), first).await;
    let ended = world.now();
    for (at, (key, _)) in found.iter().enumerate() {
        let Some(session) = key.strip_prefix("hyperpage:session:").and_then(|id| world.session(id)) else {
            continue;
        };
        let action = Action::Foreign { op: first + at as u64 };
        let outcome = Outcome::Ok(Answer::default());
        world.record(Event { session, pod: NOBODY, before: Vec::new(), invoked, ended, action, outcome });
    }
    found.len()
}

pub(crate) async fn flush(world: &World) -> (Option<usize>, String, Option<Loss>) {
    let found = evaluate(world, &format!("{STORED} redis.call('FLUSHDB') return found"), 0).await;
    let effect = format!("{} sessions gone; ", found.len());
    (None, effect, Some(Loss { before: world.marks(found), ..Loss::default() }))
}

/// Nobody reaches Redis while it is looked at before and after.
pub(crate) async fn restart(world: &World, kind: Kind, ms: u64) -> (Option<usize>, String, Option<Loss>) {
    if kind == Kind::Rollback {
        world.redis.lock().await.master().command::<()>(&["SAVE"]).await.unwrap();
        pause(ms).await;
    }
    let set = |mode: Mode| world.nodes.iter().for_each(|node| node.proxy.set(mode.clone()));
    set(Mode::Cut);
    let before = world.marks(evaluate(world, &format!("{STORED} return found"), 0).await);
    match kind {
        Kind::Rollback => world.redis.lock().await.master_mut().restart().await,
        _ => world.redis.lock().await.master_mut().restart_empty().await,
    }
    let after = world.marks(evaluate(world, &format!("{STORED} return found"), 0).await);
    set(Mode::Pass);
    let lost = before.iter().filter(|(session, marks)| after.get(session) != Some(marks)).count();
    (None, format!("{lost} sessions lost writes; "), Some(Loss { before, after, ..Loss::default() }))
}

/// What was written while the replicas lagged is lost with the master, and a sidecar with what it remembers of it: what
/// that one said of replicas had better be true.
pub(crate) async fn fail_over(world: &Arc<World>, cut_off: bool) -> (Option<usize>, String, Option<Loss>) {
    lag(world, cut_off).await;
    pause(400).await;
    let before = world.marks(evaluate(world, &format!("{STORED} return found"), 0).await);
    let node = &world.nodes[STRONG];
    let mut sidecar = node.sidecar.lock().await;
    sidecar.kill();
    node.pod.lock().unwrap().killed.push(world.now());
    world.redis.lock().await.fail_over().await;
    let after = world.marks(evaluate(world, &format!("{STORED} return found"), 0).await);
    node.replace(&mut sidecar).await;
    let lost = before.iter().filter(|(session, marks)| after.get(session) != Some(marks)).count();
    (None, format!("{lost} sessions lost writes; "), Some(Loss { before, after, ..Loss::default() }))
}

/// The first write that replicas do not hear of is the only one on its way, and to be confirmed by them.
async fn lag(world: &Arc<World>, cut_off: bool) {
    let _silence = world.turns.write().await;
    let redis = world.redis.lock().await;
    redis.hang_replicas(cut_off).await;
    let mut client = Client::new(world.clone(), CLIENTS, Random::new(0));
    client.write(world.mortal(), STRONG).await;
}

/// When the present incarnation of Redis' data began.
pub(crate) async fn renewed(world: &World) -> Duration {
    let redis = world.redis.lock().await;
    let record: String = redis.master().command(&["GET", "hyperpage:inc"]).await.unwrap();
    let (seconds, micros): (u64, u64) = redis.master().command(&["TIME"]).await.unwrap();
    let since = record.rsplit(' ').next().and_then(|since| since.parse().ok()).unwrap();
    world.now() - (Duration::new(seconds, 1000 * micros as u32) - Duration::from_micros(since))
}

async fn evaluate(world: &World, script: &str, first: u64) -> Vec<(String, String)> {
    let mut connection = world.redis.lock().await.master().connection().await.unwrap();
    Script::new(script).arg(first).invoke_async(&mut connection).await.unwrap()
}
