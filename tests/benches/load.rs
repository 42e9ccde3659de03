//! Load for `make bench`: HTTP/1.1 over kept-alive connections, as fast as answers come or at a steady rate.
//!
//! `load ADDRESS REQUESTS --connections N --seconds S [--rate PER_SECOND] [--watch PID]`
//!
//! REQUESTS is a file with one request in each line, its parts divided by tabs: method, path, body, then headers. `%N`
//! in a body becomes a number that grows with each request, eight digits wide. Prints one line of `name=value` words.

#[path = "wire.rs"]
mod wire;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use futures::future::try_join_all;
use wire::{Connection, Pacing, Usage};

#[derive(Parser)]
struct Args {
    address: String,
    requests: std::path::PathBuf,
    #[command(flatten)]
    pacing: Pacing,
    /// Reports the CPU that this process took per request, and its memory.
    #[arg(long)]
    watch: Option<u32>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let Args { address, requests, pacing, watch } = Args::parse();
    let text = std::fs::read_to_string(&requests).context("failed to read the requests")?;
    let templates: Vec<_> = text.lines().map(Template::parse).collect::<Result<_>>()?;
    ensure!(!templates.is_empty(), "{} holds no request", requests.display());

    // Each connection walks the file from a place of its own.
    let first = |n: usize| n * templates.len() / pacing.connections;
    let connections =
        (0..pacing.connections).map(async |n| anyhow::Ok((Connection::open(&address).await?, first(n))));
    let connections = try_join_all(connections).await?;
    let before = watch.map(Usage::of).transpose()?;
    let asked = pacing.run(connections, async |(connection, number), _| {
        let request = templates[*number % templates.len()].bytes(*number);
        *number += 1;
        Ok((200..300).contains(&connection.ask(&request).await?))
    });
    let (seen, elapsed) = asked.await?;
    let after = watch.map(Usage::of).transpose()?;
    wire::print(seen, elapsed, before.zip(after));
    Ok(())
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
