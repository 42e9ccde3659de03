//! A process that cannot outlive the test that started it, however the test ends.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::sync::watch;

use crate::lived::{Lived, timeout};

/// The shell holds the other end of a pipe from us: when we are gone, by SIGKILL too, `read` ends and so does the
/// child. It prints the child's pid, and its exit status once there is one.
const SCRIPT: &str = r#"
exec 3<&0
log=$1; shift
"$@" >>"$log" 2>&1 </dev/null 3<&- &
child=$!
echo "$child"
{ read -r _ <&3; kill -KILL "$child"; } 2>/dev/null &
guard=$!
{ wait "$child"; } 2>/dev/null; echo "$?"
kill "$guard" 2>/dev/null
"#;

const STOPPED: Duration = Duration::from_secs(10);

pub struct Leash {
    name: String,
    pid: u32,
    log: PathBuf,
    exit: watch::Receiver<Option<i32>>,
    pipe: Option<ChildStdin>,
    shell: Child,
}

impl Leash {
    /// Starts `program`; what it prints goes to `dir/NAME.log`.
    pub fn start<A: AsRef<OsStr>>(
        dir: &Path,
        name: &str,
        program: &Path,
        args: impl IntoIterator<Item = A>,
        env: &[(&str, &str)],
    ) -> Result<Self> {
        ensure!(program.is_file(), "{} is missing", program.display());
        let log = dir.join(format!("{name}.log"));
        let mut shell = Command::new("/bin/bash")
            .args(["-c", SCRIPT, "leash"])
            .arg(&log)
            .arg(program)
            .args(args)
            .envs(env.iter().copied())
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let pipe = shell.stdin.take();
        let mut lines = BufReader::new(shell.stdout.take().context("the shell has no stdout")?).lines();
        let pid = lines.next().context("the shell printed no pid")??.parse()?;
        let (tell, exit) = watch::channel(None);
        std::thread::spawn(move || {
            let status = lines.next().and_then(Result::ok).and_then(|line| line.parse().ok());
            tell.send_replace(Some(status.unwrap_or(-1)));
        });
        Ok(Self { name: name.to_owned(), pid, log, exit, pipe, shell })
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// `TERM`, `KILL`, `CONT`.
    pub fn signal(&self, signal: &str) -> Result<()> {
        ensure!(self.exit.borrow().is_none(), "{} has already ended:\n{}", self.name, self.tail(20));
        let status = Command::new("kill").args(["-s", signal, &self.pid.to_string()]).status()?;
        ensure!(status.success(), "kill -s {signal} of {} failed", self.name);
        Ok(())
    }

    /// SIGSTOP. On a busy machine a thread goes on for a while before it hears of that: not after this has returned.
    pub fn pause(&self) -> Result<()> {
        self.signal("STOP")?;
        let start = Lived::now();
        while !self.sleeps()? {
            ensure!(start.elapsed() < STOPPED, "{} does not stop", self.name);
            std::thread::yield_now();
        }
        Ok(())
    }

    /// All its threads are stopped.
    fn sleeps(&self) -> Result<bool> {
        for thread in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            let stat = fs::read_to_string(thread?.path().join("stat"))?;
            if !stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T")) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The exit status (128 + signal when a signal ended it), once there is one.
    pub async fn exited(&self, within: Duration) -> Result<i32> {
        let mut exit = self.exit.clone();
        let status = timeout(within, exit.wait_for(Option::is_some))
            .await
            .ok()
            .with_context(|| format!("{} still runs after {within:?}", self.name))?;
        Ok(status?.unwrap_or(-1))
    }

    /// Fails with the end of its log when the process is gone.
    pub fn alive(&self) -> Result<()> {
        let exit = *self.exit.borrow();
        ensure!(exit.is_none(), "{} ended with {exit:?}:\n{}", self.name, self.tail(20));
        Ok(())
    }

    pub fn tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<_> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        drop(self.pipe.take());
        if let Err(error) = self.shell.wait() {
            eprintln!("leash of {}: {error}", self.name);
        }
    }
}
