//! What is compared: each a process of its own before the same Redis, with as many sessions of the same bytes.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::bench::{Server, Yard, listening, local};
use tests::eventually::eventually;
use tests::http::Http;
use tests::redis::{RedisServer, free_port};

use crate::Settings;

const UP: Duration = Duration::from_secs(30);

/// Where the sidecar keeps what was read lately.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Cache {
    On,
    Off,
}

impl Cache {
    pub(crate) fn env(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Cache::On => &[],
            Cache::Off => &[("SESSION_L1_BYTES", "0")],
        }
    }
}

/// `file` gets the cookies of the sessions that it makes.
pub(crate) fn express(yard: &Yard, redis: &RedisServer, file: &Path, sessions: usize) -> Result<Server> {
    let cookies = file.display().to_string();
    yard.node("express", &[&redis.url(), &cookies, &sessions.to_string()])
}

fn daprd(yard: &Yard, daprd: &Path, redis: &RedisServer) -> Result<Server> {
    let host = redis.url().replace("redis://", "");
    let component = format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: store}}\nspec:\n  type: state.redis\n  version: v1\n  \
             metadata:\n  - {{name: redisHost, value: \"{host}\"}}\n  - {{name: keyPrefix, value: none}}\n"
    );
    let folder = yard.path("components");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("store.yaml"), component)?;
    let address = local(free_port());
    let (port, grpc, metrics) =
        (address.port().to_string(), free_port().to_string(), free_port().to_string());
    let folder = folder.display().to_string();
    let args = [
        "--app-id",
        "bench",
        "--dapr-http-port",
        &port,
        "--dapr-grpc-port",
        &grpc,
        "--metrics-port",
        &metrics,
        "--resources-path",
        &folder,
    ];
    let process = yard.start("daprd", daprd, &args, &[])?;
    Ok(Server { process, address, admin: None })
}

/// All servers of the comparison of speed, and what is asked of them.
pub(crate) struct Field {
    pub(crate) yard: Yard,
    pub(crate) cached: Server,
    pub(crate) uncached: Server,
    pub(crate) floor: Server,
    pub(crate) bare: Server,
    pub(crate) express: Server,
    pub(crate) daprd: Option<Server>,
    pub(crate) ids: Vec<String>,
    pub(crate) cookies: Vec<String>,
}

impl Field {
    pub(crate) async fn start(settings: &Settings, redis: &RedisServer) -> Result<Field> {
        let yard = Yard::new(&settings.effort.bin)?;
        let (cached, uncached) =
            (yard.sidecar(redis, Cache::On.env()).await?, yard.sidecar(redis, Cache::Off.env()).await?);
        let floor = yard.floor(redis)?;
        let bare = yard.node("bare", &[&redis.url()])?;
        let file = yard.path("cookies");
        let express = express(&yard, redis, &file, settings.sessions)?;
        let daprd = settings.daprd.as_deref().map(|daprd| self::daprd(&yard, daprd, redis)).transpose()?;
        for server in [&floor, &bare, &express].into_iter().chain(&daprd) {
            listening(server).await;
        }
        let document = document(&express).await?;
        let ids = seed(&cached, settings.sessions, &document).await?;
        if let Some(daprd) = &daprd {
            seed_daprd(daprd, &ids, &document).await?;
        }
        Ok(Field { cookies: lines(&file)?, yard, cached, uncached, floor, bare, express, daprd, ids })
    }
}

pub(crate) fn lines(file: &Path) -> Result<Vec<String>> {
    Ok(std::fs::read_to_string(file)?.lines().map(str::to_owned).collect())
}

/// The session that everybody stores, as the express app makes it.
async fn document(express: &Server) -> Result<Value> {
    Ok(Http::new(express.address).get("/document").await.expect(200).json())
}

/// New sessions with these fields; their ids.
pub(crate) async fn seed(sidecar: &Server, count: usize, fields: &Value) -> Result<Vec<String>> {
    let http = Http::new(sidecar.address);
    let mut ids = Vec::with_capacity(count);
    while ids.len() < count {
        let batch = (ids.len()..count.min(ids.len() + 64)).map(|_| http.post("/v1/sessions", fields));
        for answer in futures::future::join_all(batch).await {
            ensure!(answer.status == 201, "a session was not made: {answer:?}");
            let location = answer.header("location").context("no Location")?;
            ids.push(location.rsplit('/').next().unwrap_or_default().to_owned());
        }
    }
    Ok(ids)
}

async fn seed_daprd(daprd: &Server, ids: &[String], document: &Value) -> Result<()> {
    let http = Http::new(daprd.address);
    eventually("daprd is healthy", UP, async || {
        let answer = http.get("/v1.0/healthz").await;
        if answer.status == 204 { Ok(()) } else { Err(answer) }
    })
    .await;
    for ids in ids.chunks(100) {
        let items: Vec<Value> = ids
            .iter()
            .map(|id| serde_json::json!({ "key": format!("dapr-{id}"), "value": document }))
            .collect();
        http.post("/v1.0/state/store", Value::from(items)).await.expect_success();
    }
    Ok(())
}
