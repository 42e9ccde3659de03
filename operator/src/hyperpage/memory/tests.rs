use super::*;
use crate::children::{Detail, Kind};

fn id() -> ChildId {
    ChildId { kind: Kind::Service, name: "shop".to_owned() }
}

fn live(version: &str, fingerprint: &str) -> Live {
    Live {
        version: version.to_owned(),
        desired: Some("d".to_owned()),
        fingerprint: fingerprint.to_owned(),
        mover: Some("kubectl".to_owned()),
        ..Live::showing(Detail::Plain)
    }
}

fn family(live: Live) -> Family {
    Family::from([(id(), live)])
}

#[test]
fn an_answer_counts_until_the_watch_shows_something_new() {
    let (mut memory, now) = (Memory::default(), Instant::now());
    memory.wrote(&id(), None, Some(live("5", "f")), now);
    let corrected = memory.correct(Family::new(), now);
    assert_eq!(corrected[&id()].version, "5");
    assert!(memory.settled(&id(), &corrected[&id()], "d"));
    let naive = Memory { shape: Shape::Naive, applied: memory.applied.clone(), ..Memory::default() };
    assert!(!naive.settled(&id(), &corrected[&id()], "d"), "applied again, settled or not");
    assert_eq!(memory.correct(family(live("6", "g")), now)[&id()].version, "6");
    assert_eq!(memory.correct(Family::new(), now), Family::new(), "deleted since: the answer is old news");
}

#[test]
fn an_answer_that_the_watch_never_shows_is_not_believed_for_ever() {
    let (mut memory, now) = (Memory::default(), Instant::now());
    memory.wrote(&id(), None, Some(live("5", "f")), now);
    assert_eq!(memory.correct(Family::new(), now + LAG), Family::new());
}

#[test]
fn what_a_look_found_counts_as_seen_and_not_as_applied() {
    let (mut memory, now) = (Memory::default(), Instant::now());
    memory.wrote(&id(), None, Some(live("5", "f")), now);
    memory.found(&id(), live("6", "g"), now);
    let corrected = memory.correct(Family::new(), now);
    assert_eq!(corrected[&id()].version, "6");
    assert!(!memory.settled(&id(), &corrected[&id()], "d"));
}

#[test]
fn a_deletion_counts_until_the_watch_shows_it() {
    let (mut memory, now) = (Memory::default(), Instant::now());
    memory.wrote(&id(), Some(&live("5", "f")), None, now);
    assert_eq!(memory.correct(family(live("5", "f")), now), Family::new());
}

#[test]
fn after_a_restart_the_digest_decides() {
    let family = family(live("5", "f"));
    let settled = |digest: &str| {
        let mut memory = Memory::default();
        memory.recall(&family, Some(digest));
        memory.settled(&id(), &family[&id()], "d")
    };
    assert!(settled(&digest(&family)));
    assert!(!settled("another"));
}

#[test]
fn a_moved_fingerprint_and_a_new_wish_are_not_settled() {
    let mut memory = Memory::default();
    memory.wrote(&id(), None, Some(live("5", "f")), Instant::now());
    assert!(memory.settled(&id(), &live("9", "f"), "d"), "a new version alone means nothing");
    assert!(!memory.settled(&id(), &live("5", "g"), "d"));
    assert!(!memory.settled(&id(), &live("5", "f"), "e"));
}

#[test]
fn only_what_we_applied_can_be_moved() {
    let (mut memory, now) = (Memory::default(), Instant::now());
    for _ in 0..20 {
        memory.note_move(&id(), &live("1", "x"), now);
    }
    assert_eq!(memory.fight(&id(), now), None);
    for _ in 0..11 {
        assert_eq!(memory.fight(&id(), now), None);
        memory.wrote(&id(), None, Some(live("5", "f")), now);
        memory.note_move(&id(), &live("6", "x"), now);
        memory.note_move(&id(), &live("7", "x"), now);
    }
    assert_eq!(memory.fight(&id(), now), Some("kubectl"));
}

