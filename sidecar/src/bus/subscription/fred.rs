//! Hears through a client of another make: whatever befalls the one that writes, this one has its own connection, its
//! own reader, and its own mind about when to connect again.

use std::sync::Arc;
use std::time::Duration;

use fred::clients::SubscriberClient;
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::Message;
use fred::types::config::{Config, ConnectionConfig, PerformanceConfig, ReconnectPolicy, UnresponsiveConfig};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};

use super::{Heard, Queue, Subscription, Tell, queue};
use crate::redis::Redis;

const COMMAND: Duration = Duration::from_millis(250);
const PING_EVERY: Duration = Duration::from_millis(200);
const UNRESPONSIVE: UnresponsiveConfig = UnresponsiveConfig {
    max_timeout: Some(Duration::from_millis(500)),
    interval: Duration::from_millis(100),
};
const QUIT: Duration = Duration::from_secs(1);
/// Until they lie in the queue. The client makes eight rings of this size, and fills all of each at once.
const RING: usize = 256;

#[derive(Debug)]
pub struct Fred {
    redis: Redis,
    channels: Arc<[String]>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    config: Config,
    client: SubscriberClient,
    queue: Queue,
    tasks: [JoinHandle<()>; 2],
}

impl Fred {
    pub fn new(redis: Redis, channels: Vec<String>) -> Fred {
        let mut fred = Fred { redis, channels: channels.into(), running: None };
        fred.renew();
        fred
    }
}

impl Subscription for Fred {
    async fn next(&mut self) -> Heard {
        match &mut self.running {
            Some(Running { queue, .. }) => queue.next().await,
            // Whoever listens renews what is lost for long.
            None => std::future::pending().await,
        }
    }

    /// The same client on another connection; another client where the URL or the password has changed.
    fn renew(&mut self) {
        let config = match self.redis.fred() {
            Ok(config) => config,
            Err(reason) => return tracing::debug!(reason, "nothing to subscribe to"),
        };
        if let Some(Running { config: known, client, .. }) = &self.running
            && *known == config
        {
            let client = client.clone();
            tokio::spawn(async move { timeout(QUIT, client.force_reconnection()).await });
            return;
        }
        self.running = Some(Running::start(config, self.channels.clone()));
    }
}

impl Running {
    fn start(config: Config, channels: Arc<[String]>) -> Running {
        let performance = PerformanceConfig {
            default_command_timeout: COMMAND,
            broadcast_channel_capacity: RING,
            ..PerformanceConfig::default()
        };
        let connection = ConnectionConfig {
            connection_timeout: Duration::from_secs(1),
            internal_command_timeout: COMMAND,
            // Nothing is ever sent twice.
            max_command_attempts: 1,
            max_command_buffer_len: 4_096,
            unresponsive: UNRESPONSIVE,
            reconnect_on_auth_error: true,
            ..ConnectionConfig::default()
        };
        let policy = ReconnectPolicy::new_exponential(0, 20, 300, 2);
        let client = SubscriberClient::new(config.clone(), Some(performance), Some(connection), Some(policy));
        let (tell, queue) = queue();
        let hearing = tokio::spawn(hear(client.message_rx(), tell.clone()));
        let keeping = tokio::spawn(keep(client.clone(), channels, tell));
        Running { config, client, queue, tasks: [hearing, keeping] }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        let client = self.client.clone();
        tokio::spawn(async move { timeout(QUIT, client.quit()).await });
    }
}

async fn hear(mut messages: broadcast::Receiver<Message>, tell: Tell) {
    loop {
        match messages.recv().await {
            Ok(Message { channel, value, .. }) => {
                let Some(payload) = value.as_bytes().map(<[u8]>::to_vec) else { continue };
                tell.message(Heard::Message { channel: channel.to_string(), payload });
            }
            Err(RecvError::Lagged(_)) => tell.missed(),
            Err(RecvError::Closed) => return,
        }
    }
}

/// Subscribes at each connection, and asks now and then whether it is one still.
async fn keep(client: SubscriberClient, channels: Arc<[String]>, tell: Tell) {
    let (mut connects, mut errors) = (client.reconnect_rx(), client.error_rx());
    let _runs_until_it_quits = client.connect();
    let mut pings = interval(PING_EVERY);
    let mut subscribed = false;
    loop {
        let anew = tokio::select! {
            connected = connects.recv() => match connected {
                Ok(_) | Err(RecvError::Lagged(_)) => true,
                Err(RecvError::Closed) => return,
            },
            Ok((error, _)) = errors.recv() => {
                tracing::debug!(%error, "the connection that listens");
                false
            }
            _ = pings.tick() => false,
        };
        let was = subscribed;
        if anew || !subscribed && client.is_connected() {
            // It does not say whether Redis has done so; an answer to what follows does.
            subscribed = client.subscribe(channels.to_vec()).await.is_ok() && answers(&client).await;
        } else if subscribed {
            subscribed = answers(&client).await;
        }
        let change = match (was, subscribed) {
            (_, true) if anew => Heard::Subscribed,
            (false, true) => Heard::Subscribed,
            (true, false) => Heard::Lost,
            (true, true) | (false, false) => continue,
        };
        if !tell.change(change).await {
            return;
        }
    }
}

async fn answers(client: &SubscriberClient) -> bool {
    client.ping::<()>(None).await.is_ok()
}
