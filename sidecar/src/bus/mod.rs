//! What pods tell each other, in an order that all of them see. Redis numbers each message, keeps the last of them, and
//! tells whoever listens; who has missed one finds it there, or is told that it is lost.

mod budget;
mod channels;
pub mod cursor;
mod delivery;
mod envelope;
mod feed;
pub(crate) mod http;
mod keys;
mod listen;
mod message;
mod metrics;
mod position;
mod publish;
mod recent;
mod resume;
mod rules;
mod store;
mod subscription;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

pub use delivery::{Delivered, Told};
pub use feed::Feed;
pub use message::{Kind, Letter, Message, Priority, Rejected};
pub use position::{Life, Position, Top};
use prometheus_client::registry::Registry;
pub use publish::{Outgoing, Published};
pub use rules::Rules;
pub use store::Fence;
pub use subscription::{Fred, Heard, Own, Subscription};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::{self, Subscriber};
use crate::coordination::Identity;
use crate::key::GroupKeys;
use crate::leader::Leader;
use crate::redis::Redis;
use budget::Budget;
use channels::Channels;
use keys::Keys;
use listen::Listener;
use metrics::Metrics;
use store::Store;

type Observer = Box<dyn Fn(&Told<'_>) + Send + Sync>;

/// A cheap handle.
#[derive(Debug, Clone)]
pub struct Bus(Arc<Shared>);

struct Shared {
    me: Identity,
    store: Store,
    keys: Keys,
    channels: Channels,
    budget: Budget,
    feed: Feed,
    leader: Leader,
    observers: RwLock<Vec<Observer>>,
    applied: watch::Sender<Option<Position>>,
    deaf: AtomicBool,
    metrics: Metrics,
    rules: Rules,
}

impl Bus {
    /// The caller runs the future, which ends after `stop`.
    pub fn new(
        redis: Redis,
        settings: &config::Coordination,
        me: Identity,
        leader: Leader,
        rules: Rules,
        registry: &mut Registry,
        stop: CancellationToken,
    ) -> (Bus, impl Future<Output = ()> + Send + use<>) {
        let shared = Shared {
            channels: Channels::new(&settings.channel_prefix, &me, settings.compat()),
            me,
            store: Store::new(redis.clone(), settings.keys(), &rules),
            keys: Keys::new(settings.bus_keys_file.clone()),
            budget: Budget::new(settings.high_per_minute, settings.normal_per_minute),
            feed: Feed::default(),
            leader,
            observers: RwLock::default(),
            applied: watch::Sender::new(None),
            deaf: AtomicBool::new(false),
            metrics: Metrics::new(registry),
            rules,
        };
        let bus = Bus(Arc::new(shared));
        let (listening, subscriber) = (bus.clone(), settings.bus_subscriber);
        let work = async move {
            let channels = listening.0.channels.heard();
            let listener = Listener::new(listening.clone());
            let listen = async {
                let fred = subscriber == Subscriber::Fred || !redis.pushes().await;
                let told = |why: &String| tracing::info!(why, "redis listens, not fred");
                if fred && redis.fred().inspect_err(told).is_ok() {
                    listener.listen(Fred::new(redis, channels)).await;
                } else {
                    listener.listen(Own::new(redis, listening.0.store.keys.top.clone(), channels)).await;
                }
            };
            stop.run_until_cancelled(async { tokio::join!(listen, listening.0.keys.watch()) }).await;
        };
        (bus, work)
    }

    pub fn me(&self) -> &Identity {
        &self.0.me
    }

    pub(crate) fn group(&self) -> &GroupKeys {
        &self.0.store.keys
    }

    /// Where whoever listens to this pod's events is told of other things, too.
    pub fn feed(&self) -> &Feed {
        &self.0.feed
    }

    /// From now on `observer` is told what is delivered, in its order, before the app is. It must not wait.
    pub fn observe(&self, observer: impl Fn(&Told<'_>) + Send + Sync + 'static) {
        self.0.observers.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(observer));
    }

    /// The last message that was delivered, or reported as lost; none before the first look.
    pub fn cursor(&self) -> Option<Position> {
        *self.0.applied.borrow()
    }

    /// Changes with each message.
    pub fn applied(&self) -> watch::Receiver<Option<Position>> {
        self.0.applied.subscribe()
    }

    /// Others speak, and this pod hears nothing: it learns of each message later than it should.
    pub fn is_deaf(&self) -> bool {
        self.0.deaf.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus").field("me", &self.me).finish_non_exhaustive()
    }
}
