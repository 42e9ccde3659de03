use super::super::merge::Merge;
use super::*;

fn id(text: &str) -> SessionId {
    SessionId::parse(text).unwrap()
}

fn incarnation(n: u64) -> Incarnation {
    Incarnation { n, run_id: "run".to_owned(), since_us: 0 }
}

fn op(number: u8) -> OpId {
    OpId::of([number; 8])
}

fn written(number: u8, base: &str, result: &str) -> Kept {
    let some = |digest: &str| (!digest.is_empty()).then(|| digest.to_owned());
    Kept { op: op(number), base: some(base), result: some(result), wishes: Vec::new() }
}

/// a → b, another pod b → x, then x → c.
fn chain() -> Chain {
    Chain {
        writes: [written(1, "a", "b"), written(2, "x", "c")].into(),
        text: Some("bytes of c".to_owned().into()),
        ..Chain::of(incarnation(1), Instant::now())
    }
}

#[test]
fn the_bytes_there_are_say_what_was_cut() {
    for (current, expect) in [
        (Some("c"), Sight::Whole),
        (Some("x"), Sight::Cut(1)),
        (Some("b"), Sight::Cut(1)),
        (Some("a"), Sight::Cut(0)),
        (None, Sight::Cut(0)),
        (Some("y"), Sight::Unknown),
    ] {
        assert_eq!(chain().sight(current), expect, "{current:?}");
    }
    let deleted = Chain { writes: [written(1, "a", "")].into(), text: None, ..chain() };
    assert_eq!(deleted.sight(None), Sight::Cut(0), "nothing there proves no tombstone");
    assert_eq!(deleted.sight(Some("a")), Sight::Cut(0));
}

#[test]
fn the_operations_that_redis_remembers_say_what_was_cut() {
    let remembered = |ops: &[u8]| ops.iter().flat_map(|op| [*op; 8]).collect::<Vec<u8>>();
    assert_eq!(
        chain().first_lost(&incarnation(2), &remembered(&[1, 9, 2, 8])),
        Ok(None),
        "another wrote after us"
    );
    assert_eq!(chain().first_lost(&incarnation(2), &remembered(&[1, 9])), Ok(Some(1)));
    assert_eq!(chain().first_lost(&incarnation(2), &remembered(&[9])), Ok(Some(0)));
    assert_eq!(chain().first_lost(&incarnation(2), &remembered(&[])), Ok(Some(0)));
    assert_eq!(chain().first_lost(&incarnation(2), &remembered(&[9; 16])), Err(Undecided));
    assert_eq!(
        chain().first_lost(&incarnation(2), &remembered(&[[9; 15].as_slice(), &[1]].concat())),
        Ok(Some(1))
    );
}

#[test]
fn what_an_incarnation_was_seen_not_to_have_it_has_not_when_others_have_written_over_it() {
    let (ring, now) = (Ring::default(), Instant::now());
    for number in 1..=3 {
        ring.record(&id("a"), &incarnation(1), written(number, "a", "b"), None, now, now);
    }
    let chain = || ring.unrepaired(&id("a"), &incarnation(2)).unwrap();
    let full = [[9; 8]; 16].concat();
    assert_eq!(chain().first_lost(&incarnation(2), &full), Err(Undecided));
    ring.lost(&id("a"), &chain(), &incarnation(2), 1);
    assert_eq!(chain().first_lost(&incarnation(2), &full), Ok(Some(1)));
    assert_eq!(chain().first_lost(&incarnation(3), &full), Err(Undecided), "it may have lost less");
}

