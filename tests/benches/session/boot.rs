//! From the start of the process to its first good answer.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tests::bench::{Yard, listening, started};
use tests::http::{Http, Request};
use tests::progress::progress;
use tests::redis::RedisServer;

use crate::Settings;
use crate::contender::{Cache, express};

const TIMES: usize = 5;

pub(crate) struct Boot {
    pub(crate) name: &'static str,
    /// The median.
    pub(crate) ms: f64,
}

pub(crate) async fn measure(settings: &Settings, redis: &RedisServer) -> Result<Vec<Boot>> {
    progress("from start to ready");
    let yard = Yard::new(&settings.effort.bin)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        let from = Instant::now();
        let server = yard.spawn_sidecar(redis, Cache::On.env())?;
        let admin = Http::new(server.admin.context("a sidecar")?);
        while !started(&admin).await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Http::new(server.address).get("/api/sessions").await.expect(200);
        ours.push(from.elapsed());

        let from = Instant::now();
        let server = express(&yard, redis, &yard.path("no-cookies"), 0)?;
        listening(&server).await;
        let answer = Http::new(server.address).try_send(Request::new("GET", "/session")).await?;
        answer.expect(200);
        theirs.push(from.elapsed());
    }
    let median = |mut times: Vec<Duration>| {
        times.sort();
        times[times.len() / 2].as_secs_f64() * 1000.0
    };
    Ok(vec![Boot { name: "ours", ms: median(ours) }, Boot { name: "express-session", ms: median(theirs) }])
}
