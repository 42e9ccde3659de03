//! One who listens to this pod's events: from now on, or from where he was cut off.

use std::sync::Arc;

use futures::{Stream, StreamExt, stream};
use serde_json::json;
use tokio::sync::watch;

use super::Bus;
use super::delivery::{gap, resync};
use super::feed::{Found, Reader, Resumed};
use super::position::Position;
use super::recent::Recent;
use super::store::Page;
use crate::coordination::Identity;
use crate::stream::Event;

/// What he is told next.
enum Phase {
    Hello,
    /// What lies in the stream between what he had last and what this pod still knows.
    Behind {
        after: Position,
        until: Position,
        known: Recent,
    },
    Here,
}

struct Listening {
    bus: Bus,
    reader: Reader,
    phase: Phase,
    /// What hello says of where he is, and what he is to do.
    resumed: Option<Resumption>,
    /// He has been told all that came before he did.
    here: watch::Sender<bool>,
}

enum Resumption {
    Here,
    Behind { after: Position, until: Position },
    Lost,
}

impl Bus {
    pub(crate) fn events(&self, last: Option<Position>) -> impl Stream<Item = Event> + Send + use<> {
        self.events_from(last).0
    }

    /// And when all is told that came before.
    pub(crate) fn events_from(
        &self,
        last: Option<Position>,
    ) -> (impl Stream<Item = Event> + Send + use<>, watch::Receiver<bool>) {
        let (reader, resumed) = match last.map(|last| (last, self.0.feed.resume(last))) {
            None => (self.0.feed.listen(), None),
            Some((_, Resumed::Here(reader))) => (reader, Some(Resumption::Here)),
            Some((after, Resumed::Behind { reader, until })) => {
                (reader, Some(Resumption::Behind { after, until }))
            }
            Some((_, Resumed::Lost(reader))) => (reader, Some(Resumption::Lost)),
        };
        let (here, told_all) = watch::channel(false);
        let listening = Listening { bus: self.clone(), reader, phase: Phase::Hello, resumed, here };
        let told = stream::unfold(listening, |mut listening| async move {
            let events = listening.next().await;
            Some((stream::iter(events), listening))
        });
        (told.flatten(), told_all)
    }
}

impl Listening {
    async fn next(&mut self) -> Vec<Event> {
        match std::mem::replace(&mut self.phase, Phase::Here) {
            Phase::Hello => self.hello(),
            Phase::Behind { after, until, known } => self.behind(after, until, known).await,
            Phase::Here => {
                self.here.send_replace(true);
                match self.reader.next().await {
                    Found::Event(event) => vec![Arc::unwrap_or_clone(event)],
                    Found::Lagged(at) => vec![resync(at, "lagged")],
                }
            }
        }
    }

    fn hello(&mut self) -> Vec<Event> {
        let Identity { pod, process } = &self.bus.0.me;
        let data = json!({ "pod": pod, "process": process }).to_string();
        let at = self.reader.from;
        // Who resumes is where he was, until he is told more.
        let id = if self.resumed.is_none() { at.map(|at| at.to_string()) } else { None };
        let mut events = vec![Event { name: "hello", id, data }];
        match self.resumed.take() {
            Some(Resumption::Behind { after, until }) => {
                self.phase = Phase::Behind { after, until, known: Recent::default() };
            }
            Some(Resumption::Lost) => events.push(resync(at, "unknown")),
            Some(Resumption::Here) | None => {}
        }
        events
    }

    /// A page of the stream, while nothing is missing in it.
    async fn behind(&mut self, after: Position, until: Position, mut known: Recent) -> Vec<Event> {
        let before = Position { seq: until.seq - 1, ..until };
        let lost = || vec![resync(Some(before), "lost")];
        let Ok(Some(Page { top: _, found, more: _ })) = self.bus.0.store.read(after).await else {
            return lost();
        };
        let mut events = Vec::new();
        let mut at = after;
        for (seq, envelope) in found.into_iter().take_while(|(seq, _)| *seq < until.seq) {
            if seq != at.seq + 1 {
                return lost();
            }
            at.seq = seq;
            events.push(match self.bus.0.open(&envelope) {
                Ok((letter, _)) if known.insert(&letter.message.id) => self.bus.0.event(at, &letter),
                Ok(_) => Event::place(at.to_string()),
                Err(_) => gap(at, at, "unreadable"),
            });
        }
        if at == after && at < before {
            return lost();
        }
        if at < before {
            self.phase = Phase::Behind { after: at, until, known };
        }
        events
    }
}
