//! By what they talk.

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use fred::clients::Client;
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::config::{Config, PerformanceConfig};
use fred::types::{ClusterHash, CustomCommand, Message};
use futures::StreamExt;
use redis::aio::{MultiplexedConnection, PubSubStream};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::events::{Event, Events};
use crate::words::{CHANNEL, sent_us};

/// As many as the sidecar lets wait: fred's own 32 are gone in a burst.
const WAITING: usize = 8_192;

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum By {
    Sidecar,
    Redis,
    Fred,
}

/// Whoever tells or reads. Of a client of Redis there is one connection, which all share.
#[derive(Clone)]
pub(crate) enum Asker {
    Redis(MultiplexedConnection),
    Fred(Client),
}

impl Asker {
    pub(crate) async fn open(by: By, url: &str) -> Result<Asker> {
        match by {
            By::Sidecar => bail!("a sidecar is asked by HTTP"),
            By::Redis => Ok(Asker::Redis(client(url)?.get_multiplexed_async_connection().await?)),
            By::Fred => Ok(Asker::Fred(fred(url).await?)),
        }
    }

    pub(crate) async fn publish(&mut self, text: &str) -> Result<bool> {
        let heard: u64 = match self {
            Asker::Redis(redis) => redis::cmd("PUBLISH").arg(CHANNEL).arg(text).query_async(redis).await?,
            Asker::Fred(fred) => fred.publish(CHANNEL, text).await?,
        };
        Ok(heard > 0)
    }

    pub(crate) async fn get(&mut self, key: &str) -> Result<bool> {
        let value: Option<String> = match self {
            Asker::Redis(redis) => redis::cmd("GET").arg(key).query_async(redis).await?,
            Asker::Fred(fred) => {
                let get = CustomCommand::new_static("GET", ClusterHash::FirstKey, false);
                fred.custom(get, vec![key]).await?
            }
        };
        Ok(value.is_some())
    }
}

/// Whoever hears.
pub(crate) enum Ear {
    Sidecar { events: Events, last: Option<u64> },
    Redis(PubSubStream),
    Fred { _client: Client, messages: broadcast::Receiver<Message> },
}

#[derive(Debug)]
pub(crate) enum Heard {
    /// Sent then, and behind so many of which nothing was said.
    Message {
        sent_us: u64,
        skipped: u64,
    },
    /// That some are lost.
    Gap,
    Other,
}

impl Ear {
    pub(crate) async fn open(by: By, target: &str) -> Result<Ear> {
        Ok(match by {
            By::Sidecar => Ear::Sidecar { events: Events::open(target).await?, last: None },
            By::Redis => {
                let (mut sink, stream) = client(target)?.get_async_pubsub().await?.split();
                sink.subscribe(CHANNEL).await?;
                // Without the other half the connection is closed.
                tokio::spawn(async move {
                    let _held = sink;
                    std::future::pending::<()>().await;
                });
                Ear::Redis(stream)
            }
            By::Fred => {
                let client = fred(target).await?;
                let messages = client.message_rx();
                client.subscribe(CHANNEL).await?;
                Ear::Fred { _client: client, messages }
            }
        })
    }

    pub(crate) async fn next(&mut self) -> Result<Heard> {
        match self {
            Ear::Sidecar { events, last } => Ok(heard(&events.next().await?, last)),
            Ear::Redis(stream) => {
                let message = stream.next().await.context("the stream has ended")?;
                Ok(told(&message.get_payload::<String>()?, 0))
            }
            Ear::Fred { messages, .. } => match messages.recv().await {
                Ok(message) => Ok(told(&message.value.as_str().unwrap_or_default(), 0)),
                Err(RecvError::Lagged(_)) => Ok(Heard::Gap),
                Err(RecvError::Closed) => bail!("fred has ended"),
            },
        }
    }
}

fn heard(event: &Event, last: &mut Option<u64>) -> Heard {
    let before = *last;
    *last = event.seq.or(before);
    let skipped = event.seq.zip(before).map_or(0, |(seq, before)| seq.saturating_sub(before + 1));
    match event.name.as_str() {
        "message" => told(&event.data, skipped),
        "gap" | "resync" => Heard::Gap,
        _ => Heard::Other,
    }
}

fn told(text: &str, skipped: u64) -> Heard {
    sent_us(text).map_or(Heard::Other, |sent_us| Heard::Message { sent_us, skipped })
}

#[expect(clippy::disallowed_methods, reason = "the sidecar's own connections are what this is compared with")]
fn client(url: &str) -> Result<redis::Client> {
    Ok(redis::Client::open(url)?)
}

async fn fred(url: &str) -> Result<Client> {
    let performance =
        PerformanceConfig { broadcast_channel_capacity: WAITING, ..PerformanceConfig::default() };
    let client = Client::new(Config::from_url(url)?, Some(performance), None, None);
    let _runs_until_the_end = client.init().await?;
    Ok(client)
}
