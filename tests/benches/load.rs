//! Load for `make bench`: HTTP/1.1 over kept-alive connections, as fast as answers come or at a steady rate.
//!
//! `load ADDRESS REQUESTS --connections N --seconds S [--rate PER_SECOND] [--watch PID]`
//!
//! REQUESTS is a file with one request in each line, its parts divided by tabs: method, path, body, then headers. `%N`
//! in a body becomes a number that grows with each request, eight digits wide. Prints one line of `name=value` words.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[derive(Parser)]
struct Args {
    address: String,
    requests: std::path::PathBuf,
    #[arg(long, default_value_t = 16)]
    connections: usize,
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Requests per second over all connections; without it, as many as are answered.
    #[arg(long)]
    rate: Option<f64>,
    /// Reports the CPU that this process took per request, and its memory.
    #[arg(long)]
    watch: Option<u32>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let text = std::fs::read_to_string(&args.requests).context("failed to read the requests")?;
    let templates: Vec<_> = text.lines().map(Template::parse).collect::<Result<_>>()?;
    ensure!(!templates.is_empty(), "{} holds no request", args.requests.display());

    let before = args.watch.map(Usage::of).transpose()?;
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(args.seconds);
    let pause = args.rate.map(|rate| Duration::from_secs_f64(args.connections as f64 / rate));
    let connections = (0..args.connections).map(|n| {
        // Each connection walks the file from a place of its own, and paced ones do not send in step.
        let first = n * templates.len() / args.connections;
        let pace = pause
            .map(|pause| Pace { next: start + pause.mul_f64(n as f64 / args.connections as f64), pause });
        drive(&args.address, &templates, first, end, pace)
    });
    let mut seen = Seen::default();
    for one in futures::future::try_join_all(connections).await? {
        seen.micros.extend(one.micros);
        seen.refused += one.refused;
    }
    let elapsed = start.elapsed().as_secs_f64();
    let after = args.watch.map(Usage::of).transpose()?;
    print(seen, elapsed, before.zip(after));
    Ok(())
}

/// What a connection saw: microseconds of each good answer, and how many were not 2xx.
#[derive(Default)]
struct Seen {
    micros: Vec<u32>,
    refused: u64,
}

struct Pace {
    next: Instant,
    pause: Duration,
}

async fn drive(
    address: &str,
    templates: &[Template],
    first: usize,
    end: Instant,
    pace: Option<Pace>,
) -> Result<Seen> {
    let mut stream =
        TcpStream::connect(address).await.with_context(|| format!("failed to connect to {address}"))?;
    stream.set_nodelay(true)?;
    let (mut seen, mut pace, mut buffer) = (Seen::default(), pace, Vec::with_capacity(1 << 16));
    let mut number = first;
    loop {
        let mut from = Instant::now();
        if let Some(Pace { next, pause }) = &mut pace {
            if from < *next {
                tokio::time::sleep_until((*next).into()).await;
                from = Instant::now();
            } else {
                // We are late because the answer before was: the wait counts.
                from = *next;
            }
            *next += *pause;
        }
        if Instant::now() >= end {
            return Ok(seen);
        }
        let template = &templates[number % templates.len()];
        stream.write_all(&template.bytes(number)).await?;
        let status = answer(&mut stream, &mut buffer).await?;
        if (200..300).contains(&status) {
            seen.micros.push(u32::try_from(from.elapsed().as_micros()).unwrap_or(u32::MAX));
        } else {
            seen.refused += 1;
        }
        number += 1;
    }
}

/// Reads one whole answer; it must say its length.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<u16> {
    buffer.clear();
    let mut chunk = [0; 16 * 1024];
    loop {
        let read = stream.read(&mut chunk).await?;
        if read == 0 {
            bail!("the connection was closed half-way");
        }
        buffer.extend_from_slice(&chunk[..read]);
        let Some(head) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let text = std::str::from_utf8(&buffer[..head]).context("the head is not text")?;
        let status = text.get(9..12).and_then(|status| status.parse().ok()).context("no status")?;
        let length = text.lines().filter_map(|line| line.split_once(':'));
        let mut length = length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length: usize = match length.next() {
            Some((_, value)) => value.trim().parse()?,
            None if status == 204 || status == 304 => 0,
            None => bail!("an answer without Content-Length"),
        };
        while buffer.len() < head + 4 + length {
            let read = stream.read(&mut chunk).await?;
            ensure!(read > 0, "the connection was closed half-way");
            buffer.extend_from_slice(&chunk[..read]);
        }
        return Ok(status);
    }
}

/// One request as bytes, and where its number stands in them.
struct Template {
    bytes: Vec<u8>,
    number: Option<usize>,
}

impl Template {
    fn parse(line: &str) -> Result<Template> {
        let mut parts = line.split('\t');
        let (Some(method), Some(path), Some(body)) = (parts.next(), parts.next(), parts.next()) else {
            bail!("a request is METHOD, PATH, BODY and headers, divided by tabs: {line}");
        };
        let body = body.replacen("%N", "00000000", 1);
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: bench\r\n");
        text.extend(parts.map(|header| format!("{header}\r\n")));
        if !body.is_empty() {
            text += &format!("Content-Length: {}\r\n", body.len());
        }
        let head = text.len() + 2;
        text = text + "\r\n" + &body;
        Ok(Template { bytes: text.into_bytes(), number: body.find("00000000").map(|at| head + at) })
    }

    fn bytes(&self, number: usize) -> std::borrow::Cow<'_, [u8]> {
        let Some(at) = self.number else { return (&self.bytes).into() };
        let mut bytes = self.bytes.clone();
        bytes[at..at + 8].copy_from_slice(format!("{:08}", number % 100_000_000).as_bytes());
        bytes.into()
    }
}

/// CPU and memory of a process, from /proc.
struct Usage {
    micros: f64,
    kib: u64,
}

impl Usage {
    fn of(pid: u32) -> Result<Usage> {
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

fn print(mut seen: Seen, elapsed: f64, usage: Option<(Usage, Usage)>) {
    seen.micros.sort_unstable();
    let count = seen.micros.len();
    let at = |part: f64| {
        seen.micros.get(((count as f64 * part) as usize).min(count.saturating_sub(1))).copied().unwrap_or(0)
    };
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|part| f64::from(at(part)) / 1000.0);
    let rate = count as f64 / elapsed;
    print!("rate={rate:.0} refused={} p50={p50:.3} p99={p99:.3} p999={p999:.3}", seen.refused);
    if let Some((before, after)) = usage {
        let cpu = (after.micros - before.micros) / (count as f64).max(1.0);
        print!(" cpu={cpu:.1} rss={:.1}", after.kib as f64 / 1024.0);
    }
    println!();
}
