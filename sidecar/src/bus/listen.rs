//! Listens, looks at the top four times a second, and fetches what was not heard.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::{MissedTickBehavior, interval};

use super::Bus;
use super::cursor::{Action, Event, State};
use super::delivery::{Delivered, Opened};
use super::message::{Message, Rejected, is_announcement};
use super::position::{Position, Top};
use super::recent::Recent;
use super::store::Page;
use super::subscription::{Heard, Subscription};
use crate::redis;
use crate::telemetry::Seldom;

const LOOK_EVERY: Duration = Duration::from_millis(250);
/// What has come meanwhile is announced together.
const TOGETHER: usize = 64;
/// A subscription that brings nothing for so long is begun anew, and again.
const RENEW_EVERY: Duration = Duration::from_secs(3);
/// What is heard before its turn, in envelopes.
const AHEAD_BYTES: usize = 1 << 20;

pub(super) struct Listener {
    bus: Bus,
    state: State,
    recent: Recent,
    /// Where the original's pods are heard: the ids of what was heard of ours, delivered or not yet, and of theirs.
    ours: Recent,
    foreign: Recent,
    /// Heard before its turn, and how long each was.
    ahead: BTreeMap<u64, (Opened, usize)>,
    ahead_bytes: usize,
    /// The highest term that anything was accepted under.
    fence: u64,
    /// What is wrong, by its name.
    said: HashMap<&'static str, Seldom>,
    looking: Option<Looking>,
    reading: Option<Reading>,
    /// Since when the subscription is of no use, or was renewed last.
    useless: Option<Instant>,
}

/// What was heard at a place of its own.
struct Arrived {
    at: Position,
    opened: Opened,
    length: usize,
}

type Looking = BoxFuture<'static, (Option<Position>, Result<Top, redis::Error>)>;
type Reading = BoxFuture<'static, (u64, Position, Result<Option<Page>, redis::Error>)>;

impl Listener {
    pub(super) fn new(bus: Bus) -> Listener {
        Listener {
            bus,
            state: State::default(),
            recent: Recent::default(),
            ours: Recent::default(),
            foreign: Recent::default(),
            ahead: BTreeMap::new(),
            ahead_bytes: 0,
            fence: 0,
            said: HashMap::new(),
            looking: None,
            reading: None,
            useless: Some(Instant::now()),
        }
    }

