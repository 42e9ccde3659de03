//! Hears on a connection of the client that everything else uses, looked after in the same way: a PING that is not
//! answered in time ends it, and there is another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::{PushInfo, PushKind, Value};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::{Heard, Subscription, WAITING};
use crate::redis::Redis;

const PING_EVERY: Duration = Duration::from_millis(100);
const PING_TIMEOUT: Duration = Duration::from_millis(250);
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_millis(500);
const BACKOFF: [u64; 5] = [20, 40, 80, 160, 300];

#[derive(Debug)]
pub(crate) struct Own {
    heard: mpsc::Receiver<Heard>,
    missed: Arc<AtomicBool>,
    renew: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Own {
    pub(crate) fn new(redis: Redis, channels: Vec<String>) -> Own {
        let (tell, heard) = mpsc::channel(WAITING);
        let (missed, renew) = (Arc::<AtomicBool>::default(), Arc::<Notify>::default());
        let keeping = keep(redis, channels, tell, missed.clone(), renew.clone());
        Own { heard, missed, renew, task: tokio::spawn(keeping) }
    }
}

impl Subscription for Own {
    async fn next(&mut self) -> Heard {
        if self.missed.swap(false, Ordering::Relaxed) {
            return Heard::Missed;
        }
        match self.heard.recv().await {
            Some(heard) => heard,
            // The task ends with this, or by a defect, which the log has: then it is as if nobody spoke.
            None => std::future::pending().await,
        }
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

async fn keep(
    redis: Redis,
    channels: Vec<String>,
    tell: mpsc::Sender<Heard>,
    missed: Arc<AtomicBool>,
    renew: Arc<Notify>,
) {
    let mut failures = 0;
    loop {
        let (tell_message, full) = (tell.clone(), missed.clone());
        let pushed = Arc::new(move |push: &PushInfo| {
            if let Some(message) = message(push)
                && tell_message.try_send(message).is_err()
            {
                full.store(true, Ordering::Relaxed);
            }
        });
        let begun = timeout(SUBSCRIBE_TIMEOUT, redis.subscribe(&channels, pushed)).await;
        if let Ok(Ok(mut connection)) = begun {
            failures = 0;
            let _gone = tell.send(Heard::Subscribed).await;
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
            let _gone = tell.send(Heard::Lost).await;
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
