//! What Redis says of its own accord: which keys have changed. Applied where it is read, before any answer that came
//! after it; a queue would let answers overtake it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use redis::{PushInfo, PushKind, RedisResult, Value};
use tokio::sync::{Notify, mpsc};

use super::dial::Connection;
use super::lease::Event;
use super::metrics::Metrics;
use super::subscribe::Pushed;
use crate::key;

/// What may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed<'a> {
    Key(&'a [u8]),
    /// Every key: Redis was emptied.
    All,
}

type Listener = Box<dyn Fn(Changed<'_>) + Send + Sync>;

/// Whoever keeps copies, once there is somebody. It is called while a connection is read, and must not wait.
#[derive(Clone, Default)]
pub(super) struct Ear(Arc<OnceLock<Listener>>);

impl Ear {
    /// The first listener stays.
    pub(super) fn listen(&self, listener: impl Fn(Changed<'_>) + Send + Sync + 'static) {
        let _first = self.0.set(Box::new(listener));
    }

    pub(super) fn is_open(&self) -> bool {
        self.0.get().is_some()
    }

    fn tell(&self, changed: Changed<'_>) {
        if let Some(listener) = self.0.get() {
            listener(changed);
        }
    }
}

impl fmt::Debug for Ear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ear").field("open", &self.is_open()).finish()
    }
}

/// What is heard on the connections of one link.
#[derive(Debug, Clone)]
pub(super) struct Hearing {
    ear: Ear,
    metrics: Metrics,
    doubt: mpsc::Sender<Event>,
    canary: Arc<Heard>,
}

/// How often the link's canary was heard of.
#[derive(Debug)]
pub(super) struct Heard {
    name: u64,
    key: String,
    count: AtomicU64,
    again: Notify,
}

impl Heard {
    /// No other process, and no other link, has the same name.
    pub(super) fn new(name: u64) -> Heard {
        Heard { name, key: key::canary(name, None), count: AtomicU64::new(0), again: Notify::new() }
    }

    pub(super) fn key(&self, tag: Option<u32>) -> String {
        key::canary(self.name, tag)
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// Until it is heard of once more than so often.
    pub(super) async fn more_than(&self, count: u64) {
        loop {
            let again = self.again.notified();
            if self.count() > count {
                return;
            }
            again.await;
        }
    }
}

impl Hearing {
    pub(super) fn new(ear: Ear, metrics: Metrics, doubt: mpsc::Sender<Event>, canary: Arc<Heard>) -> Hearing {
        Hearing { ear, metrics, doubt, canary }
    }

    pub(super) fn wanted(&self) -> bool {
        self.ear.is_open()
    }

    pub(super) fn pushed(&self) -> Pushed {
        let hearing = self.clone();
        Arc::new(move |push| hearing.hear(push))
    }

    fn hear(&self, push: PushInfo) {
        let PushInfo { kind: PushKind::Invalidate, data } = push else { return };
        match data.first() {
            Some(Value::Array(keys)) => keys.iter().for_each(|key| self.key(key)),
            // Without a list it is about every key; and so is what cannot be understood.
            _ => self.all(),
        }
    }

    fn key(&self, key: &Value) {
        let Value::BulkString(key) = key else { return self.all() };
        if key.starts_with(self.canary.key.as_bytes()) {
            self.canary.count.fetch_add(1, Ordering::SeqCst);
            self.canary.again.notify_waiters();
            return;
        }
        self.metrics.invalidations.inc();
        self.ear.tell(Changed::Key(key));
    }

    fn all(&self) {
        self.metrics.flushes.inc();
        self.ear.tell(Changed::All);
        // The record may have gone too.
        let _full_is_fine = self.doubt.try_send(Event::Doubted);
    }
}

/// From now on Redis says when somebody else changes what was read on this connection.
pub(super) async fn begin(connection: &mut Connection) -> RedisResult<()> {
    redis::cmd("CLIENT").arg("TRACKING").arg("ON").arg("NOLOOP").query_async(connection).await
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn keys_flushes_and_what_cannot_be_understood() {
        let (doubt, mut doubts) = mpsc::channel(1);
        let canary = Arc::new(Heard::new(7));
        let ear = Ear::default();
        let told = Arc::new(Mutex::new(Vec::new()));
        let into = told.clone();
        ear.listen(move |changed| into.lock().unwrap().push(format!("{changed:?}")));
        let hearing = Hearing::new(ear, Metrics::new(&mut Registry::default()), doubt, canary.clone());
        let push = |data| hearing.hear(PushInfo { kind: PushKind::Invalidate, data });
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        push(vec![Value::Array(vec![text("a"), text(&key::canary(7, Some(3))), text("b")])]);
        assert_eq!(canary.count(), 1);
        assert!(doubts.try_recv().is_err());
        for nothing_named in [vec![Value::Nil], vec![], vec![Value::Array(vec![Value::Int(1)])]] {
            push(nothing_named);
            assert!(doubts.try_recv().is_ok());
        }
        hearing.hear(PushInfo { kind: PushKind::Message, data: vec![text("a")] });
        let (a, b) = (format!("{:?}", Changed::Key(b"a")), format!("{:?}", Changed::Key(b"b")));
        assert_eq!(*told.lock().unwrap(), [a.as_str(), &b, "All", "All", "All"]);
    }
}
