use std::fmt::Write as _;

use expect_test::expect;

use super::*;

const WAIT: Duration = Duration::from_secs(150);

/// Seconds after some noon; no clock stops at a whole millisecond.
fn moment(seconds: i64) -> Timestamp {
    at(seconds) + jiff::SignedDuration::from_nanos(1_234_567)
}

/// Seconds after some noon.
fn at(seconds: i64) -> Timestamp {
    "2026-01-01T12:00:00Z".parse::<Timestamp>().unwrap() + jiff::SignedDuration::from_secs(seconds)
}

fn added(seconds: i64) -> Phase {
    Phase::Added(Some(at(seconds)))
}

fn switched(seconds: i64) -> Phase {
    Phase::Switched(Some(at(seconds)))
}

fn marks(phase: Phase, rotated: Option<&str>) -> Marks {
    Marks { phase, rotated: rotated.map(str::to_owned) }
}

/// As a successor sees it: by the wall clock alone.
fn by_wall(now: i64) -> Clock {
    Clock { now: at(now), own: None }
}

#[test]
fn a_rotation_goes_from_step_to_step_with_a_wait_after_each() {
    let cases = [
        ("never asked", Phase::Rest, None, None, by_wall(0)),
        ("asked", Phase::Rest, None, Some("a"), by_wall(0)),
        ("done", Phase::Rest, Some("a"), Some("a"), by_wall(0)),
        ("asked again", Phase::Rest, Some("a"), Some("b"), by_wall(0)),
        ("no longer asked", Phase::Rest, Some("a"), None, by_wall(0)),
        ("just added", added(0), Some("a"), Some("a"), by_wall(0)),
        ("added, on its way", added(0), Some("a"), Some("a"), by_wall(149)),
        ("added, there", added(0), Some("a"), Some("a"), by_wall(150)),
        ("added, long there", added(0), Some("a"), Some("a"), by_wall(86_400)),
        ("added, and another value", added(0), Some("a"), Some("b"), by_wall(60)),
        ("added, and no value", added(0), Some("a"), None, by_wall(150)),
        ("switched", switched(0), Some("a"), Some("a"), by_wall(30)),
        ("switched, and another value", switched(0), Some("a"), Some("b"), by_wall(150)),
        ("set back a little", added(0), Some("a"), Some("a"), by_wall(1)),
        ("set back beyond the beginning", added(0), Some("a"), Some("a"), by_wall(-3600)),
        ("set back, switched", switched(0), Some("a"), Some("a"), by_wall(-1)),
        ("no time", Phase::Added(None), Some("a"), Some("a"), by_wall(0)),
    ];
    let mut table = String::new();
    for (what, phase, rotated, asked, clock) in cases {
        let _ = writeln!(table, "{what}: {:?}", step(&marks(phase, rotated), asked, clock, WAIT));
    }
    expect![[r#"
        never asked: Rest
        asked: Add
        done: Rest
        asked again: Add
        no longer asked: Rest
        just added: Wait(150s)
        added, on its way: Wait(1s)
        added, there: Switch
        added, long there: Switch
        added, and another value: Wait(90s)
        added, and no value: Switch
        switched: Wait(120s)
        switched, and another value: Drop
        set back a little: Wait(149s)
        set back beyond the beginning: Again
        set back, switched: Again
        no time: Again
    "#]]
    .assert_eq(&table);
}

#[test]
fn who_began_a_wait_times_it_by_a_clock_that_nobody_sets() {
    let waiting = marks(added(0), Some("a"));
    for wall in [-3600, 0, 60, 3600] {
        let step_after = |own| step(&waiting, Some("a"), Clock { now: at(wall), own: Some(own) }, WAIT);
        let rest = WAIT - Duration::from_secs(60);
        assert_eq!(step_after(Duration::from_secs(60)), Step::Wait(rest), "{wall}");
        assert_eq!(step_after(WAIT), Step::Switch, "{wall}");
    }
}

/// What an operator does with a Secret from a moment on: each step, with the time since the last.
fn run(marks: Marks, asked: &[(i64, &str)], from: i64) -> (Vec<(i64, Step)>, Marks) {
    run_at(WAIT, marks, asked, from)
}

fn run_at(pace: Duration, mut marks: Marks, asked: &[(i64, &str)], from: i64) -> (Vec<(i64, Step)>, Marks) {
    let mut done = Vec::new();
    let mut now = from;
    loop {
        let asked = asked.iter().rev().find(|(since, _)| *since <= now).map(|(_, value)| *value);
        let clock = Clock { now: moment(now), own: None };
        match step(&marks, asked, clock, pace) {
            Step::Rest => return (done, marks),
            Step::Wait(rest) => now += i64::try_from((rest + Duration::from_millis(999)).as_secs()).unwrap(),
            step => {
                // What stands on the Secret is all that a successor has.
                let after = marks.after(step, asked, moment(now));
                marks = Marks::read(Some(&stored(&after)), if step == Step::Drop { 1 } else { 2 });
                assert_eq!(marks, after, "{step:?}");
                done.push((now, step));
            }
        }
    }
}

fn stored(marks: &Marks) -> BTreeMap<String, String> {
    let notes = marks.annotations().into_iter();
    notes.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

#[test]
fn three_writes_make_a_rotation_and_a_second_value_waits_for_the_end_of_the_first() {
    let once = [(0, Step::Add), (150, Step::Switch), (300, Step::Drop)];
    let (done, end) = run(Marks::default(), &[(0, "a")], 0);
    assert_eq!((done.as_slice(), end), (once.as_slice(), Marks::new(Some("a"))));
    let (done, end) = run(Marks::default(), &[(0, "a"), (20, "b"), (200, "c")], 0);
    let twice = [once, [(300, Step::Add), (450, Step::Switch), (600, Step::Drop)]].concat();
    assert_eq!((done, end), (twice, Marks::new(Some("c"))), "the value between the two is passed over");
}

#[test]
fn whoever_comes_in_the_middle_goes_on_and_never_sooner_than_a_whole_wait_after_the_last_step() {
    for from in [1, 149, 150, 10_000] {
        let (done, _) = run(marks(added(0), Some("a")), &[(0, "a")], from);
        let switch = from.max(150);
        assert_eq!(done, [(switch, Step::Switch), (switch + 150, Step::Drop)]);
        let (done, _) = run(marks(switched(0), Some("a")), &[(0, "a")], from);
        assert_eq!(done, [(from.max(150), Step::Drop)]);
    }
    // The clock of the one before was ahead: the phase begins anew, once.
    let (done, _) = run(marks(added(3600), Some("a")), &[(0, "a")], 0);
    assert_eq!(done, [(0, Step::Again), (150, Step::Switch), (300, Step::Drop)]);
}

#[test]
fn of_a_single_key_no_rotation_is_under_way() {
    let notes = stored(&marks(added(0), Some("a")));
    assert_eq!(Marks::read(Some(&notes), 2), marks(added(0), Some("a")));
    assert_eq!(Marks::read(Some(&notes), 1), Marks::new(Some("a")));
    let bent = notes.into_keys().map(|name| (name, "soon".to_owned())).collect();
    assert_eq!(Marks::read(Some(&bent), 2), marks(Phase::Added(None), Some("soon")));
    assert_eq!(Marks::read(None, 2), Marks::default());
}

#[test]
fn what_is_waited_for_is_told_in_words_that_last_as_long_as_the_wait() {
    let words = |phase| marks(phase, Some("a")).words(WAIT).unwrap();
    assert!(
        words(added(0)).ends_with("the new one seals from 2026-01-01T12:02:30Z on"),
        "{}",
        words(added(0))
    );
    assert!(
        words(switched(0)).ends_with("the old one goes at 2026-01-01T12:02:30Z"),
        "{}",
        words(switched(0))
    );
    assert_eq!(Marks::default().words(WAIT), None);
}

/// The keys on the Secret from a second on; the first seals.
fn versions(steps: &[(i64, Step)]) -> Vec<(i64, Vec<u32>)> {
    let (mut keys, mut newest) = (vec![0], 0);
    let mut versions = vec![(i64::MIN, keys.clone())];
    for (second, step) in steps {
        match step {
            Step::Add => {
                newest += 1;
                keys.push(newest);
            }
            Step::Switch => keys.swap(0, 1),
            Step::Drop => keys.truncate(1),
            Step::Rest | Step::Wait(_) | Step::Again => {}
        }
        versions.push((*second, keys.clone()));
    }
    versions
}

/// Seconds in which a pod seals what another one cannot open. A kubelet brings each version within `late` seconds.
fn rejected(steps: &[(i64, Step)], late: i64) -> usize {
    let versions = versions(steps);
    let end = steps.last().map_or(0, |(second, _)| *second) + late;
    let file = |second: i64, late: i64| {
        let known = versions.iter().rfind(|(since, _)| *since <= second - late);
        known.map_or(&[][..], |(_, keys)| keys.as_slice())
    };
    let pods = [0, late / 2, late];
    let pairs = || pods.iter().flat_map(|one| pods.iter().map(move |other| (*one, *other)));
    let deaf = |second: i64| pairs().any(|(one, other)| !file(second, other).contains(&file(second, one)[0]));
    (0..=end).filter(|second| deaf(*second)).count()
}

#[test]
fn no_pod_refuses_what_another_seals_while_kubelets_are_faster_than_the_wait() {
    let asked = [(0, "a"), (20, "b"), (500, "c")];
    let at = |pace: u64| run_at(Duration::from_secs(pace), Marks::default(), &asked, 0).0;
    for late in [0, 1, 60, 90, 149] {
        assert_eq!(rejected(&at(150), late), 0, "kubelets that take {late} s");
    }
    // The checker bites: too short a wait, and a new key that seals, or an old one that goes, with the step before.
    assert!(rejected(&at(60), 90) > 0);
    for [sooner, with] in [[Step::Switch, Step::Add], [Step::Drop, Step::Switch]] {
        let mut last = 0;
        let hasty = at(150).into_iter().map(|(second, step)| {
            last = if step == with { second } else { last };
            (if step == sooner { last } else { second }, step)
        });
        assert!(rejected(&hasty.collect::<Vec<_>>(), 90) > 0, "{sooner:?} with {with:?}");
    }
}
