use prometheus_client::registry::Registry;

use super::*;

const SOUND: Coherence = Coherence { flush_on_null: true, bump_on_own_write: true, lease_checked: true };
const MS: Duration = Duration::from_millis(1);

fn l1(budget: usize) -> L1 {
    L1::new(budget, SOUND, &mut Registry::default())
}

fn id(text: &str) -> SessionId {
    SessionId::parse(text).unwrap()
}

fn stored(text: &str) -> Stored {
    Stored { text: text.to_owned().into(), left_ms: 10_000 }
}

fn epoch(now: Instant) -> Arc<Epoch> {
    Arc::new(Epoch::proven(now))
}

fn key(id: &SessionId) -> Vec<u8> {
    [PREFIX, id.as_str().as_bytes()].concat()
}

#[test]
fn a_copy_is_served_while_its_connection_holds_and_is_then_known_to_be_stale() {
    let (l1, a, now) = (l1(1 << 20), id("a"), Instant::now());
    let epoch = epoch(now);
    let fill = l1.fill(&a, Some(epoch.clone()), now).unwrap();
    l1.keep(&a, &fill, &stored("x"), Some(&epoch));
    let found = l1.get(&a, Some(&epoch), now + 299 * MS).unwrap();
    assert_eq!((&*found.text, found.left_ms), ("x", 9_701));
    for (epoch, now) in [(Some(&epoch), now + 300 * MS), (None, now), (Some(&self::epoch(now)), now)] {
        assert_eq!(l1.get(&a, epoch, now), None);
    }
    let (stale, age) = l1.stale(&a, now + 5_000 * MS).unwrap();
    assert_eq!((&*stale.text, stale.left_ms, age), ("x", 5_000, 5_000 * MS));
    assert_eq!(l1.stale(&a, now + 10_001 * MS), None, "its life is over");
}

/// Each of these, between the sending of a read and its answer, makes the answer one that is not kept.
#[test]
fn a_fill_that_anything_has_overtaken_is_not_kept() {
    type Meanwhile = fn(&L1, &SessionId);
    let meanwhile: [Meanwhile; 6] = [
        |l1, id| l1.heard(Changed::Key(&key(id))),
        |l1, _| l1.heard(Changed::All),
        |l1, id| drop(l1.sending(id)),
        |l1, id| std::mem::forget(l1.sending(id)),
        |l1, id| l1.gone(id),
        |l1, id| l1.wrote(id, &stored("own"), Instant::now()),
    ];
    for (number, meanwhile) in meanwhile.into_iter().enumerate() {
        let (l1, a, now) = (l1(1 << 20), id("a"), Instant::now());
        let epoch = epoch(now);
        let fill = l1.fill(&a, Some(epoch.clone()), now).unwrap();
        meanwhile(&l1, &a);
        l1.keep(&a, &fill, &stored("old"), Some(&epoch));
        assert_eq!(l1.get(&a, Some(&epoch), now), None, "{number}");
    }
}

#[test]
fn a_fill_sent_during_an_own_write_or_answered_on_another_connection_is_not_kept() {
    let (l1, a, now) = (l1(1 << 20), id("a"), Instant::now());
    let (one, other) = (epoch(now), epoch(now));
    let sending = l1.sending(&a);
    let fill = l1.fill(&a, Some(one.clone()), now).unwrap();
    drop(sending);
    l1.keep(&a, &fill, &stored("old"), Some(&one));
    assert_eq!(l1.get(&a, Some(&one), now), None);
    let fill = l1.fill(&a, Some(one.clone()), now).unwrap();
    for epoch in [Some(&other), None] {
        l1.keep(&a, &fill, &stored("old"), epoch);
        assert_eq!(l1.get(&a, Some(&one), now), None);
    }
}

