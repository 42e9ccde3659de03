//! What one app was told, and what it did about it.

use serde_json::Value;
use tests::agreement::{Effect, Listener, Position, Read, Told, What};
use tests::events::Event;

use super::cache::Cache;
use super::world::now;

#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) listener: Listener,
    pub(super) effects: Vec<Effect>,
    pub(super) reads: Vec<Read>,
    pub(super) cache: Cache,
    /// How often it has begun to listen.
    pub(super) begun: usize,
    process: String,
    at: Option<Position>,
}

impl Heard {
    /// It has heard of all up to there, or of its loss.
    pub(super) fn reached(&self, position: Position) -> bool {
        self.at >= Some(position)
    }

    /// What happened is written down before anything follows from it. The place is to be acknowledged.
    pub(super) fn told(&mut self, event: &Event) -> Option<Position> {
        let data = event.json();
        let place = event.id.as_deref().map(position);
        match event.name.as_str() {
            "hello" => {
                self.hello(&data);
                None
            }
            "message" => {
                let at = place.expect("every message has a place");
                self.push(What::Message { position: at, id: text(&data["id"]) }, place);
                self.message(&data);
                place
            }
            "gap" => {
                let (from, to) = (position(&text(&data["from"])), position(&text(&data["to"])));
                self.push(What::Gap { from, to }, place);
                self.cache.drop_all();
                place
            }
            "resync" => {
                self.push(What::Resync { to: place }, place);
                self.cache.drop_all();
                place
            }
            "lease" => {
                self.cache.lease(data["untilMonotonicMs"].as_u64().expect("a lease has an end"));
                None
            }
            _ => None,
        }
    }

    pub(super) fn passed(&mut self, place: &str) {
        let at = position(place);
        self.push(What::Place(at), Some(at));
    }

    fn hello(&mut self, data: &Value) {
        let process = text(&data["process"]);
        if self.begun == 0 {
            self.listener.from = now();
        }
        self.begun += 1;
        if std::mem::replace(&mut self.process, process.clone()) != process {
            self.push(What::Began, None);
        }
    }

    fn message(&mut self, data: &Value) {
        if let Some(term) = data["term"].as_u64() {
            self.effects.push(Effect { term, at: now() });
        }
        if data["type"] == "cache_invalidate" {
            for key in data["payload"]["keys"].as_array().into_iter().flatten() {
                self.cache.drop_key(text(key).parse().expect("keys are numbers"));
            }
        }
    }

    fn push(&mut self, what: What, place: Option<Position>) {
        self.at = self.at.max(place);
        self.listener.told.push(Told { at: now(), what });
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

fn position(text: &str) -> Position {
    text.parse().expect("a position")
}
