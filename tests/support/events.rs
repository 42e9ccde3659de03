//! A client of server-sent events.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::lived::{Lived, Over, timeout};

const OPEN: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub name: String,
    pub id: Option<String>,
    pub data: String,
}

impl Event {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).expect("an event's data is JSON")
    }
}

/// What came next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    Event(Event),
    /// No event, but what the client will say that it had last.
    Place(String),
    /// Nothing within the time given.
    Nothing,
    /// The stream is over.
    End,
}

pub struct Events {
    response: reqwest::Response,
    buffer: Vec<u8>,
    /// Comments that came, which are no events.
    pub comments: usize,
}

impl Events {
    /// Fails the test unless a stream begins.
    pub async fn open(address: SocketAddr, path: &str, last: Option<&str>) -> Events {
        Events::with(address, path, last.map(|last| ("last-event-id", last))).await
    }

    /// Of a path that has another answer for whoever does not ask for events.
    pub async fn accepting(address: SocketAddr, path: &str) -> Events {
        Events::with(address, path, Some(("accept", "text/event-stream"))).await
    }

    /// What the answer begins with.
    pub async fn head(address: SocketAddr, path: &str) -> HeaderMap {
        Events::with(address, path, None).await.response.headers().clone()
    }

    async fn with(address: SocketAddr, path: &str, header: Option<(&str, &str)>) -> Events {
        let opened = Events::ask(address, path, header).await;
        let response = opened.expect("in time").expect("an answer");
        assert_eq!(response.status(), 200, "{response:?}");
        assert_eq!(response.headers()["content-type"], "text/event-stream", "{response:?}");
        Events::of(response)
    }

    /// None: there is no stream now.
    pub async fn try_open(address: SocketAddr, path: &str, last: Option<&str>) -> Option<Events> {
        let asked = Events::ask(address, path, last.map(|last| ("last-event-id", last))).await;
        let response = asked.ok()?.ok()?;
        (response.status() == 200).then(|| Events::of(response))
    }

    async fn ask(
        address: SocketAddr,
        path: &str,
        header: Option<(&str, &str)>,
    ) -> Result<reqwest::Result<reqwest::Response>, Over> {
        let client = reqwest::Client::builder().no_proxy().build().expect("plain HTTP needs nothing");
        let mut request = client.get(format!("http://{address}{path}"));
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        timeout(OPEN, request.send()).await
    }

    fn of(response: reqwest::Response) -> Events {
        Events { response, buffer: Vec::new(), comments: 0 }
    }

    pub async fn next(&mut self, within: Duration) -> Next {
        let start = Lived::now();
        loop {
            while let Some(length) = self.buffer.windows(2).position(|bytes| bytes == b"\n\n") {
                let block: Vec<u8> = self.buffer.drain(..length + 2).collect();
                match event(&String::from_utf8(block).expect("events are UTF-8")) {
                    Next::Nothing => self.comments += 1,
                    event => return event,
                }
            }
            match timeout(within.saturating_sub(start.elapsed()), self.response.chunk()).await {
                Err(_) => return Next::Nothing,
                Ok(Ok(Some(chunk))) => self.buffer.extend_from_slice(&chunk),
                Ok(Ok(None) | Err(_)) => return Next::End,
            }
        }
    }

    /// The next, but for events of other names.
    pub async fn next_of(&mut self, names: &[&str], within: Duration) -> Next {
        let start = Lived::now();
        loop {
            match self.next(within.saturating_sub(start.elapsed())).await {
                Next::Event(event) if !names.contains(&event.name.as_str()) => {}
                next => return next,
            }
        }
    }

    /// The next event of these names; others are passed over, and so are places.
    pub async fn expect(&mut self, names: &[&str], within: Duration) -> Event {
        let start = Lived::now();
        loop {
            match self.next_of(names, within.saturating_sub(start.elapsed())).await {
                Next::Event(event) => return event,
                Next::Place(_) => {}
                other => panicking(names, &other),
            }
        }
    }
}

#[expect(clippy::panic, reason = "a test that waits for an event fails without it")]
fn panicking(names: &[&str], next: &Next) -> ! {
    panic!("{next:?} instead of an event {names:?}")
}

/// Nothing for a comment.
fn event(block: &str) -> Next {
    let mut event = Event { name: "message".to_owned(), id: None, data: String::new() };
    let mut any = false;
    for line in block.lines() {
        let (field, value) = line.split_once(": ").unwrap_or((line, ""));
        match field {
            "event" => value.clone_into(&mut event.name),
            "id" => event.id = Some(value.to_owned()),
            "data" if any => event.data.extend(["\n", value]),
            "data" => {
                any = true;
                value.clone_into(&mut event.data);
            }
            _ => {}
        }
    }
    match event.id {
        _ if any => Next::Event(event),
        Some(id) => Next::Place(id),
        None => Next::Nothing,
    }
}
