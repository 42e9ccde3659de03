//! The sidecar as a process of its own.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::binaries::ours;
use crate::eventually::eventually;
use crate::http::Http;
use crate::leash::Leash;
use crate::process;
use crate::redis::{MASTER_NAME, RedisCluster, Sentinels};
use crate::scratch::Scratch;

const START: Duration = Duration::from_secs(20);
/// Its own deadline for requests in flight, and some.
const STOP: Duration = Duration::from_secs(20);

/// Arguments and environment; nothing is inherited but PATH.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Another than the product.
    program: Option<PathBuf>,
    args: Vec<String>,
    env: Vec<(String, String)>,
}

impl Settings {
    /// Both ports of its own choice, and Redis there. A new Redis says at once that a session does not exist.
    pub fn redis(url: impl Into<String>) -> Settings {
        Settings::bare().env("REDIS_URL", url)
    }

    pub fn cluster(cluster: &RedisCluster) -> Settings {
        Settings::redis(cluster.urls()).env("HYPERPAGE_REDIS_MODE", "cluster")
    }

    pub fn sentinels(group: &Sentinels) -> Settings {
        let url = format!("{}/{MASTER_NAME}", group.urls());
        Settings::redis(url).env("HYPERPAGE_REDIS_MODE", "sentinel")
    }

    pub fn bare() -> Settings {
        Settings::default()
            .arg("--listen")
            .arg("127.0.0.1:0")
            .arg("--admin-listen")
            .arg("127.0.0.1:0")
            .env("HYPERPAGE_REPAIR_WINDOW_MS", "0")
    }

    /// A program of our own that takes the same settings.
    pub fn program(mut self, program: &str) -> Settings {
        self.program = Some(program.into());
        self
    }

    pub fn arg(mut self, arg: impl Into<String>) -> Settings {
        self.args.push(arg.into());
        self
    }

    pub fn env(mut self, name: &str, value: impl Into<String>) -> Settings {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.into()));
        self
    }

    fn spawn(&self, dir: &Scratch) -> Leash {
        let program = self.program.clone().unwrap_or_else(|| ours("hyperpage-sidecar"));
        assert!(program.is_file(), "{} is missing: cargo build --bins", program.display());
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut args = vec![OsString::from("-i"), OsString::from("PATH=")];
        args[1].push(path);
        args.extend(self.env.iter().map(|(name, value)| format!("{name}={value}").into()));
        args.push(program.into());
        args.extend(self.args.iter().map(OsString::from));
        // env(1) replaces itself by the sidecar, so the pid is the sidecar's.
        let leash = Leash::start(dir.path(), "sidecar", Path::new("/usr/bin/env"), args, &[]);
        leash.expect("the sidecar starts")
    }

    /// Runs it to its end: the exit code and all it printed.
    pub async fn run(&self) -> (i32, String) {
        let dir = Scratch::new("sidecar");
        let process = self.spawn(&dir);
        let code = process.exited(STOP).await.expect("it ends by itself");
        (code, process.log())
    }
}

pub struct Sidecar {
    process: Leash,
    _dir: Scratch,
    pub app: Http,
    pub admin: Http,
    pub app_address: SocketAddr,
    pub admin_address: SocketAddr,
}

impl Sidecar {
    /// Runs it and waits for its ports; Redis may be there or not.
    pub async fn spawn(settings: &Settings) -> Sidecar {
        let dir = Scratch::new("sidecar");
        let process = settings.spawn(&dir);
        let (app_address, admin_address) = eventually("the sidecar binds", START, async || {
            process.alive().expect("the sidecar runs");
            let log = process.log();
            bound(&log, "listen").zip(bound(&log, "admin_listen")).ok_or(log)
        })
        .await;
        let (app, admin) = (Http::new(app_address).described(), Http::new(admin_address));
        Sidecar { process, _dir: dir, app, admin, app_address, admin_address }
    }

    /// `spawn`, and Redis is connected.
    pub async fn start(settings: &Settings) -> Sidecar {
        let sidecar = Sidecar::spawn(settings).await;
        sidecar.serving(START).await;
        sidecar
    }

    /// Waits until a session that does not exist is reported so: Redis answers, and nothing was created.
    pub async fn serving(&self, deadline: Duration) {
        eventually("the sidecar serves", deadline, async || {
            let answer = self.app.get("/v1/sessions/no-such-session").await;
            if answer.status == 404 { Ok(()) } else { Err(answer) }
        })
        .await;
    }

    pub fn logs(&self) -> String {
        self.process.log()
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Memory that it holds now.
    pub fn rss_bytes(&self) -> u64 {
        let memory = process::memory(self.pid()).expect("it runs");
        (memory.rss * 1024.0 * 1024.0) as u64
    }

    pub fn terminate(&self) {
        self.process.signal("TERM").expect("the sidecar runs");
    }

    /// SIGKILL: nothing is finished, nothing handed over.
    pub fn kill(&self) {
        self.process.signal("KILL").expect("the sidecar runs");
    }

    /// SIGSTOP: its ports still accept, nothing answers.
    pub fn pause(&self) {
        self.process.pause().expect("the sidecar runs");
    }

    pub fn resume(&self) {
        self.process.signal("CONT").expect("the sidecar is there");
    }

    pub async fn exit(&self, within: Duration) -> i32 {
        self.process.exited(within).await.expect("it ends by itself")
    }

    /// SIGTERM, exit code 0, and never a panic in all it said.
    pub async fn stop(self) {
        self.assert_sound();
        self.terminate();
        assert_eq!(self.exit(STOP).await, 0, "{}", self.logs());
        self.assert_no_panic();
    }

    /// Alive, and without a panic so far.
    pub fn assert_sound(&self) {
        self.process.alive().expect("the sidecar lives");
        self.assert_no_panic();
    }

    pub fn assert_no_panic(&self) {
        let logs = self.logs();
        assert!(!logs.contains("panicked at"), "{logs}");
    }
}

/// The address that the log's first line with this field names, be the lines JSON or, with `--dev`, for people.
fn bound(log: &str, field: &str) -> Option<SocketAddr> {
    log.lines().find_map(|line| match serde_json::from_str::<Value>(line) {
        Ok(line) => line.get(field).or_else(|| line.get("fields")?.get(field))?.as_str()?.parse().ok(),
        Err(_) => {
            let words = line.split(' ').filter_map(|word| word.split_once('='));
            words.filter(|(name, _)| *name == field).find_map(|(_, value)| value.parse().ok())
        }
    })
}
