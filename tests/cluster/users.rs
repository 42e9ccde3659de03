//! Users whose sessions are read and written while Redis goes and comes back, and what becomes of each request.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::holders::Holders;

const PACE: Duration = Duration::from_millis(150);
/// From the end of the load until every pod shows every change.
const SHOWN: Duration = Duration::from_secs(5);

/// When Redis was let come back, and when it was there.
#[derive(Debug, Default)]
pub(crate) struct Times {
    pub(crate) back: OnceLock<Instant>,
    pub(crate) ready: OnceLock<Instant>,
}

/// How often each kind of answer came.
type Endings = BTreeMap<String, usize>;

/// What the users met.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) reads: Endings,
    pub(crate) writes: Endings,
    pub(crate) acknowledged: usize,
    /// Reads marked stale, through a pod that holds the session.
    pub(crate) held: usize,
    /// Reads refused by a pod that does not.
    pub(crate) unheld: usize,
    /// Reads refused by a pod that holds the session: there must be none.
    pub(crate) broken: Vec<String>,
    /// After Redis was there, until each user's first read that is not stale.
    pub(crate) recovered: Vec<Duration>,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Tally) {
        let Tally { reads, writes, acknowledged, held, unheld, broken, recovered } = other;
        for (sum, more) in [(&mut self.reads, reads), (&mut self.writes, writes)] {
            more.into_iter().for_each(|(ending, count)| *sum.entry(ending).or_default() += count);
        }
        self.acknowledged += acknowledged;
        self.held += held;
        self.unheld += unheld;
        self.broken.extend(broken);
        self.recovered.extend(recovered);
    }

    fn read(&mut self, read: &Answer, holds: bool, what: impl FnOnce() -> String) {
        match (holds, read.status) {
            (true, 503) => self.broken.push(what()),
            (true, 200) => self.held += usize::from(read.stale),
            (false, 503) => self.unheld += 1,
            _ => {}
        }
        *self.reads.entry(read.ending()).or_default() += 1;
    }
}

#[derive(Debug)]
struct Answer {
    /// 0 where there was none.
    status: u16,
    stale: bool,
    /// Of an error.
    code: String,
    body: Value,
    asked: Instant,
}

impl Answer {
    fn ending(&self) -> String {
        let stale = if self.stale { " stale" } else { "" };
        let code = if self.code.is_empty() { String::new() } else { format!(" {}", self.code) };
        format!("{}{stale}{code}", self.status)
    }

    fn is_fresh(&self) -> bool {
        self.status == 200 && !self.stale
    }
}

/// What held a change when it was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    Redis,
    Journal,
}

pub(crate) struct User {
    http: reqwest::Client,
    pods: Vec<String>,
    /// The pod that the session stays with; None: it goes to each in turn.
    home: Option<usize>,
    id: String,
    /// Members that were written, and whether Redis had them, or a pod for Redis.
    acknowledged: Vec<(String, Kept)>,
    holders: Holders,
    times: Arc<Times>,
    tally: Tally,
}

impl User {
    pub(crate) async fn new(pods: &[String], home: Option<usize>, times: &Arc<Times>) -> User {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy().build().unwrap();
        let created = http.get(format!("{}/api/sessions", pods[0])).send().await.unwrap();
        let created: Value = created.json().await.unwrap();
        let id = created["sessionId"].as_str().expect("a session").to_owned();
        User {
            http,
            pods: pods.to_vec(),
            home,
            id,
            acknowledged: Vec::new(),
            holders: Holders::new(pods.len()),
            times: times.clone(),
            tally: Tally::default(),
        }
    }

