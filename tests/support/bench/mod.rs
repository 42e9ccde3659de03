//! What the benches share: the servers that are measured, who asks them, and how figures are told.

mod effort;
mod figures;
mod talk;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
pub use effort::{Effort, Pacing};
pub use figures::{Target, Words, at, judged, line, median, show, words};
pub use talk::{Peer, Talk};

use crate::binaries::{on_path, output, workspace};
use crate::eventually::eventually;
use crate::http::{Http, Request};
use crate::leash::Leash;
use crate::redis::{RedisServer, free_port};
use crate::scratch::Scratch;

const UP: Duration = Duration::from_secs(30);

pub struct Server {
    pub process: Leash,
    pub address: SocketAddr,
    /// Of the sidecar alone.
    pub admin: Option<SocketAddr>,
}

/// Programs and folders that servers are started from.
pub struct Yard {
    dir: Scratch,
    bin: PathBuf,
}

impl Yard {
    /// `bin` holds `hyperpage-sidecar`, and what else is asked for in `examples`.
    pub fn new(bin: &Path) -> Result<Yard> {
        let bin = bin.canonicalize().with_context(|| format!("{} is no folder", bin.display()))?;
        Ok(Yard { dir: Scratch::new("bench"), bin })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn binary(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// The log is called `name`.
    pub fn start(&self, name: &str, program: &Path, args: &[&str], env: &[(&str, &str)]) -> Result<Leash> {
        Leash::start(self.dir.path(), name, program, args, env)
    }

    /// A pod's settings as the operator makes them, with a key to seal messages; but an app may say what it wants.
    pub fn pod(&self, name: &str) -> Result<[(&'static str, String); 4]> {
        let keys = self.path("bus-keys");
        std::fs::write(&keys, "k1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n")?;
        Ok([
            ("POD_NAME", name.to_owned()),
            ("HYPERPAGE_BUS_KEYS_FILE", keys.display().to_string()),
            ("COORD_HIGH_PRIORITY_THRESHOLD", "0".to_owned()),
            ("COORD_NORMAL_PRIORITY_THRESHOLD", "0".to_owned()),
        ])
    }

    /// Started, and not waited for.
    pub fn spawn_sidecar(&self, redis: &RedisServer, env: &[(&str, &str)]) -> Result<Server> {
        let (address, admin) = (local(free_port()), local(free_port()));
        let (listen, admin_listen) = (address.to_string(), admin.to_string());
        let url = redis.url();
        let args = ["--listen", &listen, "--admin-listen", &admin_listen, "--redis-url", &url];
        let process = self.start("sidecar", &self.binary("hyperpage-sidecar"), &args, env)?;
        Ok(Server { process, address, admin: Some(admin) })
    }

    pub async fn sidecar(&self, redis: &RedisServer, env: &[(&str, &str)]) -> Result<Server> {
        let server = self.spawn_sidecar(redis, env)?;
        let admin = Http::new(server.admin.context("a sidecar has an admin port")?);
        eventually("the sidecar starts", UP, async || match started(&admin).await {
            true => Ok(()),
            false => Err(server.process.tail(5)),
        })
        .await;
        Ok(server)
    }

    /// The least that axum and redis-rs can do for a session.
    pub fn floor(&self, redis: &RedisServer) -> Result<Server> {
        let address = local(free_port());
        let (listen, url) = (address.to_string(), redis.url());
        let process = self.start("floor", &self.binary("examples/floor"), &[&listen, &url], &[])?;
        Ok(Server { process, address, admin: None })
    }

    /// A server of `tests/benches/node`.
    pub fn node(&self, name: &str, args: &[&str]) -> Result<Server> {
        let address = local(free_port());
        let (script, port) = (script(name), address.port().to_string());
        let args = [&[script.as_str(), &port], args].concat();
        Ok(Server { process: self.start(name, &program("node")?, &args, &[])?, address, admin: None })
    }

    /// Of the requests in the file, by `load`.
    pub fn load(&self, server: &Server, requests: &Path, pacing: &Pacing) -> Result<Words> {
        let mut command = Command::new(self.binary("examples/load"));
        command.arg(server.address.to_string()).arg(requests).args(pacing.args());
        command.args(["--watch", &server.process.pid().to_string()]);
        words(&output(&mut command)?)
    }
}

fn script(name: &str) -> String {
    workspace().join(format!("tests/benches/node/{name}.js")).display().to_string()
}

/// Its port is open.
pub async fn listening(server: &Server) {
    eventually("the server listens", UP, async || {
        tokio::net::TcpStream::connect(server.address).await.map_err(|error| (error, server.process.tail(5)))
    })
    .await;
}

pub async fn started(admin: &Http) -> bool {
    admin.try_send(Request::new("GET", "/startupz")).await.is_ok_and(|answer| answer.status == 200)
}

pub fn local(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

pub fn program(name: &str) -> Result<PathBuf> {
    on_path(name).with_context(|| format!("{name} is not on the PATH"))
}

/// Where it is measured, and with which sidecar and Redis.
pub fn describe(sidecar: &Path) -> Result<()> {
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let (cpu, load) = (file("/proc/cpuinfo"), file("/proc/loadavg"));
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let cores = std::thread::available_parallelism()?;
    println!("{cores} cores{model}, load {} before", load.split(' ').next().unwrap_or_default());
    println!("{}, {}", version(sidecar)?, version(&program("redis-server")?)?);
    Ok(())
}

/// The first line of what it says to `--version`.
pub fn version(program: &Path) -> Result<String> {
    let said = output(Command::new(program).arg("--version"))?;
    Ok(said.lines().next().unwrap_or_default().to_owned())
}
