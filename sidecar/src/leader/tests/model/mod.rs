//! Every course that an election of three pods can take, with two Redis nodes of which one follows the other: requests
//! and answers that are lost or late, pods that sleep before or after anything they do, a failover that may lose what
//! was written last, an old master that does not know it yet, a wipe, and pods that leave. The pods decide by the
//! product's own step.

mod world;

use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model, Property};

use super::store::{SOUND, Scripted};
use super::*;
use world::{Budget, Flight, Left, Node, Pod, Role, World, Wrong};

const TICK: Duration = Duration::from_millis(200);

struct Election {
    pods: [Candidate; 3],
    scripted: Scripted,
    /// Whoever is told to do something refuses what bears an older term.
    fenced: bool,
    budget: Budget,
    /// In ticks. A lease lasts two of them and is watched for three; the first is won at the third.
    end: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Move {
    Tick,
    /// Asks the node, and hears.
    Ask {
        pod: usize,
        at: usize,
        confirmed: bool,
    },
    /// The connection breaks before or after the node has done it.
    Cut {
        pod: usize,
        at: usize,
        done: bool,
    },
    /// It sleeps from before or after the node has done it.
    AskAndSleep {
        pod: usize,
        at: usize,
        done: bool,
    },
    Arrive {
        pod: usize,
    },
    Wake {
        pod: usize,
    },
    Act {
        pod: usize,
    },
    /// It has seen that it may, and sleeps before it does.
    ActLate {
        pod: usize,
    },
    Stop {
        pod: usize,
    },
    Replicate,
    Failover,
    Demote,
    Wipe,
}

impl Model for Election {
    type State = World;
    type Action = Move;

    fn init_states(&self) -> Vec<World> {
        let pod = || Pod {
            state: State::default(),
            todo: Action::Look,
            at: None,
            asleep: false,
            flight: Flight::None,
            above: 0,
        };
        let node = |role| Node { role, lease: None, n: 1 };
        let mut world = World {
            now: 0,
            pods: [pod(), pod(), pod()],
            nodes: [node(Role::Master), node(Role::Replica)],
            resource: 0,
            won: Vec::new(),
            left: self.budget,
            wrong: Wrong::default(),
        };
        // Nothing happens until one leads and the others know it.
        while world.won.is_empty() || (0..3).any(|pod| world.ready(pod).is_some()) {
            let next = (0..3).find(|pod| world.ready(*pod).is_some());
            let next = next.map_or(Move::Tick, |pod| Move::Ask { pod, at: 0, confirmed: true });
            world = self.next_state(&world, next).expect("it is possible");
        }
        vec![world]
    }

    fn actions(&self, world: &World, moves: &mut Vec<Move>) {
        let left = Left::of(world.left);
        let mut quiet = true;
        for pod in 0..world.pods.len() {
            if world.pods[pod].asleep {
                moves.push(Move::Wake { pod });
                if let Flight::Asked { .. } = world.pods[pod].flight {
                    moves.push(Move::Arrive { pod });
                }
                continue;
            }
            let acts = world.may_act(pod, self).is_some();
            if acts {
                moves.push(Move::Act { pod });
                moves.extend(left.sleeps.then_some(Move::ActLate { pod }));
            }
            moves.extend((left.stops && acts).then_some(Move::Stop { pod }));
            let Some(action) = world.ready(pod) else {
                continue;
            };
            quiet = false;
            let writes = *action != Action::Look;
            for at in 0..world.nodes.len() {
                let leads = world.pods[pod].at.is_none_or(|there| there == at);
                let dialled = world.pods[pod].at.is_some() || world.nodes[at].role != Role::Replica;
                if !leads || !dialled {
                    continue;
                }
                let follower = world.is_followed(at);
                if follower || !writes {
                    moves.push(Move::Ask { pod, at, confirmed: true });
                }
                if writes && (!follower || left.lags) {
                    moves.push(Move::Ask { pod, at, confirmed: false });
                }
                let faults = [true, false].into_iter().filter(|done| writes || !done);
                for done in faults {
                    moves.extend(left.cuts.then_some(Move::Cut { pod, at, done }));
                    moves.extend((left.sleeps && writes).then_some(Move::AskAndSleep { pod, at, done }));
                }
            }
        }
        let [first, second] = [0, 1].map(|at| &world.nodes[at]);
        let lags = first.role == Role::Master && first.lease != second.lease;
        moves.extend((quiet && world.now < self.end).then_some(Move::Tick));
        moves.extend(lags.then_some(Move::Replicate));
        moves.extend((left.failovers && first.role == Role::Master).then_some(Move::Failover));
        moves.extend((first.role == Role::Deposed).then_some(Move::Demote));
        moves.extend((left.wipes && (first.lease.is_some())).then_some(Move::Wipe));
    }

