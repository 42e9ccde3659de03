//! The app beside each sidecar: listens, says what it has applied, keeps copies, and comes back when it is cut off.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tests::agreement::{Position, Read};
use tests::events::{Events, Next};
use tests::http::Request;
use tests::random::Random;
use tokio::sync::watch;
use tokio::time::timeout;

use super::cache::KEYS;
use super::world::{NODES, World, now};
use crate::nemesis::pause;

/// The app of this pod keeps no copies, and goes away and comes back as it likes; the others say what they have applied.
const RESTLESS: usize = NODES - 1;
const LONG: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct App {
    pub(super) world: Arc<World>,
    pub(super) pod: usize,
    pub(super) random: Random,
}

/// What is to be said: to which stream, and of which process.
#[derive(Debug, Clone)]
struct Ack {
    address: SocketAddr,
    stream: u64,
    at: Position,
}

impl App {
    /// All that it does, until the run is over.
    pub(super) async fn run(mut self) {
        let (acks, to_say) = watch::channel(None);
        let (world, pod) = (self.world.clone(), self.pod);
        let reader = App { world: world.clone(), pod, random: self.random.fork() };
        let others = async {
            if pod != RESTLESS {
                tokio::join!(acknowledge(&world, pod, to_say), reader.read());
            }
        };
        world.over.run_until_cancelled(async { tokio::join!(self.listen(acks), others) }).await;
    }

    async fn listen(mut self, acks: watch::Sender<Option<Ack>>) {
        let path = if self.pod == RESTLESS { "/v1/events" } else { "/v1/events?acks=true" };
        let mut last = None;
        loop {
            let address = self.world.nodes[self.pod].present().address;
            match Events::try_open(address, path, last.as_deref()).await {
                Some(events) => self.hear(address, events, &mut last, &acks).await,
                None => pause(20).await,
            }
        }
    }

    /// What one stream brings, until it ends or the app has had enough of it.
    async fn hear(
        &mut self,
        address: SocketAddr,
        mut events: Events,
        last: &mut Option<String>,
        acks: &watch::Sender<Option<Ack>>,
    ) {
        let heard = &self.world.nodes[self.pod].heard;
        let mut stream = None;
        loop {
            match events.next(LONG).await {
                Next::Event(event) => {
                    let applied = heard.lock().unwrap().told(&event);
                    if event.name == "hello" {
                        stream = event.json()["stream"].as_u64();
                    }
                    *last = event.id.or(last.take());
                    if let Some((stream, at)) = stream.zip(applied) {
                        acks.send_replace(Some(Ack { address, stream, at }));
                    }
                }
                Next::Place(id) => {
                    heard.lock().unwrap().passed(&id);
                    *last = Some(id);
                }
                Next::Nothing => {}
                Next::End => return pause(20).await,
            }
            if self.pod == RESTLESS && self.random.below(150) == 0 {
                return;
            }
        }
    }

    /// What comes by the app's users.
    async fn read(mut self) {
        let node = &self.world.nodes[self.pod];
        loop {
            pause(1 + self.random.below(8)).await;
            let key = self.random.below(KEYS as u64) as usize;
            let drops = {
                let mut heard = node.heard.lock().unwrap();
                let invoked = now();
                if let Some(version) = heard.cache.serve(key) {
                    let process = node.present().name;
                    heard.reads.push(Read { process, key, version, invoked });
                    continue;
                }
                heard.cache.drops()
            };
            let version = self.world.versions[key].load(Ordering::SeqCst);
            pause(self.random.below(4)).await;
            node.heard.lock().unwrap().cache.put(key, version, drops);
        }
    }
}

/// The last word is for all before it.
async fn acknowledge(world: &World, pod: usize, mut acks: watch::Receiver<Option<Ack>>) {
    while acks.changed().await.is_ok() {
        let Some(Ack { address, stream, at }) = acks.borrow_and_update().clone() else { continue };
        let process = world.nodes[pod].present();
        // What was said to one that is gone is nothing to another.
        if process.address == address {
            let body = json!({ "stream": stream, "id": at.to_string() });
            let request = Request::new("POST", "/v1/events/acks").json(body);
            let outcome = match timeout(PATIENCE, process.http.try_send(request)).await {
                Ok(Ok(answer)) if answer.status == 204 => "ok",
                Ok(Ok(answer)) if answer.status == 404 => "refused",
                Ok(Ok(_) | Err(_)) | Err(_) => "unknown",
            };
            world.called("acknowledge", outcome);
        }
        pause(4).await;
    }
}
