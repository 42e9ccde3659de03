//! Redis killed under load and started again from its disk, which keeps every write: what clients see, and what is
//! lost or comes back from the dead.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;
use tests::bench::{Yard, listening};
use tests::http::{Answer, Http, Request};
use tests::progress::progress;
use tests::random::Random;
use tests::redis::RedisServer;

use crate::Settings;
use crate::contender::{Cache, express, lines, seed};

const WORKERS: usize = 8;
const EACH: usize = 8;
/// Of a worker, between two requests.
const PAUSE: Duration = Duration::from_millis(25);
const BEFORE: Duration = Duration::from_secs(2);
const AFTER: Duration = Duration::from_secs(8);

pub(crate) struct Outage {
    pub(crate) name: &'static str,
    pub(crate) seconds: u64,
    /// How often each ending was seen, from before the outage until well after it.
    pub(crate) endings: BTreeMap<&'static str, usize>,
    pub(crate) acknowledged: usize,
    pub(crate) lost: usize,
    pub(crate) deleted: usize,
    pub(crate) resurrected: usize,
    /// Until the last answer that was not what it should be, since Redis was back.
    pub(crate) clean: Duration,
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Ours,
    Express,
}

pub(crate) async fn measure(settings: &Settings) -> Result<Vec<Outage>> {
    let mut outages = Vec::new();
    for seconds in &settings.outages {
        progress(&format!("Redis gone for {seconds} s"));
        let (ours, theirs) =
            tokio::join!(suffer(settings, Side::Ours, *seconds), suffer(settings, Side::Express, *seconds));
        outages.extend([ours?, theirs?]);
    }
    Ok(outages)
}

async fn suffer(settings: &Settings, side: Side, seconds: u64) -> Result<Outage> {
    let mut redis =
        RedisServer::with(&["--save", "", "--appendonly", "yes", "--appendfsync", "always"]).await;
    let yard = Yard::new(&settings.effort.bin)?;
    let (server, sessions) = match side {
        Side::Ours => {
            let server = yard.sidecar(&redis, Cache::On.env()).await?;
            let ids = seed(&server, WORKERS * EACH, &json!({})).await?;
            (server, ids)
        }
        Side::Express => {
            let file = yard.path("cookies");
            let server = express(&yard, &redis, &file, WORKERS * EACH)?;
            listening(&server).await;
            (server, lines(&file)?)
        }
    };
    let start = Instant::now();
    let end = start + BEFORE + Duration::from_secs(seconds) + AFTER;
    let workers = sessions.chunks(EACH).zip(1..).map(|(own, seed)| Worker {
        side,
        http: Http::new(server.address),
        own: own.to_vec(),
        random: Random::new(seed),
        seen: Seen::default(),
    });
    let gone = async {
        tokio::time::sleep(BEFORE).await;
        redis.kill();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        redis.run().await;
        Instant::now()
    };
    let (back, seen) = tokio::join!(gone, futures::future::join_all(workers.map(|worker| worker.work(end))));
    let mut sum = Seen::default();
    for one in seen {
        sum.add(one);
    }
    let (lost, resurrected) = sum.count(side, &Http::new(server.address)).await?;
    Ok(Outage {
        name: if side == Side::Ours { "ours" } else { "express-session" },
        seconds,
        endings: sum.endings,
        acknowledged: sum.written.len(),
        lost,
        deleted: sum.deleted.len(),
        resurrected,
        clean: sum.last_bad.map_or(Duration::ZERO, |last| last.saturating_duration_since(back)),
    })
}

#[derive(Default)]
struct Seen {
    endings: BTreeMap<&'static str, usize>,
    /// Sessions and the members acknowledged in them.
    written: Vec<(String, String)>,
    deleted: HashSet<String>,
    /// A delete was sent, and what became of it is not known.
    doubtful: HashSet<String>,
    last_bad: Option<Instant>,
}

struct Worker {
    side: Side,
    http: Http,
    own: Vec<String>,
    random: Random,
    seen: Seen,
}