    fn next_state(&self, last: &World, step: Move) -> Option<World> {
        let mut world = last.clone();
        match step {
            Move::Tick => {
                world.now += 1;
                world.rouse(self);
            }
            Move::Ask { pod, at, confirmed } => world.ask(pod, at, confirmed, self),
            Move::Cut { pod, at, done } => world.cut(pod, at, done, self),
            Move::AskAndSleep { pod, at, done } => world.ask_and_sleep(pod, at, done, self),
            Move::Arrive { pod } => world.arrive(pod, self),
            Move::Wake { pod } => world.wake(pod, self),
            Move::Act { pod } => world.effect(world.may_act(pod, self)?, self),
            Move::ActLate { pod } => {
                let term = world.may_act(pod, self)?;
                world.sleep(pod, Flight::Effect(term));
            }
            Move::Stop { pod } => {
                world.left.spend(|left| &mut left.stops);
                world.happens(pod, Event::Stop, self);
            }
            Move::Replicate => world.nodes[1].lease = world.nodes[0].lease.clone(),
            Move::Failover => world.fail_over(),
            Move::Demote => {
                world.nodes[0].role = Role::Replica;
                world.nodes[0].lease = world.nodes[1].lease.clone();
            }
            Move::Wipe => world.wipe(),
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("L1: a term is one nonce's", |_, world: &World| !world.wrong.two_of_a_term),
            Property::always("L2: who wins later has a higher term", |_, world: &World| {
                !world.wrong.later_below
            }),
            Property::always("L3: no older term is obeyed after a newer", |_, world: &World| {
                !world.wrong.fence_back
            }),
            Property::always("L4: one pod at a time may act", |model: &Election, world: &World| {
                (0..3).filter(|pod| world.may_act(*pod, model).is_some()).count() <= 1
            }),
            Property::sometimes("three terms are won", |_, world: &World| world.won.len() > 2),
            Property::sometimes("a failover is survived", |model: &Election, world: &World| {
                let led = (0..3).any(|pod| world.may_act(pod, model).is_some());
                led && world.nodes[1].role == Role::Master && world.won.len() > 1
            }),
            Property::sometimes("what slept is refused", |model: &Election, world: &World| {
                world
                    .pods
                    .iter()
                    .any(|pod| matches!(pod.flight, Flight::Effect(term) if term < world.resource))
                    && model.fenced
            }),
        ]
    }
}

/// Any of the faults, of whatever kinds.
fn any(all: u8) -> Budget {
    Budget { all, sleeps: all, cuts: all, lags: all, failovers: 1, wipes: 1, stops: 1 }
}

const NONE: Budget = Budget { all: 2, sleeps: 0, cuts: 0, lags: 0, failovers: 0, wipes: 0, stops: 0 };

fn election(rules: &Rules, budget: Budget, end: u32) -> Election {
    let timing = Timing { ttl: 2 * TICK, renew: TICK, margin: TICK, look: TICK };
    let pods = ["a", "b", "c"].map(|name| candidate(name, timing, rules.clone()));
    Election { pods, scripted: SOUND, fenced: true, budget, end }
}

/// What it takes to go wrong, and how.
fn goes_wrong(what: &str, model: Election) {
    let start = Instant::now();
    let found = model.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let wrong = found.discoveries().into_iter().find(|(name, _)| name.starts_with('L'));
    let (states, took) = (found.unique_state_count(), start.elapsed().as_millis());
    let (law, path) = wrong.unwrap_or_else(|| panic!("{what}: nothing goes wrong in {states} states"));
    let moves: Vec<_> = path.into_actions().iter().map(|step| format!("{step:?}")).collect();
    println!("{what}: not {law}, after {states} states in {took} ms: {}", moves.join(" → "));
}

#[test]
fn every_course_of_an_election_keeps_the_laws() {
    let start = Instant::now();
    let all = election(&Rules::default(), any(2), 7).checker().spawn_bfs().join();
    let (states, deep, took) = (all.unique_state_count(), all.max_depth(), start.elapsed().as_millis());
    println!("elections of 3 pods on 2 nodes, 2 faults: {states} states, {deep} moves deep, in {took} ms");
    all.assert_properties();
}

#[test]
fn an_election_without_one_of_its_rules_goes_wrong() {
    let sound = Rules::default;
    let sleeps = Budget { sleeps: 1, ..NONE };
    let at_once = Rules { takeover: TakeOver::AtOnce, ..sound() };
    goes_wrong("without watching", election(&at_once, NONE, 9));
    goes_wrong("without a fence", Election { fenced: false, ..election(&sound(), sleeps, 9) });
    let unchecked = Scripted { checks_nonce: false, ..SOUND };
    let unchecked = Election { scripted: unchecked, ..election(&sound(), sleeps, 9) };
    goes_wrong("renewal without a look at the nonce", unchecked);
    // What was found when nothing was planted, and nothing compared with nothing.
    let alike = Scripted { plants_nonce: false, ..SOUND };
    let alike = Election { scripted: alike, ..election(&sound(), Budget { wipes: 2, ..NONE }, 9) };
    goes_wrong("vacancies that are all alike", alike);
    let unconfirmed = Rules { confirmed_only: false, ..sound() };
    goes_wrong("unconfirmed", election(&unconfirmed, Budget { failovers: 1, sleeps: 1, ..NONE }, 9));
    let counted = Rules { term: Term::Counted, ..sound() };
    let by_count = Scripted { term_by_time: false, ..SOUND };
    let counted = Election { scripted: by_count, ..election(&counted, Budget { stops: 1, ..NONE }, 9) };
    goes_wrong("a term of its own counting", counted);
}
