//! Which message comes next, and what follows from one that is not it. What subscribers are told at once is only a
//! hint: a message that it brings in its turn is delivered, and about everything else the stream decides.

use std::collections::BTreeSet;

use super::position::{Position, Top};
use super::rules::Rules;

/// Readings of a top that is not reached until it is clear that nothing is heard.
const READINGS: u8 = 3;
/// Messages that were heard before those that come before them, and are kept until their turn.
const AHEAD: usize = 1_024;

/// What is known of the order. Begins before the first reading of the top.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct State {
    /// The last message that was delivered, or reported as missed.
    pub at: Option<Top>,
    /// The stream is being read; an answer to an earlier question is none to this.
    reading: bool,
    question: u64,
    /// Something was said that made no sense, or may not have been heard: to be read again.
    doubt: bool,
    /// Heard, and kept until what comes before is read: under load as much is heard as can be read meanwhile, and
    /// whoever reads all of it never comes to an end.
    ahead: BTreeSet<u64>,
    /// The last reading brought nothing new: what seems to be ahead may be a lie.
    fruitless: bool,
    unreached: Option<Unreached>,
    /// Nothing is heard: the stream is read at each reading of the top.
    pub deaf: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Unreached {
    seq: u64,
    readings: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// Subscribed anew, or what came was more than could be kept: some of it may be missing.
    Doubted,
    /// `sound`: it can be read, and is not one that was delivered before. `room`: it can be kept.
    Heard { position: Position, sound: bool, room: bool },
    /// What was said for nobody else was heard.
    Probed,
    /// The top, and where we were when it was asked for.
    Seen { top: Top, asked: Option<Position> },
    /// The numbers of the messages after ours that the stream has, the top, and whether there may be more.
    Read { question: u64, asked: Position, top: Top, found: Vec<u64>, more: bool },
    /// No answer.
    Unread { question: u64 },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Action {
    /// What was just heard.
    DeliverHeard,
    /// What was just heard is to be kept, until its number is delivered or is none of those in `kept`.
    KeepHeard,
    DeliverKept(u64),
    /// What was found, by its place in the list.
    DeliverFound(usize),
    /// These, and all between, are lost.
    Gap {
        from: Position,
        to: Position,
    },
    /// Redis' data is another: whatever was derived from messages is to be made anew.
    Resync {
        from: Position,
        to: Position,
    },
    /// What comes after this.
    ReadStream {
        question: u64,
        after: Position,
    },
    Deaf(bool),
}

impl State {
    pub fn position(&self) -> Option<Position> {
        self.at.as_ref().map(Top::position)
    }

    /// What was heard under these numbers may still be delivered.
    pub fn kept(&self) -> &BTreeSet<u64> {
        &self.ahead
    }

    pub fn step(mut self, event: Event, rules: &Rules) -> (State, Vec<Action>) {
        let mut actions = Vec::new();
        match event {
            Event::Doubted => self.doubt(&mut actions),
            Event::Heard { position, sound, room } => {
                self.heard(position, sound, room, rules, &mut actions);
            }
            Event::Probed => self.hears(&mut actions),
            Event::Seen { top, asked } => self.seen(top, asked, rules, &mut actions),
            Event::Read { question, asked, top, found, more } if question == self.question => {
                self.read(&top, asked, &found, more, rules, &mut actions);
            }
            Event::Unread { question } if question == self.question => {
                self.reading = false;
                self.doubt = true;
            }
            Event::Read { .. } | Event::Unread { .. } => {}
        }
        (self, actions)
    }

    fn heard(
        &mut self,
        position: Position,
        sound: bool,
        room: bool,
        rules: &Rules,
        actions: &mut Vec<Action>,
    ) {
        let Some(at) = &mut self.at else { return };
        let Position { n, seq } = position;
        if n != at.life.n && rules.lives {
            // Another life is the top's to say.
            return self.doubt |= n > at.life.n;
        }
        if seq <= at.seq {
            if sound {
                self.hears(actions);
            }
        } else if sound && (seq == at.seq + 1 || !rules.gap_check) {
            at.seq = seq;
            actions.push(Action::DeliverHeard);
            self.hears(actions);
            self.go_on(actions);
        } else {
            if sound && room && self.ahead.len() < AHEAD {
                if self.ahead.insert(seq) {
                    actions.push(Action::KeepHeard);
                }
                if self.reading {
                    return;
                }
            }
            self.ask(actions);
        }
    }

    /// With what was kept, as far as it is next.
    fn go_on(&mut self, actions: &mut Vec<Action>) {
        let Some(at) = self.at.as_mut().filter(|_| !self.ahead.is_empty()) else { return };
        let before = at.seq;
        self.ahead = self.ahead.split_off(&(at.seq + 1));
        while self.ahead.remove(&(at.seq + 1)) {
            at.seq += 1;
            actions.push(Action::DeliverKept(at.seq));
        }
        if at.seq > before {
            self.hears(actions);
        }
    }

    /// Reads what lies between. What seems to be ahead may be a lie: then it waits for a reading of the top.
    fn ask(&mut self, actions: &mut Vec<Action>) {
        if self.fruitless {
            self.doubt = true;
        } else {
            self.doubt(actions);
        }
    }

    fn seen(&mut self, top: Top, asked: Option<Position>, rules: &Rules, actions: &mut Vec<Action>) {
        let Some(at) = self.same_life(&top, asked, rules, actions) else { return };
        self.fruitless = false;
        // Ahead of the top is nothing, or what was said since: it can be read by now.
        self.doubt |= !self.ahead.split_off(&(top.seq + 1)).is_empty();
        if top.seq <= at.seq {
            self.unreached = None;
            if self.doubt {
                self.doubt(actions);
            }
            return;
        }
        let readings = match self.unreached {
            Some(Unreached { seq, readings }) if at.seq < seq => readings.saturating_add(1),
            Some(_) | None => 1,
        };
        let seq = self.unreached.filter(|_| readings > 1).map_or(top.seq, |unreached| unreached.seq);
        self.unreached = Some(Unreached { seq, readings });
        if readings >= READINGS && !self.deaf {
            self.deaf = true;
            actions.push(Action::Deaf(true));
        }
        if self.deaf || self.doubt {
            self.doubt(actions);
        }
    }

    fn read(
        &mut self,
        top: &Top,
        asked: Position,
        found: &[u64],
        more: bool,
        rules: &Rules,
        actions: &mut Vec<Action>,
    ) {
        self.reading = false;
        let Some(mut at) = self.same_life(top, Some(asked), rules, actions) else { return };
        let before = at.seq;
        for (place, seq) in found.iter().enumerate() {
            // Beyond the top is what somebody else has put there.
            if *seq <= at.seq || *seq > top.seq {
                continue;
            }
            self.reach(&mut at, seq - 1, actions);
            at.seq = *seq;
            actions.push(Action::DeliverFound(place));
        }
        // What was heard meanwhile may reach beyond a full page: then it says nothing of what follows.
        let more = more && at.seq > asked.seq;
        if !more {
            self.reach(&mut at, top.seq, actions);
        }
        self.at = Some(at);
        self.go_on(actions);
        self.fruitless = self.position().is_some_and(|at| at.seq == before);
        if more || (self.doubt || !self.ahead.is_empty()) && !self.fruitless {
            self.doubt(actions);
        }
    }

    /// All up to `to` that is not in the stream: what was kept is delivered, and the rest is lost.
    fn reach(&mut self, at: &mut Top, to: u64, actions: &mut Vec<Action>) {
        while at.seq < to {
            let next = self.ahead.range(at.seq + 1..=to).next().copied();
            match next {
                Some(next) if next == at.seq + 1 => {
                    at.seq = next;
                    actions.push(Action::DeliverKept(next));
                }
                Some(next) => actions.push(at.miss(next - 1)),
                None => actions.push(at.miss(to)),
            }
        }
    }

    /// Where we are, in the life that the top is of; or nowhere, because we have begun there, or begin anew.
    fn same_life(
        &mut self,
        top: &Top,
        asked: Option<Position>,
        rules: &Rules,
        actions: &mut Vec<Action>,
    ) -> Option<Top> {
        let Some(at) = self.at.clone() else {
            self.at = Some(top.clone());
            return None;
        };
        if !rules.lives {
            return Some(at);
        }
        // What was there when we asked cannot be there no more, unless data was lost.
        let rolled_back = asked.is_some_and(|asked| asked.n == top.life.n && asked.seq > top.seq);
        if at.life == top.life && !rolled_back {
            return Some(at);
        }
        actions.push(Action::Resync { from: at.position(), to: top.position() });
        self.at = Some(top.clone());
        self.question += 1;
        self.reading = false;
        self.unreached = None;
        self.ahead.clear();
        None
    }

    fn hears(&mut self, actions: &mut Vec<Action>) {
        self.unreached = None;
        if std::mem::take(&mut self.deaf) {
            actions.push(Action::Deaf(false));
        }
    }

    /// Reads the stream, or again once it is read.
    fn doubt(&mut self, actions: &mut Vec<Action>) {
        let Some(after) = self.position() else { return };
        self.doubt = self.reading;
        if !std::mem::replace(&mut self.reading, true) {
            self.question += 1;
            actions.push(Action::ReadStream { question: self.question, after });
        }
    }
}

impl Top {
    /// All up to `to` is lost.
    fn miss(&mut self, to: u64) -> Action {
        let from = Position { n: self.life.n, seq: self.seq + 1 };
        self.seq = to;
        Action::Gap { from, to: self.position() }
    }
}

#[cfg(test)]
#[path = "cursor_tests.rs"]
mod tests;
