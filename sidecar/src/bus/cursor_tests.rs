use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;
use crate::bus::position::Life;

/// What the world does next.
#[derive(Debug, Clone)]
enum Happens {
    Publish,
    /// What is on its way is heard, now or a second time, in any order.
    Hear {
        which: usize,
        keep: bool,
    },
    Lose {
        which: usize,
    },
    /// Somebody says something at a place ahead of ours.
    Lie {
        ahead: u64,
    },
    Subscribe,
    Ask,
    Answer,
    /// The stream is read by Redis, and the answer comes later or never.
    Execute,
    Arrive,
    Fail,
    /// Redis comes back without the last messages.
    RollBack {
        lost: u64,
    },
    Trim {
        kept: usize,
    },
}

fn happens() -> impl Strategy<Value = Happens> {
    use Happens::*;
    prop_oneof![
        8 => Just(Publish),
        6 => (0..4usize, prop::bool::weighted(0.2)).prop_map(|(which, keep)| Hear { which, keep }),
        2 => (0..4usize).prop_map(|which| Lose { which }),
        1 => (0..50u64).prop_map(|ahead| Lie { ahead }),
        1 => Just(Subscribe),
        3 => Just(Ask),
        3 => Just(Answer),
        3 => Just(Execute),
        3 => Just(Arrive),
        1 => Just(Fail),
        1 => (0..5u64).prop_map(|lost| RollBack { lost }),
        1 => (0..4usize).prop_map(|kept| Trim { kept }),
    ]
}

#[derive(Debug, Clone, PartialEq)]
enum Told {
    Delivered(Position),
    Gap { from: Position, to: Position },
    Resync,
}

/// Redis, one who listens, and what is on its way between them.
struct World {
    rules: Rules,
    top: Top,
    stream: VecDeque<Position>,
    pushes: Vec<Position>,
    /// Read by Redis when, and where the listener was when it asked.
    seen: Option<(Top, Option<Position>)>,
    question: Option<(u64, Position)>,
    read: Option<Event>,
    state: State,
    told: Vec<Told>,
    /// What was published since the listener began, and how much he had been told by then.
    published: Vec<(Position, usize)>,
    /// What was reported as lost and could have been read.
    there: Vec<Position>,
    /// What comes too early can be kept, and is.
    room: bool,
    kept: BTreeMap<u64, Position>,
}

impl World {
    fn new(rules: Rules) -> World {
        let top = Top { life: Life { n: 1, run_id: "1".to_owned() }, seq: 1_000 };
        let state = State { at: Some(top.clone()), ..State::default() };
        World {
            rules,
            top,
            stream: VecDeque::new(),
            pushes: Vec::new(),
            seen: None,
            question: None,
            read: None,
            state,
            told: Vec::new(),
            published: Vec::new(),
            there: Vec::new(),
            room: true,
            kept: BTreeMap::new(),
        }
    }

    fn happen(&mut self, what: Happens) {
        match what {
            Happens::Publish => {
                self.top.seq += 1;
                let position = self.top.position();
                self.stream.push_back(position);
                self.pushes.push(position);
                self.published.push((position, self.told.len()));
            }
            Happens::Hear { which, keep } if which < self.pushes.len() => {
                let position = if keep { self.pushes[which] } else { self.pushes.remove(which) };
                self.step(Event::Heard { position, sound: true, room: self.room }, &[]);
            }
            Happens::Lose { which } if which < self.pushes.len() => drop(self.pushes.remove(which)),
            Happens::Lie { ahead } => {
                let Position { n, seq } = self.top.position();
                let position = Position { n, seq: seq + ahead };
                self.step(Event::Heard { position, sound: false, room: self.room }, &[]);
            }
            Happens::Subscribe => self.step(Event::Doubted, &[]),
            Happens::Ask => self.seen = Some((self.top.clone(), self.state.position())),
            Happens::Answer => {
                if let Some((top, asked)) = self.seen.take() {
                    self.step(Event::Seen { top, asked }, &[]);
                }
            }
            Happens::Execute if self.read.is_none() => self.execute(),
            Happens::Arrive => self.arrive(),
            Happens::Fail => {
                self.read = None;
                if let Some((question, _)) = self.question.take() {
                    self.step(Event::Unread { question }, &[]);
                }
            }
            Happens::RollBack { lost } => self.roll_back(lost),
            Happens::Trim { kept } => {
                while self.stream.len() > kept {
                    self.stream.pop_front();
                }
            }
            Happens::Hear { .. } | Happens::Lose { .. } | Happens::Execute => {}
        }
    }

