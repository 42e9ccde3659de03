//! One process tells and another hears.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Pacing, Words, Yard, program, script, words};
use crate::binaries::output;
use crate::eventually::{check, eventually};

const READY: Duration = Duration::from_secs(60);
/// After the end was told, or was lost.
const LATE: Duration = Duration::from_secs(120);

/// A program that tells, hears and reads by something.
#[derive(Debug, Clone)]
pub struct Peer {
    name: &'static str,
    command: Vec<String>,
}

/// What both sides say of it.
pub struct Talk {
    pub told: Words,
    pub heard: Words,
}

impl Peer {
    /// By `sidecar`, `redis` or `fred`.
    pub fn ours(yard: &Yard, by: &'static str) -> Peer {
        Peer { name: by, command: vec![yard.binary("examples/peer").display().to_string()] }
    }

    pub fn ioredis() -> Result<Peer> {
        Ok(Peer { name: "ioredis", command: vec![program("node")?.display().to_string(), script("peer")] })
    }

    /// From an invalidation to the last of these pods' apps.
    pub async fn spread(yard: &Yard, pods: &[String], rounds: usize) -> Result<Words> {
        let rounds = [format!("--rounds={rounds}")];
        let command = [&["spread".to_owned()], pods, &rounds].concat();
        words(&run(&yard.binary("examples/peer").display().to_string(), command).await?)
    }

    /// Told to the first, and heard from the others.
    pub async fn talk(
        &self,
        yard: &Yard,
        tell_to: &[String],
        hear_from: &[String],
        pacing: &Pacing,
    ) -> Result<Talk> {
        let args = [&self.command[1..], &["hear".to_owned(), self.name.to_owned()], hear_from].concat();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let name = format!("{}-{}", self.name, pacing.rate.unwrap_or_default());
        let _another_log = std::fs::remove_file(yard.path(&format!("{name}.log")));
        let hearing = yard.start(&name, self.command[0].as_ref(), &args, &[])?;
        eventually("the peer listens", READY, async || {
            hearing.alive().expect("it listens until the end");
            check(hearing.log().contains("ready"), hearing.log())
        })
        .await;
        let told = words(&self.run("tell", tell_to, pacing).await?)?;
        hearing.exited(LATE).await?;
        let heard = words(&hearing.tail(1)).with_context(|| hearing.log())?;
        anyhow::ensure!(heard.contains_key("heard"), "{}", hearing.log());
        Ok(Talk { told, heard })
    }

    pub async fn read(&self, url: &str, key: &str, pacing: &Pacing) -> Result<Words> {
        words(&self.run("read", &[url.to_owned(), key.to_owned()], pacing).await?)
    }

    async fn run(&self, what: &str, targets: &[String], pacing: &Pacing) -> Result<String> {
        let asked = [what.to_owned(), self.name.to_owned()];
        run(&self.command[0], [&self.command[1..], &asked, targets, &pacing.args()].concat()).await
    }
}

/// It lasts, and whoever watches others meanwhile is not to be kept from that.
async fn run(program: &str, args: Vec<String>) -> Result<String> {
    let mut command = Command::new(program);
    command.args(args);
    tokio::task::spawn_blocking(move || output(&mut command)).await?
}