impl Worker {
    async fn work(mut self, end: Instant) -> Seen {
        for turn in 0.. {
            if Instant::now() > end {
                break;
            }
            let due = Instant::now() + PAUSE;
            let session = self.random.choose(&self.own).clone();
            match self.random.below(100) {
                0..60 => {
                    self.ask(request(self.side, "GET", &session, None)).await;
                }
                60..99 => {
                    let member = format!("m{turn}");
                    if self.ask(request(self.side, "PATCH", &session, Some(&member))).await == Some(true) {
                        self.seen.written.push((session, member));
                    }
                }
                _ if self.own.len() > 2 => {
                    self.own.retain(|own| *own != session);
                    let gone = self.ask(request(self.side, "DELETE", &session, None)).await;
                    let known = gone == Some(true);
                    if known {
                        self.seen.deleted.insert(session)
                    } else {
                        self.seen.doubtful.insert(session)
                    };
                }
                _ => {}
            }
            tokio::time::sleep_until(due.into()).await;
        }
        self.seen
    }

    /// Whether it was done, if that is known.
    async fn ask(&mut self, request: Request) -> Option<bool> {
        let read = request.method == "GET";
        let answer = tokio::time::timeout(Duration::from_secs(5), self.http.try_send(request)).await;
        let (ending, done) = match answer {
            Ok(Ok(answer)) => ending(&answer, read),
            Ok(Err(_)) => ("connection lost", None),
            Err(_) => ("no answer in 5 s", None),
        };
        *self.seen.endings.entry(ending).or_default() += 1;
        if !matches!(ending, "ok" | "ok, stale" | "202 journaled") {
            self.seen.last_bad = Some(Instant::now());
        }
        done
    }
}

fn ending(answer: &Answer, read: bool) -> (&'static str, Option<bool>) {
    let whole = !read || answer.body.contains("\"preferences\"");
    match answer.status {
        202 => ("202 journaled", Some(true)),
        200..300 if answer.header("x-hyperpage-stale-ms").is_some() => ("ok, stale", Some(true)),
        200..300 if whole => ("ok", Some(true)),
        // A session that the store does not find is a new one there, without a word.
        200..300 | 401 | 404 => ("logged out", Some(false)),
        503 if answer.code() == "OUTCOME_UNKNOWN" => ("503 outcome unknown", None),
        503 => ("503 unavailable", Some(false)),
        500..600 => ("500", None),
        _ => ("other", Some(false)),
    }
}

fn request(side: Side, method: &str, session: &str, member: Option<&str>) -> Request {
    let request = match side {
        Side::Ours => Request::new(method, format!("/v1/sessions/{session}")),
        Side::Express => Request::new(method, "/session").header("cookie", session),
    };
    match (member, side) {
        (None, _) => request,
        (Some(member), Side::Ours) => request
            .header("content-type", "application/merge-patch+json")
            .body(json!({ "uiState": { member: 1 } }).to_string()),
        (Some(member), Side::Express) => request.json(json!({ "uiState": { member: 1 } })),
    }
}

impl Seen {
    fn add(&mut self, other: Seen) {
        let Seen { endings, written, deleted, doubtful, last_bad } = other;
        for (ending, count) in endings {
            *self.endings.entry(ending).or_default() += count;
        }
        self.written.extend(written);
        self.deleted.extend(deleted);
        self.doubtful.extend(doubtful);
        self.last_bad = self.last_bad.max(last_bad);
    }

    /// Acknowledged writes that are not there, and deleted sessions that are.
    async fn count(&self, side: Side, http: &Http) -> Result<(usize, usize)> {
        let mut lost = 0;
        let living =
            |session: &&String| !self.deleted.contains(*session) && !self.doubtful.contains(*session);
        let sessions: HashSet<&String> =
            self.written.iter().map(|(session, _)| session).filter(living).collect();
        for session in sessions {
            let answer = http.try_send(request(side, "GET", session, None)).await?.body;
            let own = self.written.iter().filter(|(of, _)| of == session);
            lost += own.filter(|(_, member)| !answer.contains(&format!("\"{member}\":1"))).count();
        }
        let mut resurrected = 0;
        for session in &self.deleted {
            let answer = http.try_send(request(side, "GET", session, None)).await?;
            resurrected += usize::from(answer.body.contains("\"preferences\""));
        }
        Ok((lost, resurrected))
    }
}
