//! How a pod hears what others say. Hearing is a hint and may fail in silence; what is missed is found in the stream.

mod fred;
mod own;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use fred::Fred;
pub use own::Own;
use tokio::sync::mpsc;

/// Messages that wait to be looked at. More are missed, and said to be.
const WAITING: usize = 8_192;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Message {
        channel: String,
        payload: Vec<u8>,
    },
    /// From now on all is heard; what was said before may not have been.
    Subscribed,
    /// Some of it was too much.
    Missed,
    /// Until it is subscribed again nothing is heard.
    Lost,
}

pub trait Subscription: Send {
    /// What comes next. Nothing is lost where it is not waited for to the end.
    fn next(&mut self) -> impl Future<Output = Heard> + Send;

    /// Begins anew, on another connection: it may be of use no more, and not know.
    fn renew(&mut self);
}

/// What was heard and not yet looked at. It takes memory only for what waits in it.
#[derive(Debug)]
struct Queue {
    heard: mpsc::Receiver<Heard>,
    missed: Arc<AtomicBool>,
}

/// The other end of a queue.
#[derive(Debug, Clone)]
struct Tell {
    heard: mpsc::Sender<Heard>,
    missed: Arc<AtomicBool>,
}

fn queue() -> (Tell, Queue) {
    let ((tell, heard), missed) = (mpsc::channel(WAITING), Arc::<AtomicBool>::default());
    (Tell { heard: tell, missed: missed.clone() }, Queue { heard, missed })
}

impl Queue {
    async fn next(&mut self) -> Heard {
        if self.missed.swap(false, Ordering::Relaxed) {
            return Heard::Missed;
        }
        match self.heard.recv().await {
            Some(heard) => heard,
            // Whoever tells ends with this, or by a defect, which the log has: then it is as if nobody spoke.
            None => std::future::pending().await,
        }
    }
}

impl Tell {
    /// Nobody is kept waiting by one who does not look.
    fn message(&self, heard: Heard) {
        if self.heard.try_send(heard).is_err() {
            self.missed();
        }
    }

    fn missed(&self) {
        self.missed.store(true, Ordering::Relaxed);
    }

    /// How it stands with the subscription; false when nobody will look any more.
    async fn change(&self, heard: Heard) -> bool {
        self.heard.send(heard).await.is_ok()
    }
}
