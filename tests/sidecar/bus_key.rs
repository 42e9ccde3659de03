//! A new key for messages, as an operator brings it: to each pod at another time, while all of them talk.

use std::time::Duration;

use serde_json::json;
use tests::events::{Events, Next};
use tests::redis::RedisServer;
use tests::scratch::Scratch;
use tests::sidecar::Sidecar;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::bus::{listen, pod, say};
use crate::common::RECOVERY;
use crate::metrics::{total, values};

const OLD: &str = "old AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
const NEW: &str = "new ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=\n";
/// Milliseconds after which each pod gets a new file. A sidecar looks into it every 2 s.
const LATE: [u64; 3] = [0, 500, 1_000];
/// Longer than all of it.
const WAIT: Duration = Duration::from_millis(3_600);
/// One pod has the key and looks into its file before another one gets it.
const FAR_APART: [u64; 3] = [0, 500, 4_000];
const BETWEEN: Duration = Duration::from_millis(20);

struct Fleet {
    dir: Scratch,
    sidecars: Vec<Sidecar>,
    listeners: Vec<JoinHandle<(usize, usize)>>,
    ended: watch::Sender<Option<usize>>,
}

impl Fleet {
    async fn start(redis: &RedisServer) -> Self {
        let dir = Scratch::new("bus-key");
        let (ended, end) = watch::channel(None);
        let (mut sidecars, mut listeners) = (Vec::new(), Vec::new());
        for number in 0..LATE.len() {
            let file = dir.write(&number.to_string(), OLD);
            let settings = pod(redis, &format!("pod-{number}"));
            let settings = settings.env("HYPERPAGE_BUS_KEYS_FILE", file.to_str().unwrap());
            let sidecar = Sidecar::start(&settings).await;
            listeners.push(tokio::spawn(hear(listen(&sidecar).await, end.clone())));
            sidecars.push(sidecar);
        }
        Self { dir, sidecars, listeners, ended }
    }

    /// As a kubelet does when it next looks.
    async fn bring(&self, keys: &str, late: [u64; 3]) {
        let pods = late.iter().enumerate().map(|(number, late)| async move {
            sleep(Duration::from_millis(*late)).await;
            self.dir.write(&number.to_string(), keys);
        });
        futures::future::join_all(pods).await;
    }

    /// Each of these files takes the place of the one before after a wait.
    async fn rotate(&self, files: &[&[&str]], late: [u64; 3]) {
        for keys in files {
            let keys = keys.concat();
            tokio::join!(self.bring(&keys, late), sleep(WAIT));
        }
        sleep(WAIT).await;
    }

    /// Each pod in turn says something, for as long as the rotation lasts. Gives how much was said, what each heard,
    /// and how often it was told of something missing.
    async fn talk_while(self, files: &[&[&str]], late: [u64; 3]) -> (usize, Vec<(usize, usize)>, f64, f64) {
        let mut said = 0;
        let mut rotation = Box::pin(self.rotate(files, late));
        loop {
            tokio::select! {
                () = &mut rotation => break,
                () = sleep(BETWEEN) => {}
            }
            say(&self.sidecars[said % LATE.len()], json!(said)).await;
            said += 1;
        }
        drop(rotation);
        self.ended.send_replace(Some(said));
        let mut heard = Vec::new();
        for listener in self.listeners {
            heard.push(listener.await.unwrap());
        }
        let (mut rejected, mut unknown) = (0.0, 0.0);
        for sidecar in &self.sidecars {
            rejected += total(sidecar, "hyperpage_bus_rejected_total").await;
            let label = ["reason=\"unknown_key\""];
            unknown += values(sidecar, "hyperpage_bus_rejected_total", &label).await.iter().sum::<f64>();
        }
        for sidecar in self.sidecars {
            sidecar.stop().await;
        }
        (said, heard, rejected, unknown)
    }
}

/// Messages, and reports of what is missing, until there were as many as were said.
async fn hear(mut events: Events, end: watch::Receiver<Option<usize>>) -> (usize, usize) {
    let (mut messages, mut missing) = (0, 0);
    loop {
        let said = *end.borrow();
        if said.is_some_and(|said| messages + missing >= said) {
            return (messages, missing);
        }
        let within = if said.is_some() { RECOVERY } else { Duration::from_millis(100) };
        match events.next(within).await {
            Next::Event(event) if event.name == "message" => messages += 1,
            Next::Event(event) if ["gap", "resync"].contains(&event.name.as_str()) => missing += 1,
            Next::Nothing if said.is_some() => return (messages, missing),
            Next::Event(_) | Next::Place(_) | Next::Nothing => {}
            Next::End => panic!("the stream ended"),
        }
    }
}

#[tokio::test]
async fn a_key_that_is_replaced_in_three_steps_a_wait_apart_rejects_no_message() {
    let redis = RedisServer::start().await;
    let steps: [&[&str]; 3] = [&[OLD, NEW], &[NEW, OLD], &[NEW]];
    let (said, heard, rejected, _) = Fleet::start(&redis).await.talk_while(&steps, LATE).await;
    println!("{said} messages while the key was replaced: {heard:?} heard and missed, {rejected} rejected");
    assert!(said > 100, "{said}");
    assert_eq!((heard, rejected), (vec![(said, 0); LATE.len()], 0.0));
}

/// The count is not zero because nobody counts.
#[tokio::test]
async fn a_key_that_seals_before_all_pods_have_it_is_seen_to_be_rejected() {
    let redis = RedisServer::start().await;
    let hasty: [&[&str]; 1] = [&[NEW, OLD]];
    let (said, heard, rejected, unknown) = Fleet::start(&redis).await.talk_while(&hasty, FAR_APART).await;
    println!("{said} messages while the key was replaced in haste: {heard:?}, {rejected} rejected");
    assert!(unknown > 0.0 && rejected == unknown, "{unknown} of {rejected}");
    assert!(heard[2].1 > 0, "{heard:?}");
}
