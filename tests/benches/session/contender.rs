//! What is compared: each a process of its own before the same Redis, with as many sessions of the same bytes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::binaries::{on_path, workspace};
use tests::eventually::eventually;
use tests::http::Http;
use tests::leash::Leash;
use tests::redis::{RedisServer, free_port};
use tests::scratch::Scratch;

use crate::Settings;

const UP: Duration = Duration::from_secs(30);

pub(crate) struct Server {
    pub(crate) process: Leash,
    pub(crate) address: SocketAddr,
    /// Of the sidecar alone.
    pub(crate) admin: Option<SocketAddr>,
}

/// Where the sidecar keeps what was read lately.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Cache {
    On,
    Off,
}

/// Programs and folders that servers are started from.
pub(crate) struct Yard {
    dir: Scratch,
    bin: PathBuf,
}

impl Yard {
    pub(crate) fn new(settings: &Settings) -> Result<Yard> {
        let bin = settings.bin.canonicalize().context("no such folder")?;
        Ok(Yard { dir: Scratch::new("bench"), bin })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Started, and not waited for.
    pub(crate) fn spawn_sidecar(&self, redis: &RedisServer, cache: Cache) -> Result<Server> {
        let (address, admin) = (local(free_port()), local(free_port()));
        let (listen, admin_listen) = (address.to_string(), admin.to_string());
        let url = redis.url();
        let args = ["--listen", &listen, "--admin-listen", &admin_listen, "--redis-url", &url];
        let env: &[(&str, &str)] = match cache {
            Cache::On => &[],
            Cache::Off => &[("SESSION_L1_BYTES", "0")],
        };
        let process =
            Leash::start(self.dir.path(), "sidecar", &self.bin.join("hyperpage-sidecar"), args, env)?;
        Ok(Server { process, address, admin: Some(admin) })
    }

    pub(crate) async fn sidecar(&self, redis: &RedisServer, cache: Cache) -> Result<Server> {
        let server = self.spawn_sidecar(redis, cache)?;
        let admin = Http::new(server.admin.context("a sidecar has an admin port")?);
        eventually("the sidecar starts", UP, async || match started(&admin).await {
            true => Ok(()),
            false => Err(server.process.tail(5)),
        })
        .await;
        Ok(server)
    }

    fn floor(&self, redis: &RedisServer) -> Result<Server> {
        let address = local(free_port());
        let args = [address.to_string(), redis.url()];
        let process = Leash::start(self.dir.path(), "floor", &self.bin.join("examples/floor"), args, &[])?;
        Ok(Server { process, address, admin: None })
    }

    /// `file` gets the cookies of the sessions that it makes.
    pub(crate) fn express(&self, redis: &RedisServer, file: &Path, sessions: usize) -> Result<Server> {
        let cookies = file.display().to_string();
        self.node("express", &[&redis.url(), &cookies, &sessions.to_string()])
    }

    fn node(&self, name: &str, args: &[&str]) -> Result<Server> {
        let address = local(free_port());
        let script = workspace().join(format!("tests/benches/node/{name}.js")).display().to_string();
        let port = address.port().to_string();
        let args = [&[script.as_str(), &port], args].concat();
        let process = Leash::start(self.dir.path(), name, &program("node")?, args, &[])?;
        Ok(Server { process, address, admin: None })
    }

    fn daprd(&self, daprd: &Path, redis: &RedisServer) -> Result<Server> {
        let host = redis.url().replace("redis://", "");
        let component = format!(
            "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: store}}\nspec:\n  type: state.redis\n  version: v1\n  \
             metadata:\n  - {{name: redisHost, value: \"{host}\"}}\n  - {{name: keyPrefix, value: none}}\n"
        );
        let folder = self.path("components");
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
        let process = Leash::start(self.dir.path(), "daprd", daprd, args, &[])?;
        Ok(Server { process, address, admin: None })
    }
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
        let yard = Yard::new(settings)?;
        let (cached, uncached) =
            (yard.sidecar(redis, Cache::On).await?, yard.sidecar(redis, Cache::Off).await?);
        let floor = yard.floor(redis)?;
        let bare = yard.node("bare", &[&redis.url()])?;
        let file = yard.path("cookies");
        let express = yard.express(redis, &file, settings.sessions)?;
        let daprd = settings.daprd.as_deref().map(|daprd| yard.daprd(daprd, redis)).transpose()?;
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

/// Its port is open.
pub(crate) async fn listening(server: &Server) {
    eventually("the server listens", UP, async || {
        tokio::net::TcpStream::connect(server.address).await.map_err(|error| (error, server.process.tail(5)))
    })
    .await;
}

pub(crate) async fn started(admin: &Http) -> bool {
    admin
        .try_send(tests::http::Request::new("GET", "/startupz"))
        .await
        .is_ok_and(|answer| answer.status == 200)
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

fn local(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

pub(crate) fn program(name: &str) -> Result<PathBuf> {
    on_path(name).with_context(|| format!("{name} is not on the PATH"))
}