    /// Never ends.
    pub(super) async fn listen(mut self, mut subscription: impl Subscription) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let before = self.bus.cursor();
            tokio::select! {
                heard = subscription.next() => self.heard_all(heard, &mut subscription),
                _ = looks.tick() => self.look(&mut subscription, Instant::now()),
                (asked, top) = answer(&mut self.looking) => {
                    if let Ok(top) = top {
                        self.seen(top, asked);
                    }
                }
                (question, asked, page) = answer(&mut self.reading) => self.read(question, asked, page),
            }
            self.bus.0.announce(before);
        }
    }

    fn look(&mut self, subscription: &mut impl Subscription, now: Instant) {
        if self.state.deaf {
            self.bus.0.metrics.deaf_for(LOOK_EVERY);
            self.useless.get_or_insert(now);
        }
        if self.useless.is_some_and(|since| now.saturating_duration_since(since) >= RENEW_EVERY) {
            self.useless = Some(now);
            subscription.renew();
        }
        if self.looking.is_some() {
            return;
        }
        let (bus, asked, deaf) = (self.bus.clone(), self.state.position(), self.state.deaf);
        self.looking = Some(
            async move {
                let probe = if deaf { bus.0.channels.probe.as_str() } else { "" };
                (asked, bus.0.store.top(probe).await)
            }
            .boxed(),
        );
    }

    fn seen(&mut self, top: Top, asked: Option<Position>) {
        let joined = self.state.at.is_none();
        self.step(Event::Seen { top, asked }, None, Vec::new());
        if joined && let Some(at) = self.state.position() {
            self.bus.0.begin(at);
        }
    }

    fn heard_all(&mut self, first: Heard, subscription: &mut impl Subscription) {
        self.heard(first);
        for _ in 1..TOGETHER {
            let Some(heard) = subscription.next().now_or_never() else { break };
            self.heard(heard);
        }
    }

    fn heard(&mut self, heard: Heard) {
        match heard {
            Heard::Message { channel, payload } => self.message(&channel, &payload),
            Heard::Subscribed => {
                self.bus.0.metrics.subscriptions.inc();
                self.useless = None;
                self.step(Event::Doubted, None, Vec::new());
            }
            Heard::Missed => self.step(Event::Doubted, None, Vec::new()),
            Heard::Lost => self.useless = self.useless.or_else(|| Some(Instant::now())),
        }
    }

    fn message(&mut self, channel: &str, payload: &[u8]) {
        let channels = &self.bus.0.channels;
        if channel == channels.bus {
            match placed(payload) {
                Some((position, envelope)) => self.letter(position, envelope),
                None => self.rejected(Rejected::Garbage),
            }
        } else if channel == channels.probe {
            self.step(Event::Probed, None, Vec::new());
        } else if channels.is_original(channel) {
            match Message::parse(payload) {
                // What ours told them too is heard first as ours; and what one of them says, it says once.
                Ok(message) if self.ours.knows(&message.id) => {}
                Ok(message) if self.foreign.insert(&message.id) => self.bus.0.deliver_foreign(&message),
                Ok(_known) => {}
                Err(_) if is_announcement(payload) => {}
                Err(reason) => self.rejected(reason),
            }
        }
    }

    fn letter(&mut self, position: Position, envelope: &[u8]) {
        let passed = |at: Position| at.n == position.n && at.seq >= position.seq;
        if self.state.deaf && self.state.position().is_some_and(passed) {
            // It was read. Whoever has much to catch up with has no time to open it again.
            return;
        }
        let opened = self.bus.0.open(envelope);
        let sound = opened.as_ref().is_ok_and(|(letter, _)| !self.known(&letter.message.id));
        match &opened {
            Ok((letter, _)) => self.heard_of_ours(&letter.message.id),
            Err(reason) => self.rejected(*reason),
        }
        let room = self.ahead_bytes + envelope.len() <= AHEAD_BYTES;
        let heard = Arrived { at: position, opened, length: envelope.len() };
        self.step(Event::Heard { position, sound, room }, Some(heard), Vec::new());
    }

    fn heard_of_ours(&mut self, id: &str) {
        if self.bus.0.channels.has_originals() {
            self.ours.insert(id);
        }
    }

    fn known(&self, id: &str) -> bool {
        self.bus.0.rules.dedupe && self.recent.knows(id)
    }

    fn read(&mut self, question: u64, asked: Position, page: Result<Option<Page>, redis::Error>) {
        match page {
            Ok(Some(Page { top, found, more })) => {
                let numbers = found.iter().map(|(seq, _)| *seq).collect();
                let found = found.into_iter().map(|(_, envelope)| envelope).collect();
                self.step(Event::Read { question, asked, top, found: numbers, more }, None, found);
            }
            Ok(None) | Err(_) => self.step(Event::Unread { question }, None, Vec::new()),
        }
    }

    fn step(&mut self, event: Event, heard: Option<Arrived>, found: Vec<Vec<u8>>) {
        let numbers = match &event {
            Event::Read { found, .. } => found.clone(),
            _ => Vec::new(),
        };
        let (mut heard, bus) = (heard, self.bus.clone());
        let (state, actions) = std::mem::take(&mut self.state).step(event, &bus.0.rules);
        let n = state.at.as_ref().map_or(0, |at| at.life.n);
        self.state = state;
        for action in actions {
            match action {
                Action::DeliverHeard => {
                    if let Some(Arrived { at, opened, length: _ }) = heard.take() {
                        self.deliver(at, opened);
                    }
                }
                Action::KeepHeard => {
                    if let Some(Arrived { at, opened, length }) = heard.take() {
                        self.ahead_bytes += length;
                        self.ahead.insert(at.seq, (opened, length));
                    }
                }
                Action::DeliverKept(seq) => {
                    if let Some((opened, length)) = self.ahead.remove(&seq) {
                        self.ahead_bytes -= length;
                        self.deliver(Position { n, seq }, opened);
                    }
                }
                Action::DeliverFound(place) => {
                    let opened = bus.0.open(&found[place]);
                    if let Err(reason) = &opened {
                        self.rejected(*reason);
                    }
                    self.deliver(Position { n, seq: numbers[place] }, opened);
                }
                Action::Gap { from, to } => self.miss(from, to, "lost"),
                Action::Resync { from, to } => bus.0.resync(from, to),
                Action::ReadStream { question, after } => self.read_stream(question, after),
                Action::Deaf(deaf) => bus.0.set_deaf(deaf),
            }
        }
        // Mostly they are the same, and there may be many.
        if self.ahead.len() > self.state.kept().len() {
            self.ahead.retain(|seq, _| self.state.kept().contains(seq));
            self.ahead_bytes = self.ahead.values().map(|(_, length)| length).sum();
        }
    }

    fn read_stream(&mut self, question: u64, after: Position) {
        let bus = self.bus.clone();
        self.reading = Some(async move { (question, after, bus.0.store.read(after).await) }.boxed());
    }

    /// At its place in the order. What cannot be read is lost; what came before is passed over.
    fn deliver(&mut self, at: Position, opened: Opened) {
        let bus = self.bus.clone();
        let Ok((letter, authentic)) = opened else { return self.miss(at, at, "unreadable") };
        if !self.recent.insert(&letter.message.id) && bus.0.rules.dedupe {
            return bus.0.pass(at);
        }
        self.heard_of_ours(&letter.message.id);
        if let Some(term) = letter.fence {
            if term < self.fence && bus.0.rules.fence {
                self.rejected(Rejected::Stale);
                return bus.0.pass(at);
            }
            self.fence = term;
        }
        bus.0.deliver(&Delivered { at, letter, authentic });
    }

    fn miss(&mut self, from: Position, to: Position, reason: &'static str) {
        if self.is_to_be_said(reason) {
            tracing::warn!(%from, %to, reason, "messages are lost; more such are only counted");
        }
        self.bus.0.miss(from, to, reason);
    }

    fn rejected(&mut self, reason: Rejected) {
        self.bus.0.metrics.rejected(reason);
        let reason = reason.name();
        if self.is_to_be_said(reason) {
            tracing::warn!(reason, "what came is no message; more such are only counted");
        }
    }

    fn is_to_be_said(&mut self, what: &'static str) -> bool {
        self.said.entry(what).or_default().is_due()
    }
}

/// What is waited for, once; for ever, if nothing is.
async fn answer<T>(waited: &mut Option<BoxFuture<'static, T>>) -> T {
    match waited {
        Some(future) => {
            let answer = future.await;
            *waited = None;
            answer
        }
        None => std::future::pending().await,
    }
}

/// `n-seq`, a blank and an envelope.
fn placed(payload: &[u8]) -> Option<(Position, &[u8])> {
    /// Two numbers of twenty digits.
    const LONGEST: usize = 41;
    let blank = payload.iter().take(LONGEST + 1).position(|byte| *byte == b' ')?;
    let position = std::str::from_utf8(&payload[..blank]).ok()?.parse().ok()?;
    Some((position, &payload[blank + 1..]))
}