    /// A user with a pod of his own reads three times for each write. Who has none writes each time, and then reads
    /// where nobody has written for the longest time.
    pub(crate) async fn live(mut self, mut stop: watch::Receiver<bool>) -> User {
        let mut pace = tokio::time::interval(PACE);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for turn in 0.. {
            tokio::select! {
                _ = stop.changed() => break,
                _ = pace.tick() => {}
            }
            if self.home.is_none() || turn % 3 == 0 {
                self.write(self.home.unwrap_or(turn % self.pods.len()), turn).await;
            }
            self.read(self.home.unwrap_or((turn + 1) % self.pods.len())).await;
        }
        self.tally.acknowledged = self.acknowledged.len();
        self
    }

    async fn read(&mut self, pod: usize) {
        let holds = self.holders.holds(pod, self.times.back.get().is_some());
        let read = self.answer(self.http.get(self.url(pod))).await;
        let what = || format!("{read:?} of {} by pod {pod}: {:?}", self.id, self.holders);
        self.tally.read(&read, holds, what);
        if read.status == 200 {
            self.holders.told(pod, read.asked);
        }
        let ready = self.times.ready.get().filter(|ready| read.is_fresh() && **ready <= read.asked);
        if let (Some(ready), true) = (ready, self.tally.recovered.is_empty()) {
            self.tally.recovered.push(ready.elapsed());
        }
    }

    async fn write(&mut self, pod: usize, turn: usize) {
        let member = format!("op{turn}");
        let patch = json!({"toolConfigs": { &member: {"enabled": true} }});
        let write = self.answer(self.http.patch(self.url(pod)).json(&patch)).await;
        match write.status {
            200 => {
                self.acknowledged.push((member, Kept::Redis));
                self.holders.told(pod, write.asked);
            }
            202 => {
                self.acknowledged.push((member, Kept::Journal));
                self.holders.owes(pod);
            }
            _ => {}
        }
        if write.status != 202 {
            self.holders.wrote(pod, Instant::now());
        }
        *self.tally.writes.entry(write.ending()).or_default() += 1;
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Answer {
        let asked = Instant::now();
        let stale = |headers: &HeaderMap| headers.contains_key("x-hyperpage-stale-ms");
        match request.send().await {
            Ok(answer) => {
                let (status, stale) = (answer.status().as_u16(), stale(answer.headers()));
                let body: Value = answer.json().await.unwrap_or_default();
                let code = body["error"]["code"].as_str().unwrap_or_default().to_owned();
                Answer { status, stale, code, body, asked }
            }
            Err(error) => {
                Answer { status: 0, stale: false, code: format!("{error:?}"), body: Value::Null, asked }
            }
        }
    }

    fn url(&self, pod: usize) -> String {
        format!("{}/api/sessions?sessionId={}", self.pods[pod], self.id)
    }

    /// Whatever was acknowledged and is not shown by every pod in the end, and what all of it was met with.
    pub(crate) async fn end(self) -> (Vec<Kept>, Tally) {
        let deadline = Instant::now() + SHOWN;
        loop {
            let mut shown = Vec::new();
            for pod in 0..self.pods.len() {
                shown.push(self.answer(self.http.get(self.url(pod))).await.body);
            }
            let there =
                |member: &str| shown.iter().all(|it| it["session"]["toolConfigs"].get(member).is_some());
            let lost = self.acknowledged.iter().filter(|(member, _)| !there(member));
            let lost: Vec<Kept> = lost.map(|(_, kept)| *kept).collect();
            if lost.is_empty() || Instant::now() >= deadline {
                return (lost, self.tally);
            }
            tokio::time::sleep(PACE).await;
        }
    }
}

#[test]
fn a_holder_that_refuses_is_caught() {
    let read = |status| Answer {
        status,
        stale: status == 200,
        code: String::new(),
        body: Value::Null,
        asked: Instant::now(),
    };
    let mut tally = Tally::default();
    for (holds, status) in [(true, 200), (false, 503), (true, 503)] {
        tally.read(&read(status), holds, || format!("{holds} {status}"));
    }
    assert_eq!((tally.held, tally.unheld, &tally.broken[..]), (1, 1, &["true 503".to_owned()][..]));
}
