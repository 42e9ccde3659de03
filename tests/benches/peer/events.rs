//! Server-sent events of a sidecar, read with as little ado as there can be.

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;

pub(crate) struct Events(Lines<BufReader<TcpStream>>);

#[derive(Debug, Default)]
pub(crate) struct Event {
    pub(crate) name: String,
    /// The place of a message in the order that all hear.
    pub(crate) seq: Option<u64>,
    pub(crate) data: String,
}

impl Events {
    pub(crate) async fn open(address: &str) -> Result<Events> {
        let mut stream = TcpStream::connect(address).await?;
        // Of the version that knows no chunks: what comes is what was said.
        stream.write_all(b"GET /v1/events HTTP/1.0\r\nHost: bench\r\n\r\n").await?;
        let mut lines = BufReader::new(stream).lines();
        let status = lines.next_line().await?.context("no answer")?;
        ensure!(status.contains(" 200 "), "{address}: {status}");
        while !lines.next_line().await?.context("no end of the head")?.is_empty() {}
        Ok(Events(lines))
    }

    pub(crate) async fn next(&mut self) -> Result<Event> {
        let mut event = Event::default();
        loop {
            let line = self.0.next_line().await?.context("the stream has ended")?;
            match line.split_once(": ") {
                Some(("event", name)) => name.clone_into(&mut event.name),
                Some(("id", id)) => {
                    event.seq = id.split_once('-').and_then(|(_, seq)| seq.parse().ok());
                }
                Some(("data", data)) => data.clone_into(&mut event.data),
                _ if line.is_empty() => return Ok(event),
                _ => {}
            }
        }
    }
}
