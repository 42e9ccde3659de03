//! `--dev` without a Redis URL: a private redis-server, so that a laptop needs one command.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, bail};
use tokio::process::{Child, Command};

use crate::redis::{Mode, Source, Url};

const MISSING: &str = "redis-server is not in PATH: install Redis 7.0 or later (apt-get install redis-server; \
     brew install redis), or give --redis-url";
/// Its standard input is a pipe from us: when we end, however that is, it ends Redis and removes the folder.
const WATCH: &str = r#"
dir=$1; shift
redis-server "$@" >/dev/null 2>&1 &
redis=$!
read -r _
kill -KILL "$redis"
wait "$redis" 2>/dev/null
rm -rf "$dir"
"#;

/// Ends when it is dropped, and also when this process is killed.
#[derive(Debug)]
pub struct PrivateRedis {
    watch: Child,
    dir: PathBuf,
}

impl PrivateRedis {
    pub async fn start() -> anyhow::Result<(PrivateRedis, Source)> {
        check().await?;
        let dir = new_dir().context("cannot make a folder for the private Redis")?;
        let socket = dir.join("redis.sock");
        let Some(path) = socket.to_str() else {
            bail!("the folder for temporary files has no readable name")
        };
        let mut command = Command::new("sh");
        command.args(["-c", WATCH, "hyperpage-dev-redis"]).arg(&dir);
        command.args(["--port", "0", "--unixsocket", path, "--unixsocketperm", "700", "--save", ""]);
        command.args(["--appendonly", "no", "--maxmemory-policy", "noeviction"]).arg("--dir").arg(&dir);
        // A group of its own: Ctrl-C is for us alone, and Redis stays until we have finished.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let watch = command.spawn().context("cannot start sh")?;
        let url = Url::Given(format!("redis+unix://{path}"));
        let source =
            Source { mode: Mode::Standalone, url, password_file: None, ca_file: None, wait_replicas: 0 };
        Ok((PrivateRedis { watch, dir }, source))
    }

    /// Waits until nothing of it is left.
    pub async fn stop(mut self) {
        drop(self.watch.stdin.take());
        if let Err(error) = self.watch.wait().await {
            tracing::warn!(%error, dir = %self.dir.display(), "the private Redis may be left");
        }
    }
}

async fn check() -> anyhow::Result<()> {
    let version = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().await;
    match version {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => bail!("redis-server --version failed: {status}"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => bail!(MISSING),
        Err(error) => Err(error).context("cannot run redis-server"),
    }
}

/// For this user alone.
fn new_dir() -> io::Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt;
    let number = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
    let dir = std::env::temp_dir().join(format!("hyperpage-{number:016x}"));
    std::fs::DirBuilder::new().mode(0o700).create(&dir)?;
    Ok(dir)
}