fn status(app: &str, digest: &str) -> HyperpageStatus {
    let (app, digest) = (Some(app.to_owned()), Some(digest.to_owned()));
    HyperpageStatus { app, applied_digest: digest, ..HyperpageStatus::default() }
}

#[test]
fn a_status_is_written_when_it_says_something_new() {
    let (mut memory, now) = (Memory::default(), Instant::now());
    let (one, two) = (status("1/3", "a"), status("1/3", "b"));
    assert_eq!(memory.news(&one, None, now), News::Now);
    memory.wrote_status(one.clone(), now);
    assert_eq!(memory.news(&one, None, now), News::None, "the watch lags");
    assert_eq!(memory.news(&two, None, now), News::Now);
    assert_eq!(memory.news(&one, Some(&one), now), News::None);
    assert_eq!(memory.news(&one, Some(&two), now + PACE), News::Now, "somebody wrote another");
}

#[test]
fn counting_up_is_written_at_a_pace() {
    let (mut memory, now) = (Memory::default(), Instant::now());
    memory.wrote_status(status("1/3", "a"), now);
    let half = PACE / 2;
    assert_eq!(memory.news(&status("2/3", "a"), None, now + half), News::Later(half));
    assert_eq!(memory.news(&status("2/3", "a"), None, now + PACE), News::Now);
    assert_eq!(memory.news(&status("2/3", "b"), None, now + half), News::Now, "more than a count");
}

#[test]
fn after_a_restart_the_same_status_is_not_written_again() {
    let (mut memory, same) = (Memory::default(), HyperpageStatus::default());
    assert_eq!(memory.news(&same, Some(&same), Instant::now()), News::None);
}

#[test]
fn a_pod_that_does_not_start_is_a_reason_to_look_once_it_is_late() {
    let (mut memory, start) = (Memory::default(), Timestamp::UNIX_EPOCH);
    let pod = |name: &str, since: Timestamp| Unstarted { pod: name.to_owned(), since };
    let one = BTreeSet::from([pod("a", start)]);
    assert_eq!(memory.patience(&one, start + PATIENCE / 4), (false, Some(PATIENCE * 3 / 4)));
    assert_eq!(memory.patience(&one, start + PATIENCE), (true, None));
    memory.looked(one.clone(), start + PATIENCE);
    assert_eq!(memory.patience(&one, start + PATIENCE * 9), (false, None), "only once");
    let two = BTreeSet::from([pod("a", start), pod("b", start + PATIENCE)]);
    assert_eq!(memory.patience(&two, start + PATIENCE), (false, Some(PATIENCE)));
    assert_eq!(late(&two, start + PATIENCE), BTreeSet::from(["a".to_owned()]));
    assert_eq!(memory.patience(&two, start + PATIENCE * 2), (true, None));
    assert_eq!(memory.patience(&BTreeSet::new(), start), (false, None));
}

#[test]
fn what_was_done_is_kept_until_it_is_told_and_no_more_than_some() {
    let mut memory = Memory::default();
    let deed = |number: usize| Deed::Deleted(ChildId { kind: Kind::Service, name: format!("shop-{number}") });
    (0..=UNTOLD).for_each(|number| memory.did(deed(number)));
    assert_eq!(memory.untold(), Some(&deed(1)), "the oldest is lost");
    for number in 1..=UNTOLD {
        assert_eq!(memory.untold(), Some(&deed(number)));
        memory.told();
    }
    assert_eq!(memory.untold(), None);
}

#[test]
fn waits_grow_to_a_minute_and_start_again_after_success() {
    let mut memory = Memory::default();
    let waits: Vec<_> = (0..8).map(|_| memory.failed().as_secs()).collect();
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    memory.succeeded();
    assert_eq!(memory.failed(), FIRST_RETRY);
}
