//! Requests at a steady rate, whatever the answers do: half on new connections, half on kept ones.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What was sent and what came back.
#[derive(Debug, Default)]
pub struct Tally {
    pub sent: usize,
    pub new_connections: usize,
    /// Each answer that was not 2xx, and each failure below HTTP.
    pub bad: Vec<String>,
    pub elapsed: Duration,
}

impl Tally {
    /// Fails on any bad answer, and on a load too small to mean something.
    pub fn ensure_clean(&self, at_least: usize, per_second: f64) -> Result<()> {
        let rate = self.sent as f64 / self.elapsed.as_secs_f64();
        ensure!(
            self.bad.is_empty(),
            "{} of {} failed: {:?}",
            self.bad.len(),
            self.sent,
            &self.bad[..self.bad.len().min(5)]
        );
        ensure!(self.sent >= at_least, "only {} requests", self.sent);
        ensure!(rate >= per_second, "only {rate:.0} requests/s");
        ensure!(self.new_connections * 2 >= self.sent, "{} on new connections", self.new_connections);
        Ok(())
    }
}

pub struct Load {
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<Tally>>,
}

impl Load {
    /// `GET url` so many times per second, until [`Load::end`].
    pub fn start(url: String, cookie: String, per_second: u32) -> Result<Self> {
        let limit = Duration::from_secs(10);
        let client = || reqwest::Client::builder().timeout(limit).no_proxy();
        let (kept, fresh) = (client().build()?, client().pool_max_idle_per_host(0).build()?);
        let (stop, mut stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            let (mut tally, mut flying) = (Tally::default(), JoinSet::new());
            let start = tokio::time::Instant::now();
            let mut pace = tokio::time::interval(Duration::from_secs(1) / per_second);
            loop {
                tokio::select! {
                    _ = stopped.changed() => break,
                    _ = pace.tick() => {}
                }
                let new = tally.sent.is_multiple_of(2);
                let client = if new { &fresh } else { &kept };
                tally.sent += 1;
                tally.new_connections += usize::from(new);
                flying.spawn(answer(client.get(&url).header("cookie", &cookie), new));
                while let Some(done) = flying.try_join_next() {
                    tally.bad.extend(done?);
                }
            }
            tally.elapsed = start.elapsed();
            while let Some(done) = flying.join_next().await {
                tally.bad.extend(done?);
            }
            Ok(tally)
        });
        Ok(Self { stop, task })
    }

    /// Stops, and waits for the last answers.
    pub async fn end(self) -> Result<Tally> {
        self.stop.send_replace(true);
        self.task.await?
    }
}

/// What is wrong with the answer, if anything is.
async fn answer(request: reqwest::RequestBuilder, new: bool) -> Option<String> {
    let on = if new { "new" } else { "kept" };
    match request.send().await {
        Ok(response) => {
            let status = response.status();
            match response.bytes().await {
                Ok(_) if status.is_success() => None,
                Ok(body) => {
                    Some(format!("{status} on a {on} connection: {}", String::from_utf8_lossy(&body)))
                }
                Err(error) => Some(format!("{error:?} in the body on a {on} connection")),
            }
        }
        Err(error) => Some(format!("{error:?} on a {on} connection")),
    }
}