    fn execute(&mut self) {
        const PAGE: usize = 3;
        let Some((question, asked)) = self.question else { return };
        let after = self.stream.iter().filter(|position| position.n == asked.n && position.seq > asked.seq);
        let found: Vec<u64> = after.map(|position| position.seq).take(PAGE).collect();
        let more = found.len() == PAGE;
        self.read = Some(Event::Read { question, asked, top: self.top.clone(), found, more });
    }

    fn arrive(&mut self) {
        let Some(event) = self.read.take() else { return };
        let found = match &event {
            Event::Read { found, asked, question, .. } => {
                self.question.take_if(|(known, _)| known == question);
                found.iter().map(|seq| Position { n: asked.n, seq: *seq }).collect()
            }
            _ => Vec::new(),
        };
        self.step(event, &found);
    }

    fn roll_back(&mut self, lost: u64) {
        let n = self.top.life.n;
        self.top.seq -= lost;
        let seq = self.top.seq;
        self.stream.retain(|position| position.n < n || position.seq <= seq);
        if self.rules.lives {
            self.top.life = Life { n: n + 1, run_id: (n + 1).to_string() };
        }
    }

    fn step(&mut self, event: Event, found: &[Position]) {
        let heard = match &event {
            Event::Heard { position, .. } => Some(*position),
            _ => None,
        };
        let (state, actions) = std::mem::take(&mut self.state).step(event, &self.rules);
        self.state = state;
        for action in actions {
            match action {
                Action::DeliverHeard => self.told.push(Told::Delivered(heard.expect("one was heard"))),
                Action::KeepHeard => {
                    let heard = heard.expect("one was heard");
                    assert!(self.kept.insert(heard.seq, heard).is_none(), "{heard} is kept already");
                }
                Action::DeliverKept(seq) => {
                    self.told.push(Told::Delivered(self.kept.remove(&seq).expect("it was kept")));
                }
                Action::DeliverFound(place) => self.told.push(Told::Delivered(found[place])),
                Action::Gap { from, to } => {
                    self.there.extend(self.stream.iter().filter(|position| (from..=to).contains(position)));
                    self.told.push(Told::Gap { from, to });
                }
                Action::Resync { .. } => self.told.push(Told::Resync),
                Action::ReadStream { question, after } => self.question = Some((question, after)),
                Action::Deaf(_) => {}
            }
        }
        self.kept.retain(|seq, _| self.state.kept().contains(seq));
    }

    /// No more faults: all that is asked is answered, until nothing is left to say.
    fn settle(&mut self) {
        self.pushes.clear();
        for _ in 0..200 {
            for what in [Happens::Ask, Happens::Answer, Happens::Execute, Happens::Arrive] {
                self.happen(what);
            }
        }
        assert_eq!(self.state.position(), Some(self.top.position()), "it comes to an end: {:?}", self.state);
    }

    fn check(&self) -> Result<(), String> {
        let mut before: Option<Position> = None;
        let mut whole = true;
        for told in &self.told {
            match told {
                Told::Delivered(position) => {
                    if before.is_some_and(|before| before >= *position) {
                        return Err(format!("M1: {position} after {before:?}"));
                    }
                    let next =
                        before.is_none_or(|before| before.n == position.n && before.seq + 1 == position.seq);
                    if whole && !next {
                        return Err(format!("M2: {position} after {before:?}"));
                    }
                    (before, whole) = (Some(*position), true);
                }
                Told::Gap { .. } | Told::Resync => whole = false,
            }
        }
        for (position, told) in &self.published {
            let covered = self.told[*told..].iter().any(|told| match told {
                Told::Delivered(delivered) => delivered == position,
                Told::Gap { from, to } => (from..=to).contains(&position),
                Told::Resync => true,
            });
            if !covered {
                return Err(format!("M3: {position} of {:?}", self.told));
            }
        }
        if !self.there.is_empty() {
            return Err(format!("M3: {:?} could be read, of {:?}", self.there, self.told));
        }
        Ok(())
    }
}

