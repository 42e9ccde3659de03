//! How a message is sent: at most a few times, by one id, until somebody knows what became of it.

use std::time::{Duration, Instant};

use serde_json::value::RawValue;

use super::message::{Kind, Letter, MAX_BYTES, Message, Priority, mint};
use super::position::Position;
use super::store::{Fence, Said, Saying};
use super::{Bus, Shared, envelope};
use crate::clock::now_ms;
use crate::coordination::{Error, Identity};

/// No attempt begins later than this after the first.
const PATIENCE: Duration = Duration::from_millis(700);
const ATTEMPTS: usize = 3;

/// What is to be told.
#[derive(Debug)]
pub struct Outgoing {
    pub kind: Kind,
    pub payload: Box<RawValue>,
    pub priority: Priority,
    /// The pod whose app it is for; all of them, if none is named.
    pub target: Option<String>,
    /// Told only while this lease is held, and by nobody who led before.
    pub fence: Option<Fence>,
    /// Each process is to say at once how far it has come.
    pub ack: bool,
}

/// It has its place, and whoever listens hears it, or of its loss.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The message's.
    pub id: String,
    pub position: Position,
    /// The rows of all processes when it was sent; only with `ack`.
    pub pods: Vec<(String, String)>,
}

impl Bus {
    /// As much as the app's budget allows.
    pub async fn publish_for_app(&self, outgoing: Outgoing) -> Result<Published, Error> {
        let allowed = self.0.budget.take(outgoing.priority, Instant::now());
        self.counted(allowed)?;
        self.publish(outgoing).await
    }

    pub async fn publish(&self, outgoing: Outgoing) -> Result<Published, Error> {
        let priority = outgoing.priority;
        let published = self.counted(self.0.publish(outgoing).await);
        if published.is_ok() {
            self.0.metrics.sent(priority);
        }
        published
    }

    fn counted<T>(&self, sent: Result<T, Error>) -> Result<T, Error> {
        sent.inspect_err(|error| self.0.metrics.refused(error))
    }
}

impl Shared {
    async fn publish(&self, outgoing: Outgoing) -> Result<Published, Error> {
        let Outgoing { kind, payload, priority, target, fence, ack } = outgoing;
        let internal = |error: getrandom::Error| Error::Internal { reason: error.to_string() };
        let Identity { pod, process } = self.me.clone();
        let (now, drawn) = (now_ms(), getrandom::u64().map_err(internal)?);
        let id = mint(now, drawn);
        let message = Message { id: id.clone(), kind, payload, timestamp: now, source_pod: pod, priority };
        let channel = self.channels.original(target.as_deref());
        let plain = channel.map(|channel| (channel, message.text()));
        let unknown = || Error::Unavailable { reason: "Redis' clock is not known".to_owned() };
        let letter = Letter {
            process,
            target,
            at: self.store.now_us().ok_or_else(unknown)?,
            term: self.leader.view().term,
            fence: fence.as_ref().map(|fence| fence.term),
            ack,
            message,
        };
        let text = letter.text();
        if text.len() > MAX_BYTES {
            return Err(Error::TooLarge);
        }
        let mut nonce = [0; 24];
        getrandom::fill(&mut nonce).map_err(internal)?;
        let sealed = envelope::seal(&self.keys.seal(), &self.channels.prefix, nonce, text);
        let no_key = || Error::Unavailable { reason: "no key of the bus could be read yet".to_owned() };
        let saying = Saying {
            channel: &self.channels.bus,
            envelope: &sealed.ok_or_else(no_key)?,
            fence: fence.as_ref().filter(|_| self.rules.fence),
            pods: ack,
            original: plain.as_ref().map(|(channel, text)| (channel.as_str(), text.as_str())),
        };
        let Said { position, pods } = self.say(&saying).await?;
        Ok(Published { id, position, pods })
    }

    /// One that may have been told is told again: by its id it is known. One that came too late, too.
    async fn say(&self, saying: &Saying<'_>) -> Result<Said, Error> {
        let start = Instant::now();
        let mut failed = None;
        for _ in 0..ATTEMPTS {
            match self.store.publish(saying).await {
                Ok(said) => return Ok(said),
                Err(error @ Error::OutcomeUnknown { .. }) => failed = Some(error),
                Err(error @ Error::Unavailable { .. }) => failed = failed.or(Some(error)),
                // An attempt before this one may have been told all the same.
                Err(error) => {
                    return Err(failed
                        .filter(|it| matches!(it, Error::OutcomeUnknown { .. }))
                        .unwrap_or(error));
                }
            }
            if start.elapsed() > PATIENCE {
                break;
            }
        }
        Err(failed.unwrap_or_else(|| Error::Unavailable { reason: "no attempt was made".to_owned() }))
    }
}
