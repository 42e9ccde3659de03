//! What the programs of `make bench` that ask others have in common: HTTP/1.1 over a kept-alive connection, a pace, and
//! figures as `name=value` words.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: &str) -> Result<Connection> {
        let stream = TcpStream::connect(address).await;
        let stream = stream.with_context(|| format!("failed to connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, buffer: Vec::with_capacity(1 << 16) })
    }

    /// The status of the whole answer, which must say its length.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Result<u16> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            self.more().await?;
            let Some(head) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
                continue;
            };
            let text = std::str::from_utf8(&self.buffer[..head]).context("the head is not text")?;
            let status = text.get(9..12).and_then(|status| status.parse().ok()).context("no status")?;
            let length = text.lines().filter_map(|line| line.split_once(':'));
            let mut length = length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            let length: usize = match length.next() {
                Some((_, value)) => value.trim().parse()?,
                None if status == 204 || status == 304 => 0,
                None => bail!("an answer without Content-Length"),
            };
            while self.buffer.len() < head + 4 + length {
                self.more().await?;
            }
            return Ok(status);
        }
    }

    async fn more(&mut self) -> Result<()> {
        let mut chunk = [0; 16 * 1024];
        let read = self.stream.read(&mut chunk).await?;
        ensure!(read > 0, "the connection was closed half-way");
        self.buffer.extend_from_slice(&chunk[..read]);
        Ok(())
    }
}

/// How much is asked.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Pacing {
    /// That ask at the same time.
    #[arg(long, default_value_t = 16)]
    pub(crate) connections: usize,
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Per second over all connections; without it, as much as is answered.
    #[arg(long)]
    rate: Option<f64>,
}

/// How long each good answer took, and how many were none.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) times: Times,
    pub(crate) refused: usize,
}

impl Pacing {
    /// Asks on all connections that were opened. `ask` is told when its request was due, and says whether it was well
    /// answered. Where one is late because the answer before was, the wait counts.
    pub(crate) async fn run<C>(
        &self,
        connections: Vec<C>,
        ask: impl AsyncFn(&mut C, Instant) -> Result<bool>,
    ) -> Result<(Seen, Duration)> {
        let start = Instant::now();
        let all = connections.len() as f64;
        let pause = self.rate.map(|rate| Duration::from_secs_f64(all / rate));
        let turns = connections.into_iter().enumerate().map(|(number, connection)| {
            // They do not send in step.
            let due = pause.map(|pause| (start + pause.mul_f64(number as f64 / all), pause));
            self.turn(connection, start, due, &ask)
        });
        let mut seen = Seen::default();
        for one in futures::future::try_join_all(turns).await? {
            seen.times.0.extend(one.times.0);
            seen.refused += one.refused;
        }
        Ok((seen, start.elapsed()))
    }

    async fn turn<C>(
        &self,
        mut connection: C,
        start: Instant,
        mut due: Option<(Instant, Duration)>,
        ask: &impl AsyncFn(&mut C, Instant) -> Result<bool>,
    ) -> Result<Seen> {
        let (mut seen, end) = (Seen::default(), start + Duration::from_secs_f64(self.seconds));
        loop {
            let mut from = Instant::now();
            if let Some((next, pause)) = &mut due {
                if from < *next {
                    tokio::time::sleep_until((*next).into()).await;
                    from = Instant::now();
                } else {
                    from = *next;
                }
                *next += *pause;
            }
            if Instant::now() >= end {
                return Ok(seen);
            }
            if ask(&mut connection, from).await? {
                seen.times.took(from.elapsed());
            } else {
                seen.refused += 1;
            }
        }
    }
}

/// A line of words.
pub(crate) fn print(seen: Seen, elapsed: Duration, usage: Option<(Usage, Usage)>) {
    let (count, refused) = (seen.times.0.len(), seen.refused);
    let rate = count as f64 / elapsed.as_secs_f64();
    print!("count={count} rate={rate:.0} refused={refused} {}", seen.times.words());
    if let Some((before, after)) = usage {
        let cpu = (after.micros - before.micros) / (count as f64).max(1.0);
        print!(" cpu={cpu:.1} rss={:.1}", after.kib as f64 / 1024.0);
    }
    println!();
}

/// How long each took.
#[derive(Default)]
pub(crate) struct Times(pub(crate) Vec<u32>);

impl Times {
    pub(crate) fn took(&mut self, time: Duration) {
        self.0.push(u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
    }

    /// In milliseconds.
    pub(crate) fn words(mut self) -> String {
        self.0.sort_unstable();
        let count = self.0.len();
        let at = |part: f64| {
            self.0.get(((count as f64 * part) as usize).min(count.saturating_sub(1))).copied().unwrap_or(0)
        };
        let [p50, p99, p999, max] = [0.5, 0.99, 0.999, 1.0].map(|part| f64::from(at(part)) / 1000.0);
        format!("p50={p50:.3} p99={p99:.3} p999={p999:.3} max={max:.3}")
    }
}

/// CPU and memory of a process, from /proc.
pub(crate) struct Usage {
    pub(crate) micros: f64,
    pub(crate) kib: u64,
}

impl Usage {
    pub(crate) fn of(pid: u32) -> Result<Usage> {
        let stat =
            std::fs::read_to_string(format!("/proc/{pid}/stat")).context("the watched process is gone")?;
        // After the name in parentheses: user and system time are fields 14 and 15, in ticks of 10 ms.
        let fields: Vec<_> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
        Ok(Usage { micros: ticks * 10_000.0, kib: kib.context("no VmRSS")? })
    }
}