#[test]
fn what_is_heard_of_is_gone_and_a_flush_ends_all() {
    let (l1, now) = (l1(1 << 20), Instant::now());
    let epoch = epoch(now);
    let ids = ["a", "b", "c"].map(id);
    for id in &ids {
        let fill = l1.fill(id, Some(epoch.clone()), now).unwrap();
        l1.keep(id, &fill, &stored("x"), Some(&epoch));
    }
    for other in [&b"hyperpage:session:"[..], b"a", b"hyperpage:session:a b", b"\xff"] {
        l1.heard(Changed::Key(other));
    }
    l1.heard(Changed::Key(&key(&ids[0])));
    let served = || ids.iter().filter(|id| l1.get(id, Some(&epoch), now).is_some()).count();
    assert_eq!((served(), l1.stale(&ids[0], now)), (2, None));
    l1.heard(Changed::All);
    assert_eq!((served(), l1.stale(&ids[1], now).is_some()), (0, true));
    l1.wrote(&ids[2], &stored("own"), now);
    assert_eq!((served(), l1.stale(&ids[2], now).unwrap().0.text.to_string()), (0, "own".to_owned()));
}

#[test]
fn the_budget_is_held_and_what_is_used_stays() {
    let budget = SHARDS * 40 * (OVERHEAD + 110);
    let (l1, now) = (l1(budget), Instant::now());
    let epoch = epoch(now);
    let keep = |id: &SessionId, text: &str| {
        let fill = l1.fill(id, Some(epoch.clone()), now).unwrap();
        l1.keep(id, &fill, &stored(text), Some(&epoch));
    };
    let used = id("used");
    keep(&used, "x");
    for number in 0..10_000 {
        keep(&id(&format!("s{number}")), &"x".repeat(100));
        assert!(l1.get(&used, Some(&epoch), now).is_some(), "after {number}");
        assert!(l1.metrics.bytes.get() <= i64::try_from(budget).unwrap());
    }
    let entries = l1.metrics.entries.get();
    assert!(entries > 300 && l1.metrics.evictions.get() >= 10_000 - entries as u64, "{entries}");
    keep(&used, &"x".repeat(budget));
    assert!(l1.get(&used, Some(&epoch), now).is_none(), "too large for any shard");
    for number in 0..10_000 {
        l1.gone(&id(&format!("s{number}")));
    }
    assert_eq!((l1.metrics.bytes.get(), l1.metrics.entries.get()), (0, 0));
    assert!(self::l1(0).fill(&used, Some(epoch), now).is_none(), "nothing is kept");
}

/// Each rule that a mutant breaks makes a difference here.
#[test]
fn every_rule_of_coherence_matters() {
    let (a, now) = (id("a"), Instant::now());
    let epoch = epoch(now);
    let filled = |coherence: Coherence| {
        let l1 = L1::new(1 << 20, coherence, &mut Registry::default());
        let fill = l1.fill(&a, Some(epoch.clone()), now).unwrap();
        l1.keep(&a, &fill, &stored("x"), Some(&epoch));
        l1
    };
    let served = |l1: &L1, now| l1.get(&a, Some(&epoch), now).is_some();
    let l1 = filled(Coherence { flush_on_null: false, ..SOUND });
    l1.heard(Changed::All);
    assert!(served(&l1, now));
    let l1 = filled(Coherence { bump_on_own_write: false, ..SOUND });
    drop(l1.sending(&a));
    assert!(served(&l1, now));
    assert!(served(&filled(Coherence { lease_checked: false, ..SOUND }), now + 9_000 * MS));
}

#[test]
fn what_goes_when_its_life_is_over_has_expired_and_what_goes_before_has_not() {
    let (l1, now) = (l1(1 << 20), Instant::now());
    for (name, went, expired) in [("early", 9_999, 0), ("in-time", 10_000, 1), ("again", 10_000, 2)] {
        let id = id(name);
        l1.wrote(&id, &stored("x"), now);
        l1.went(&id, now + went * MS);
        // Whoever reads it next is told the same.
        l1.went(&id, now + 20_000 * MS);
        assert_eq!(l1.metrics.expired.get(), expired, "{name}");
    }
    l1.wrote(&id("deleted"), &stored("x"), now);
    l1.gone(&id("deleted"));
    l1.went(&id("deleted"), now + 20_000 * MS);
    assert_eq!((l1.metrics.expired.get(), l1.metrics.entries.get()), (2, 0));
}