#[test]
fn ten_seconds_are_kept_and_longer_what_waits_for_its_repair() {
    let ring = Ring::default();
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let b = Text::from("b".to_owned());
    let record = |name: &str, n: u64, seconds: u64| {
        ring.record(&id(name), &incarnation(n), written(1, "a", "b"), Some(&b), at(99), at(seconds))
    };
    let all = |n: u64| ring.all_unrepaired(|_| Some(incarnation(n)));
    for (name, seconds) in [("a", 0), ("b", 1), ("a", 2)] {
        assert_eq!(record(name, 1, seconds), 0);
    }
    assert_eq!(all(1), []);
    assert_eq!(all(2), [id("a"), id("b")]);
    ring.prune(at(10), |_| Some(incarnation(1)));
    assert_eq!(all(2), [id("b"), id("a")], "the first write to a is old, the second is not");
    ring.prune(at(60), |_| Some(incarnation(2)));
    ring.prune(at(60), |_| None);
    assert_eq!(all(2).len(), 2, "another incarnation has yet to be told");
    assert!(ring.unrepaired(&id("b"), &incarnation(1)).is_none());
    assert!(ring.unrepaired(&id("b"), &incarnation(2)).is_some());
    ring.remove(&id("b"), &incarnation(2));
    assert_eq!(all(2).len(), 2);
    ring.remove(&id("b"), &incarnation(1));
    assert_eq!(all(2), [id("a")]);
    record("a", 2, 61);
    assert_eq!(all(2), [id("a")], "what is new takes nothing from it");
    ring.remove(&id("a"), &incarnation(1));
    assert_eq!(all(2), []);
    ring.prune(at(99), |_| Some(incarnation(2)));
    let inner = ring.inner();
    assert_eq!((inner.bytes, inner.order.len()), (0, 0));
}

#[test]
fn it_forgets_the_oldest_when_it_is_full_and_says_so() {
    let ring = Ring::default();
    let now = Instant::now();
    let text = "x".repeat(1 << 19);
    let change = Arc::new(Change::Merge(Merge::Deep, text.clone()));
    let text = Text::from(text);
    let lost: Vec<usize> = (0..6)
        .map(|number| {
            let mut written = written(number, "a", "b");
            written.wishes = vec![Wish::Merge(Arc::clone(&change), Identity::Kept), Wish::Bound];
            ring.record(&id(&number.to_string()), &incarnation(1), written, Some(&text), now, now)
        })
        .collect();
    assert_eq!(lost, [0, 1, 1, 1, 1, 1]);
    assert!(ring.inner().bytes <= MAX_BYTES);
    assert_eq!(ring.all_unrepaired(|_| Some(incarnation(2))), [id("5")]);
}

#[test]
fn deletions_are_told_again_first() {
    let (ring, now) = (Ring::default(), Instant::now());
    let text = Text::from("b".to_owned());
    for (name, text) in [("a", Some(&text)), ("b", Some(&text)), ("c", None), ("d", None)] {
        ring.record(&id(name), &incarnation(1), written(1, "a", ""), text, now, now);
    }
    assert_eq!(ring.all_unrepaired(|_| Some(incarnation(2))), ["c", "d", "a", "b"].map(id));
}

/// A write that waited for the connection is acknowledged by the new incarnation before any repair.
#[test]
fn what_one_incarnation_acknowledged_waits_for_its_repair_whatever_the_next_has_acknowledged_since() {
    let (ring, now) = (Ring::default(), Instant::now());
    let text = Text::from("b".to_owned());
    for (number, n) in [(1, 1), (2, 1), (3, 2), (4, 2)] {
        ring.record(&id("a"), &incarnation(n), written(number, "a", "b"), Some(&text), now, now);
    }
    let lost = ring.unrepaired(&id("a"), &incarnation(2)).unwrap();
    let ops: Vec<_> = lost.writes.iter().map(|written| written.op).collect();
    assert_eq!((lost.incarnation, ops), (incarnation(1), vec![op(1), op(2)]));
    ring.remove(&id("a"), &incarnation(1));
    assert!(ring.unrepaired(&id("a"), &incarnation(2)).is_none() && ring.knows(&id("a")));
    assert_eq!(ring.unrepaired(&id("a"), &incarnation(3)).unwrap().writes.len(), 2, "its own are not gone");
    assert_eq!(ring.inner().order.len(), 2);
    ring.remove(&id("a"), &incarnation(2));
    let inner = ring.inner();
    assert_eq!((inner.bytes, inner.order.len(), inner.chains.len()), (0, 0, 0));
}
