//! What is asked of a write beside its effect, and what is told of it.

use axum::http::HeaderMap;

use super::Error;
use super::idempotency::Idempotency;
use super::outage::Asks;

/// What must hold a write before it is acknowledged (`X-Consistency`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Way {
    #[default]
    Redis,
    Strong,
}

/// How a write is sent, and under which key its result is kept for its client.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct How {
    pub(crate) way: Way,
    pub(crate) key: Option<Idempotency>,
}

/// What holds a write that is acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Durability {
    #[default]
    Redis,
    Replicated,
    /// Redis; so many replicas were asked for, and fewer confirmed in time.
    Unconfirmed {
        replicas: u32,
    },
}

impl How {
    /// What an outage cannot give.
    pub(crate) fn asks(&self) -> Asks {
        Asks { conditional: false, strong: self.way == Way::Strong, keyed: self.key.is_some() }
    }
}

impl Way {
    pub(crate) fn of(headers: &HeaderMap) -> Result<Way, Error> {
        match headers.get("x-consistency").map(|value| value.as_bytes()) {
            None => Ok(Way::Redis),
            Some(b"strong") => Ok(Way::Strong),
            Some(_) => Err(Error::InvalidRequest("X-Consistency must be strong, or absent".into())),
        }
    }
}

impl Durability {
    /// As the header has it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Durability::Redis | Durability::Unconfirmed { .. } => "redis",
            Durability::Replicated => "replicated",
        }
    }

    pub(crate) fn warning(self) -> Option<String> {
        match self {
            Durability::Redis | Durability::Replicated => None,
            Durability::Unconfirmed { replicas } => {
                let replicas =
                    if replicas == 1 { "1 replica".to_owned() } else { format!("{replicas} replicas") };
                Some(format!("199 - \"applied, not confirmed by {replicas}\""))
            }
        }
    }
}
