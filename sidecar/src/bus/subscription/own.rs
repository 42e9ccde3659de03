//! Hears on a connection of the client that everything else uses, looked after in the same way: a PING that is not
//! answered in time ends it, and there is another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::{PushInfo, PushKind, Value};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::{Heard, Queue, Subscription, Tell, queue};
use crate::redis::Redis;

/// In which nothing else was heard.
const PING_EVERY: Duration = Duration::from_millis(250);
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
        let (telling, heard) = (tell.clone(), Arc::<AtomicBool>::default());
        let hears = heard.clone();
        let pushed = Arc::new(move |push: PushInfo| {
            hears.store(true, Ordering::Relaxed);
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
                if heard.swap(false, Ordering::Relaxed) {
                    continue;
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

fn message(push: PushInfo) -> Option<Heard> {
    let PushInfo { kind: PushKind::Message, data } = push else { return None };
    let [Value::BulkString(channel), Value::BulkString(payload)] = <[Value; 2]>::try_from(data).ok()? else {
        return None;
    };
    Some(Heard::Message { channel: String::from_utf8(channel).ok()?, payload })
}
