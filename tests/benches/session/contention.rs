//! Eight writers of one session over two pods. Each adds members of its own; one that was acknowledged and is not there
//! in the end is a lost update.

use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::json;
use tests::bench::{Server, Yard, listening};
use tests::http::{Http, Request};
use tests::progress::progress;
use tests::redis::RedisServer;

use crate::Settings;
use crate::contender::{Cache, express, lines, seed};

const WRITERS: usize = 8;

pub(crate) struct Contention {
    pub(crate) name: &'static str,
    pub(crate) acknowledged: usize,
    pub(crate) refused: usize,
    pub(crate) lost: usize,
    /// Compare-and-sets repeated over another writer's bytes, where there is such a thing.
    pub(crate) retries: Option<u64>,
}

pub(crate) async fn measure(settings: &Settings, redis: &RedisServer) -> Result<Vec<Contention>> {
    progress("eight writers of one session");
    let yard = Yard::new(&settings.effort.bin)?;
    let pods = [yard.sidecar(redis, Cache::On.env()).await?, yard.sidecar(redis, Cache::On.env()).await?];
    let id = seed(&pods[0], 1, &json!({})).await?.remove(0);
    let path = format!("/v1/sessions/{id}");
    let header = ("content-type", "application/merge-patch+json".to_owned());
    let mut ours = writers(settings, "ours", &pods, &path, &header).await?;
    let mut retries = 0;
    for pod in &pods {
        retries += counter(pod, "sessions_conflicts_total").await?;
    }
    ours.retries = Some(retries);

    let file = yard.path("one-cookie");
    let apps = [express(&yard, redis, &file, 1)?, express(&yard, redis, &file, 1)?];
    for app in &apps {
        listening(app).await;
    }
    let cookie = lines(&file)?.remove(0);
    let theirs = writers(settings, "express-session", &apps, "/session", &("cookie", cookie)).await?;
    Ok(vec![ours, theirs])
}

async fn writers(
    settings: &Settings,
    name: &'static str,
    servers: &[Server],
    path: &str,
    header: &(&str, String),
) -> Result<Contention> {
    let end = Instant::now() + settings.each();
    let writer = async |number: usize| {
        let http = Http::new(servers[number % servers.len()].address);
        let (mut acknowledged, mut refused) = (Vec::new(), 0);
        for turn in 0.. {
            if Instant::now() > end || turn == 400 {
                break;
            }
            let member = format!("w{number}-{turn}");
            let request = Request::new("PATCH", path).header("content-type", "application/json");
            let mut request = request.body(json!({ "uiState": { &member: 1 } }).to_string());
            request.headers.retain(|(name, _)| name != header.0);
            let answer = http.try_send(request.header(header.0, &header.1)).await;
            if answer.is_ok_and(|answer| answer.status == 200) {
                acknowledged.push(member)
            } else {
                refused += 1
            }
        }
        (acknowledged, refused)
    };
    let written = futures::future::join_all((0..WRITERS).map(writer)).await;
    let request = Request::new("GET", path).header(header.0, &header.1).header("cache-control", "no-cache");
    let session = Http::new(servers[0].address).try_send(request).await?.json();
    let there = |member: &&String| session["uiState"][member.as_str()] == 1;
    let acknowledged: Vec<String> =
        written.iter().flat_map(|(acknowledged, _)| acknowledged.clone()).collect();
    let kept = acknowledged.iter().filter(there).count();
    Ok(Contention {
        name,
        acknowledged: acknowledged.len(),
        refused: written.iter().map(|(_, refused)| refused).sum(),
        lost: acknowledged.len() - kept,
        retries: None,
    })
}

async fn counter(sidecar: &Server, name: &str) -> Result<u64> {
    let text = Http::new(sidecar.admin.context("a sidecar")?).get("/metrics").await.expect(200).body;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).context("no such metric")?;
    Ok(line.trim().parse()?)
}
