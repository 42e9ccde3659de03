//! Hears on a connection of the client that everything else uses, looked after in the same way: a PING that is not
//! answered in time ends it, and there is another.

use std::sync::Arc;
use std::time::Duration;

use redis::{PushInfo, PushKind, Value};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::{Heard, Queue, Subscription, Tell, queue};
use crate::redis::Redis;

const PING_EVERY: Duration = Duration::from_millis(100);
const PING_TIMEOUT: Duration = Duration::from_millis(500);
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_millis(500);
const BACKOFF: [u64; 5] = [20, 40, 80, 160, 300];

#[derive(Debug)]
pub struct Own {
    queue: Queue,
    renew: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Own {
    pub fn new(redis: Redis, key: String, channels: Vec<String>) -> Own {
        let ((tell, queue), renew) = (queue(), Arc::<Notify>::default());
        let keeping = keep(redis, key, channels, tell, renew.clone());
        Own { queue, renew, task: tokio::spawn(keeping) }
    }
}

impl Subscription for Own {
    async fn next(&mut self) -> Heard {
        self.queue.next().await
    }

    fn renew(&mut self) {
        self.renew.notify_one();
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep(redis: Redis, key: String, channels: Vec<String>, tell: Tell, renew: Arc<Notify>) {
    let mut failures = 0;
    loop {
        let telling = tell.clone();
        let pushed = Arc::new(move |push: &PushInfo| {
            if let Some(message) = message(push) {
                telling.message(message);
            }
        });
        let begun = timeout(SUBSCRIBE_TIMEOUT, redis.subscribe(&key, &channels, pushed)).await;
        if let Ok(Err(error)) = &begun
            && failures == BACKOFF.len()
        {
            tracing::warn!(%error, "nothing can be subscribed to: messages are fetched");
        }
        if let Ok(Ok(mut connection)) = begun {
            failures = 0;
            let _gone = tell.change(Heard::Subscribed).await;
            loop {
                if timeout(PING_EVERY, renew.notified()).await.is_ok() {
                    break;
                }
                let ping = redis::cmd("PING");
                let pong = timeout(PING_TIMEOUT, ping.query_async::<Value>(&mut connection)).await;
                if !matches!(pong, Ok(Ok(_))) {
                    break;
                }
            }
            let _gone = tell.change(Heard::Lost).await;
        }
        let wait = BACKOFF[failures.min(BACKOFF.len() - 1)];
        failures += 1;
        sleep(Duration::from_millis(wait)).await;
    }
}

fn message(push: &PushInfo) -> Option<Heard> {
    match (&push.kind, &push.data[..]) {
        (PushKind::Message, [Value::BulkString(channel), Value::BulkString(payload)]) => {
            let channel = String::from_utf8(channel.clone()).ok()?;
            Some(Heard::Message { channel, payload: payload.clone() })
        }
        _ => None,
    }
}
