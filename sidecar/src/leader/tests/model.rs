//! Every course that an election of three pods can take, with two Redis nodes of which one follows the other: requests
//! and answers that are lost or late, pods that sleep before or after anything they do, a failover that may lose what
//! was written last, an old master that does not know it yet, a wipe, and pods that leave. The pods decide by the
//! product's own step.

use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model, Property};

use super::store::{SOUND, Scripted, act};
use super::*;

const TICK: Duration = Duration::from_millis(200);
const TICK_US: i64 = 200_000;
/// Redis' clock shows a time that is above any count.
const START_US: i64 = 1_000_000_000;

struct Election {
    pods: [Candidate; 3],
    scripted: Scripted,
    /// Whoever is told to do something refuses what bears an older term.
    fenced: bool,
    budget: Budget,
    /// In ticks. A lease lasts two of them and is watched for three; the first is won at the third.
    end: u32,
}

/// How often each may happen, and all of it together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Budget {
    all: u8,
    sleeps: u8,
    cuts: u8,
    lags: u8,
    failovers: u8,
    wipes: u8,
    stops: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    now: u32,
    pods: [Pod; 3],
    nodes: [Node; 2],
    /// The highest term that the resource has heard from a leader.
    resource: u64,
    /// Terms that were won, and by which nonce.
    won: Vec<(u64, String)>,
    left: Budget,
    wrong: Wrong,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Wrong {
    two_of_a_term: bool,
    later_below: bool,
    fence_back: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Pod {
    state: State,
    todo: Action,
    /// The node that its connection leads to.
    at: Option<usize>,
    asleep: bool,
    flight: Flight,
    /// The highest term that was won when it asked for the lease.
    above: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Flight {
    None,
    Asked { action: Action, at: usize, sent: u32 },
    Answered(Event),
    Effect(u64),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Node {
    role: Role,
    lease: Option<Lease>,
    n: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Role {
    Master,
    /// Another was promoted, and nobody has told it.
    Deposed,
    Replica,
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

impl World {
    fn boot(&self) -> Boot {
        Boot::at(TICK * self.now)
    }

    fn time_us(&self) -> i64 {
        START_US + TICK_US * i64::from(self.now)
    }

    fn may_act(&self, pod: usize, model: &Election) -> Option<u64> {
        let held = model.pods[pod].held(&self.pods[pod].state);
        held.filter(|(_, until)| *until > self.boot()).map(|(record, _)| record.term)
    }

    /// What a pod that is awake does now, if it does not wait.
    fn ready(&self, pod: usize) -> Option<&Action> {
        let Pod { todo, asleep, .. } = &self.pods[pod];
        (!asleep && !matches!(todo, Action::Wait(_) | Action::End)).then_some(todo)
    }

    /// Whoever is awake and has waited long enough goes on.
    fn rouse(&mut self, model: &Election) {
        for pod in 0..self.pods.len() {
            let Pod { todo, asleep, .. } = &self.pods[pod];
            if !asleep && matches!(todo, Action::Wait(until) if *until <= self.boot()) {
                self.happens(pod, Event::Due, model);
            }
        }
    }

    /// A node does what is asked of it.
    fn execute(
        &mut self,
        pod: usize,
        at: usize,
        action: &Action,
        sent: u32,
        confirmed: bool,
        model: &Election,
    ) -> Event {
        let time_us = self.time_us();
        let Node { role, lease, n } = &mut self.nodes[at];
        if let Action::Look = action {
            let run_id = at.to_string();
            let incarnation = Incarnation { n: *n, run_id, since_us: 0 };
            let incarnation = (*role != Role::Replica).then_some(incarnation);
            let (connection, lease) = (at as u64, lease.clone());
            return Event::Saw(Sight { connection, incarnation, lease, time_us, heard: 0 });
        }
        // READONLY, or LATE.
        if *role == Role::Replica || self.now > sent + 1 {
            return Event::Failed;
        }
        let done = act(lease, action, &model.pods[pod], time_us, model.scripted);
        let lease = lease.clone();
        if confirmed {
            self.nodes[1 - at].lease.clone_from(&lease);
        }
        Event::Answered(Answer { done, confirmed, lease, sent: Boot::at(TICK * sent), time_us, heard: 0 })
    }

    fn happens(&mut self, pod: usize, event: Event, model: &Election) {
        if let Event::Failed = event {
            self.pods[pod].at = None;
        }
        let now = self.boot();
        let candidate = &model.pods[pod];
        let before = candidate.held(&self.pods[pod].state).map(|(record, _)| record.term);
        let (mut state, mut todo) = candidate.step(self.pods[pod].state.clone(), event, now);
        // Nobody decides by it.
        state.other = None;
        if let Action::Leave(until) = todo {
            self.pods[pod].at = None;
            todo = Action::Wait(until);
        }
        if let Some((record, _)) = candidate.held(&state).filter(|(record, _)| before != Some(record.term)) {
            let won = (record.term, record.nonce.clone());
            self.wrong.two_of_a_term |=
                self.won.iter().any(|(term, nonce)| *term == won.0 && *nonce != won.1);
            if !self.won.contains(&won) {
                self.wrong.later_below |= won.0 <= self.pods[pod].above;
                self.won.push(won);
            }
        }
        (self.pods[pod].state, self.pods[pod].todo) = (state, todo);
    }

    fn begin(&mut self, pod: usize) -> Action {
        let action = self.pods[pod].todo.clone();
        if let Action::Take { .. } = action {
            self.pods[pod].above = self.won.iter().map(|(term, _)| *term).max().unwrap_or(0);
        }
        action
    }

    fn effect(&mut self, term: u64, model: &Election) {
        if term >= self.resource || !model.fenced {
            self.wrong.fence_back |= term < self.resource;
            self.resource = self.resource.max(term);
        }
    }
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
                let follower =
                    world.nodes[1 - at].role == Role::Replica && world.nodes[at].role == Role::Master;
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
            Move::Ask { pod, at, confirmed } => {
                let action = world.begin(pod);
                let follower =
                    world.nodes[1 - at].role == Role::Replica && world.nodes[at].role == Role::Master;
                let lags = action != Action::Look && follower && !confirmed;
                world.left.spend(lags, |left| &mut left.lags);
                world.pods[pod].at = Some(at);
                let event =
                    world.execute(pod, at, &action, last.now, confirmed && action != Action::Look, self);
                world.happens(pod, event, self);
            }
            Move::Cut { pod, at, done } => {
                world.left.spend(true, |left| &mut left.cuts);
                let action = world.begin(pod);
                if done {
                    world.execute(pod, at, &action, last.now, false, self);
                }
                world.happens(pod, Event::Failed, self);
            }
            Move::AskAndSleep { pod, at, done } => {
                world.left.spend(true, |left| &mut left.sleeps);
                let action = world.begin(pod);
                world.pods[pod].asleep = true;
                world.pods[pod].flight = if done {
                    let confirmed =
                        world.nodes[1 - at].role == Role::Replica && world.nodes[at].role == Role::Master;
                    Flight::Answered(world.execute(pod, at, &action, last.now, confirmed, self))
                } else {
                    Flight::Asked { action, at, sent: last.now }
                };
            }
            Move::Arrive { pod } => {
                let flight = std::mem::replace(&mut world.pods[pod].flight, Flight::None);
                let Flight::Asked { action, at, sent } = flight else { return None };
                let confirmed =
                    world.nodes[1 - at].role == Role::Replica && world.nodes[at].role == Role::Master;
                world.pods[pod].flight =
                    Flight::Answered(world.execute(pod, at, &action, sent, confirmed, self));
            }
            Move::Wake { pod } => {
                world.pods[pod].asleep = false;
                match std::mem::replace(&mut world.pods[pod].flight, Flight::None) {
                    Flight::None => {}
                    Flight::Asked { .. } => world.happens(pod, Event::Failed, self),
                    Flight::Answered(event) => world.happens(pod, event, self),
                    Flight::Effect(term) => world.effect(term, self),
                }
                world.rouse(self);
            }
            Move::Act { pod } => world.effect(world.may_act(pod, self)?, self),
            Move::ActLate { pod } => {
                world.left.spend(true, |left| &mut left.sleeps);
                world.pods[pod].asleep = true;
                world.pods[pod].flight = Flight::Effect(world.may_act(pod, self)?);
            }
            Move::Stop { pod } => {
                world.left.spend(true, |left| &mut left.stops);
                world.happens(pod, Event::Stop, self);
            }
            Move::Replicate => world.nodes[1].lease = world.nodes[0].lease.clone(),
            Move::Failover => {
                world.left.spend(true, |left| &mut left.failovers);
                world.nodes[0].role = Role::Deposed;
                world.nodes[1].role = Role::Master;
                world.nodes[1].n += 1;
            }
            Move::Demote => {
                world.nodes[0].role = Role::Replica;
                world.nodes[0].lease = world.nodes[1].lease.clone();
            }
            Move::Wipe => {
                world.left.spend(true, |left| &mut left.wipes);
                for node in &mut world.nodes {
                    node.lease = None;
                    node.n += 1;
                }
            }
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

/// Which faults are left.
struct Left {
    sleeps: bool,
    cuts: bool,
    lags: bool,
    failovers: bool,
    wipes: bool,
    stops: bool,
}

impl Left {
    fn of(Budget { all, sleeps, cuts, lags, failovers, wipes, stops }: Budget) -> Left {
        let left = |count| all > 0 && count > 0;
        Left {
            sleeps: left(sleeps),
            cuts: left(cuts),
            lags: left(lags),
            failovers: left(failovers),
            wipes: left(wipes),
            stops: left(stops),
        }
    }
}

impl Budget {
    fn spend(&mut self, spent: bool, of: fn(&mut Budget) -> &mut u8) {
        if spent {
            self.all -= 1;
            *of(self) -= 1;
        }
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
    let unconfirmed = Rules { confirmed_only: false, ..sound() };
    goes_wrong("unconfirmed", election(&unconfirmed, Budget { failovers: 1, sleeps: 1, ..NONE }, 9));
    let counted = Rules { term: Term::Counted, ..sound() };
    let by_count = Scripted { term_by_time: false, ..SOUND };
    let counted = Election { scripted: by_count, ..election(&counted, Budget { stops: 1, ..NONE }, 9) };
    goes_wrong("a term of its own counting", counted);
}
