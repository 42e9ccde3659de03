//! What whoever listens is told: this process' own parts first, then the app.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use serde_json::json;

use super::message::{Letter, Message, Rejected};
use super::position::Position;
use super::{Shared, envelope};
use crate::stream::Event;

/// How long after its sending a message is taken for a copy of one.
const OLD_US: i64 = 15 * 60 * 1_000_000;

/// What has happened to the order of messages.
#[derive(Debug)]
pub enum Told<'a> {
    Message(&'a Delivered),
    /// Of the original's pods: in no order, and anybody's word.
    Foreign(&'a Message),
    /// These, and all between, are lost.
    Gap {
        from: Position,
        to: Position,
    },
    /// All that was derived from messages is to be made anew; what comes next comes after this.
    Resync {
        to: Position,
    },
}

#[derive(Debug)]
pub struct Delivered {
    pub at: Position,
    pub letter: Letter,
    /// It was sealed: its sender is of this fleet.
    pub authentic: bool,
}

/// A letter that was read, or why it was not.
pub(super) type Opened = Result<(Letter, bool), Rejected>;

impl Shared {
    pub(super) fn open(&self, bytes: &[u8]) -> Opened {
        let text = envelope::open(&self.keys.seal(), &self.channels.prefix, bytes)?;
        let authentic = bytes.first() != Some(&b'{');
        let letter = Letter::parse(&text)?;
        if self.store.now_us().is_some_and(|now| now - letter.at > OLD_US) {
            return Err(Rejected::Old);
        }
        Ok((letter, authentic))
    }

    pub(super) fn deliver(&self, delivered: &Delivered) {
        let Delivered { at, letter, authentic } = delivered;
        if *authentic {
            self.leader.seen(letter.term);
        }
        self.metrics.heard(letter.message.priority);
        if let Some(now) = self.store.now_us() {
            self.metrics.took(now - letter.at);
        }
        self.tell(&Told::Message(delivered));
        self.feed.tell_at(self.event(*at, letter), *at);
        self.advance(*at);
    }

    /// What came before is nothing to this process. Whoever has begun to listen to it may have missed some of that.
    pub(super) fn begin(&self, at: Position) {
        self.tell(&Told::Resync { to: at });
        self.feed.begin(at, resync(Some(at), "begun"));
        self.advance(at);
    }

    /// A place that is nothing to the app: a message that came before, or one that is to be dropped.
    pub(super) fn pass(&self, at: Position) {
        self.feed.tell_at(Event::place(at.to_string()), at);
        self.advance(at);
    }

    pub(super) fn miss(&self, from: Position, to: Position, reason: &'static str) {
        self.metrics.gaps.inc();
        self.tell(&Told::Gap { from, to });
        self.feed.tell_at(gap(from, to, reason), to);
        self.advance(to);
    }

    pub(super) fn resync(&self, from: Position, to: Position) {
        self.metrics.resyncs.inc();
        tracing::warn!(%from, %to, "Redis was replaced or emptied: messages may be lost");
        self.tell(&Told::Resync { to });
        self.feed.tell_at(resync(Some(to), "redis"), to);
        self.advance(to);
    }

    pub(super) fn deliver_foreign(&self, message: &Message) {
        self.metrics.heard(message.priority);
        self.tell(&Told::Foreign(message));
        let data = extended(message, r#","unauthenticated":true"#);
        self.feed.tell(Event { name: "message", id: None, data });
    }

    /// As the app hears it, if it is for this one.
    pub(super) fn event(&self, at: Position, letter: &Letter) -> Event {
        let Letter { process: _, target, at: _, term: _, fence, ack: _, message } = letter;
        if target.as_ref().is_some_and(|target| *target != self.me.pod) {
            return Event::place(at.to_string());
        }
        let mut more = String::new();
        if let Some(target) = target {
            more.push_str(&format!(r#","target":{}"#, serde_json::Value::from(target.as_str())));
        }
        if let Some(term) = fence {
            more.push_str(&format!(r#","term":{term}"#));
        }
        Event { name: "message", id: Some(at.to_string()), data: extended(message, &more) }
    }

    fn tell(&self, told: &Told<'_>) {
        for observer in self.observers.read().unwrap_or_else(PoisonError::into_inner).iter() {
            observer(told);
        }
    }

    fn advance(&self, to: Position) {
        self.applied.send_if_modified(|at| {
            *at = Some(to);
            false
        });
    }

    /// Wakes whoever waits: once for all that was delivered after `before`.
    pub(super) fn announce(&self, before: Option<Position>) {
        self.feed.announce();
        self.applied.send_if_modified(|at| *at != before);
    }

    pub(super) fn set_deaf(&self, deaf: bool) {
        self.deaf.store(deaf, Ordering::Relaxed);
        if deaf {
            tracing::warn!("others speak and nothing is heard: messages are fetched");
        } else {
            tracing::info!("messages are heard again");
        }
    }
}

pub(super) fn gap(from: Position, to: Position, reason: &str) -> Event {
    let data = json!({ "from": from.to_string(), "to": to.to_string(), "reason": reason }).to_string();
    Event { name: "gap", id: Some(to.to_string()), data }
}

/// What comes next comes after `to`.
pub(super) fn resync(to: Option<Position>, reason: &str) -> Event {
    let to = to.map(|to| to.to_string());
    Event { name: "resync", data: json!({ "to": to, "reason": reason }).to_string(), id: to }
}

/// The original's members, and some of our own behind them.
fn extended(message: &Message, more: &str) -> String {
    let mut text = message.text();
    text.pop();
    text.push_str(more);
    text.push('}');
    text
}
