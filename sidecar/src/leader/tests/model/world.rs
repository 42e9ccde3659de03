//! What three pods and two nodes can be, and what becomes of them.

use super::super::store::act;
use super::*;

const TICK_US: i64 = 200_000;
/// Redis' clock shows a time that is above any count.
const START_US: i64 = 1_000_000_000;

/// How often each may happen, and all of it together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    pub(super) all: u8,
    pub(super) sleeps: u8,
    pub(super) cuts: u8,
    pub(super) lags: u8,
    pub(super) failovers: u8,
    pub(super) wipes: u8,
    pub(super) stops: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) now: u32,
    pub(super) pods: [Pod; 3],
    pub(super) nodes: [Node; 2],
    /// The highest term that the resource has heard from a leader.
    pub(super) resource: u64,
    /// Terms that were won, and by which nonce.
    pub(super) won: Vec<(u64, String)>,
    pub(super) left: Budget,
    pub(super) wrong: Wrong,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Wrong {
    pub(super) two_of_a_term: bool,
    pub(super) later_below: bool,
    pub(super) fence_back: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Pod {
    pub(super) state: State,
    pub(super) todo: Action,
    /// The node that its connection leads to.
    pub(super) at: Option<usize>,
    pub(super) asleep: bool,
    pub(super) flight: Flight,
    /// The highest term that was won when it asked for the lease.
    pub(super) above: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Flight {
    None,
    Asked { action: Action, at: usize, sent: u32 },
    Answered(Event),
    Effect(u64),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) role: Role,
    pub(super) lease: Option<Lease>,
    pub(super) n: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Role {
    Master,
    /// Another was promoted, and nobody has told it.
    Deposed,
    Replica,
}

impl World {
    pub(super) fn boot(&self) -> Boot {
        Boot::at(TICK * self.now)
    }

    pub(super) fn time_us(&self) -> i64 {
        START_US + TICK_US * i64::from(self.now)
    }

    pub(super) fn may_act(&self, pod: usize, model: &Election) -> Option<u64> {
        let held = model.pods[pod].held(&self.pods[pod].state);
        held.filter(|(_, until)| *until > self.boot()).map(|(record, _)| record.term)
    }

    /// What a pod that is awake does now, if it does not wait.
    pub(super) fn ready(&self, pod: usize) -> Option<&Action> {
        let Pod { todo, asleep, .. } = &self.pods[pod];
        (!asleep && !matches!(todo, Action::Wait(_) | Action::End)).then_some(todo)
    }

    /// Whoever is awake and has waited long enough goes on.
    pub(super) fn rouse(&mut self, model: &Election) {
        for pod in 0..self.pods.len() {
            let Pod { todo, asleep, .. } = &self.pods[pod];
            if !asleep && matches!(todo, Action::Wait(until) if *until <= self.boot()) {
                self.happens(pod, Event::Due, model);
            }
        }
    }

    /// A node does what is asked of it.
    pub(super) fn execute(
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

    pub(super) fn happens(&mut self, pod: usize, event: Event, model: &Election) {
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

    pub(super) fn begin(&mut self, pod: usize) -> Action {
        let action = self.pods[pod].todo.clone();
        if let Action::Take { .. } = action {
            self.pods[pod].above = self.won.iter().map(|(term, _)| *term).max().unwrap_or(0);
        }
        action
    }

    pub(super) fn effect(&mut self, term: u64, model: &Election) {
        if term >= self.resource || !model.fenced {
            self.wrong.fence_back |= term < self.resource;
            self.resource = self.resource.max(term);
        }
    }

    /// A replica has all that this node has, as soon as it is asked for that.
    pub(super) fn is_followed(&self, at: usize) -> bool {
        self.nodes[1 - at].role == Role::Replica && self.nodes[at].role == Role::Master
    }

    /// Asks the node, and hears.
    pub(super) fn ask(&mut self, pod: usize, at: usize, confirmed: bool, model: &Election) {
        let action = self.begin(pod);
        let writes = action != Action::Look;
        if writes && !confirmed && self.is_followed(at) {
            self.left.spend(|left| &mut left.lags);
        }
        self.pods[pod].at = Some(at);
        let event = self.execute(pod, at, &action, self.now, confirmed && writes, model);
        self.happens(pod, event, model);
    }

    pub(super) fn cut(&mut self, pod: usize, at: usize, done: bool, model: &Election) {
        self.left.spend(|left| &mut left.cuts);
        let action = self.begin(pod);
        if done {
            self.execute(pod, at, &action, self.now, false, model);
        }
        self.happens(pod, Event::Failed, model);
    }

    pub(super) fn ask_and_sleep(&mut self, pod: usize, at: usize, done: bool, model: &Election) {
        let action = self.begin(pod);
        let (sent, confirmed) = (self.now, self.is_followed(at));
        let flight = if done {
            Flight::Answered(self.execute(pod, at, &action, sent, confirmed, model))
        } else {
            Flight::Asked { action, at, sent }
        };
        self.sleep(pod, flight);
    }

    pub(super) fn sleep(&mut self, pod: usize, flight: Flight) {
        self.left.spend(|left| &mut left.sleeps);
        (self.pods[pod].asleep, self.pods[pod].flight) = (true, flight);
    }

    /// What was asked by a pod that sleeps by now.
    pub(super) fn arrive(&mut self, pod: usize, model: &Election) {
        if let Flight::Asked { action, at, sent } = self.pods[pod].flight.clone() {
            let event = self.execute(pod, at, &action, sent, self.is_followed(at), model);
            self.pods[pod].flight = Flight::Answered(event);
        }
    }

    pub(super) fn wake(&mut self, pod: usize, model: &Election) {
        self.pods[pod].asleep = false;
        match std::mem::replace(&mut self.pods[pod].flight, Flight::None) {
            Flight::None => {}
            Flight::Asked { .. } => self.happens(pod, Event::Failed, model),
            Flight::Answered(event) => self.happens(pod, event, model),
            Flight::Effect(term) => self.effect(term, model),
        }
        self.rouse(model);
    }

    pub(super) fn fail_over(&mut self) {
        self.left.spend(|left| &mut left.failovers);
        self.nodes[0].role = Role::Deposed;
        self.nodes[1].role = Role::Master;
        self.nodes[1].n += 1;
    }

    pub(super) fn wipe(&mut self) {
        self.left.spend(|left| &mut left.wipes);
        for node in &mut self.nodes {
            node.lease = None;
            node.n += 1;
        }
    }
}

/// Which faults are left.
pub(super) struct Left {
    pub(super) sleeps: bool,
    pub(super) cuts: bool,
    pub(super) lags: bool,
    pub(super) failovers: bool,
    pub(super) wipes: bool,
    pub(super) stops: bool,
}

impl Left {
    pub(super) fn of(Budget { all, sleeps, cuts, lags, failovers, wipes, stops }: Budget) -> Left {
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
    pub(super) fn spend(&mut self, of: fn(&mut Budget) -> &mut u8) {
        self.all -= 1;
        *of(self) -= 1;
    }
}