fn run(rules: &Rules) -> Result<(), String> {
    let config = Config { cases: 2_000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let histories = prop::collection::vec(happens(), 1..120);
    let ran = runner.run(&histories, |history| {
        let mut world = World::new(rules.clone());
        world.room = history.len() % 2 == 0;
        for what in history {
            world.happen(what);
        }
        if rules.lives && rules.gap_check {
            world.settle();
        } else {
            for _ in 0..200 {
                world.happen(Happens::Ask);
                world.happen(Happens::Answer);
                world.happen(Happens::Execute);
                world.happen(Happens::Arrive);
            }
        }
        world.check().map_err(TestCaseError::fail)
    });
    ran.map_err(|error| error.to_string())
}

#[test]
fn whatever_is_lost_repeated_or_late_each_message_comes_once_in_order_or_is_reported() {
    assert_eq!(run(&Rules::default()), Ok(()));
}

#[test]
fn without_the_gap_check_messages_are_missed_unnoticed() {
    let found = run(&Rules { gap_check: false, ..Rules::default() }).unwrap_err();
    assert!(found.contains("M2") || found.contains("M3"), "{found}");
}

#[test]
fn without_another_life_after_a_rollback_messages_are_taken_for_known() {
    let found = run(&Rules { lives: false, ..Rules::default() }).unwrap_err();
    assert!(found.contains("M3"), "{found}");
}

#[test]
fn who_hears_nothing_is_deaf_at_the_third_reading_and_hears_again_by_one_word() {
    let rules = Rules::default();
    let mut world = World::new(rules.clone());
    let mut readings = Vec::new();
    world.happen(Happens::Publish);
    for _ in 0..5 {
        world.happen(Happens::Ask);
        world.happen(Happens::Answer);
        readings.push((world.state.deaf, world.told.len()));
        if world.state.deaf {
            world.happen(Happens::Execute);
            world.happen(Happens::Arrive);
        }
    }
    assert_eq!(readings, [(false, 0), (false, 0), (true, 0), (true, 1), (true, 1)]);
    // Without a word nobody knows whether he would hear one.
    world.step(Event::Probed, &[]);
    assert!(!world.state.deaf);
}

#[test]
fn who_hears_more_than_a_page_while_it_is_read_loses_nothing() {
    let mut world = World::new(Rules::default());
    (0..8).for_each(|_| world.happen(Happens::Publish));
    world.happen(Happens::Subscribe);
    world.happen(Happens::Execute);
    (0..5).for_each(|_| world.happen(Happens::Hear { which: 0, keep: false }));
    world.happen(Happens::Arrive);
    world.settle();
    assert_eq!(world.told.len(), 8, "{:?}", world.told);
    assert_eq!(world.check(), Ok(()));
}

#[test]
fn what_is_heard_while_what_was_missed_is_read_need_not_be_read_too() {
    let mut world = World::new(Rules::default());
    (0..2).for_each(|_| world.happen(Happens::Publish));
    world.happen(Happens::Lose { which: 0 });
    world.happen(Happens::Hear { which: 0, keep: false });
    world.happen(Happens::Execute);
    for _ in 0..50 {
        world.happen(Happens::Publish);
        world.happen(Happens::Hear { which: 0, keep: false });
    }
    world.happen(Happens::Arrive);
    assert_eq!((world.told.len(), world.check()), (52, Ok(())), "{:?}", world.told);
    assert!(world.question.is_none(), "nothing is left to be read");
}

#[test]
fn who_is_only_late_is_not_deaf() {
    let mut world = World::new(Rules::default());
    for _ in 0..20 {
        // The top is always ahead, and what it was a reading ago is always reached.
        world.happen(Happens::Publish);
        world.happen(Happens::Ask);
        world.happen(Happens::Answer);
        world.happen(Happens::Hear { which: 0, keep: false });
    }
    assert!(!world.state.deaf);
    assert_eq!(world.told.len(), 20);
}
