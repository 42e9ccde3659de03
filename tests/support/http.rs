//! A small HTTP client: whole answers with how long they took.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::described::described;
use crate::lived::{Lived, timeout};

/// Far above every promise: an answer later than this is a hang.
const HANG: Duration = Duration::from_secs(10);
/// The client counts a standstill of the machine.
const STANDSTILL: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
pub struct Http {
    base: String,
    client: reqwest::Client,
    described: bool,
}

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
    pub elapsed: Duration,
}

/// One request as data.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: Method,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<Vec<u8>>,
}

impl Request {
    pub fn new(method: &str, path: impl Into<String>) -> Request {
        let method = method.parse().expect("a method is a token");
        Request { method, path: path.into(), headers: Vec::new(), body: None }
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Request {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Request {
        self.body = Some(body.into());
        self
    }

    /// `body` as application/json.
    pub fn json(self, body: impl ToString) -> Request {
        self.header("content-type", "application/json").body(body.to_string())
    }
}

impl Http {
    pub fn new(address: SocketAddr) -> Http {
        let client = reqwest::Client::builder().timeout(STANDSTILL).no_proxy().build();
        Http {
            base: format!("http://{address}"),
            client: client.expect("plain HTTP needs nothing"),
            described: false,
        }
    }

    /// Of a sidecar's app port: an answer that `openapi.json` does not describe fails the test.
    pub(crate) fn described(self) -> Http {
        Http { described: true, ..self }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The answer, or the transport's error.
    pub async fn try_send(&self, request: Request) -> Result<Answer, reqwest::Error> {
        let Request { method, path, headers, body } = request;
        let mut builder = self.client.request(method.clone(), self.url(&path));
        for (name, value) in headers {
            builder = builder.header(name, value);
        }
        if let Some(body) = body {
            builder = builder.body(body);
        }
        let start = Lived::now();
        let response = builder.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = String::from_utf8_lossy(&response.bytes().await?).into_owned();
        let answer = Answer { status, headers, body, elapsed: start.elapsed() };
        if self.described {
            let described = described(method.as_str(), &path, &answer);
            assert_eq!(described, Ok(()));
        }
        Ok(answer)
    }

    pub async fn send(&self, request: Request) -> Answer {
        let what = format!("{} {}", request.method, request.path.chars().take(200).collect::<String>());
        match self.try_send(request).await {
            Ok(answer) => answer,
            Err(error) => panicking(&what, &error),
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Request::new("GET", path)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Request::new("DELETE", path)).await
    }

    pub async fn post(&self, path: &str, body: impl ToString) -> Answer {
        self.send(Request::new("POST", path).json(body)).await
    }

    pub async fn put(&self, path: &str, body: impl ToString) -> Answer {
        self.send(Request::new("PUT", path).json(body)).await
    }

    pub async fn patch(&self, path: &str, body: impl ToString) -> Answer {
        self.send(Request::new("PATCH", path).json(body)).await
    }
}

#[expect(clippy::panic, reason = "every request of a test is answered, well or badly")]
fn panicking(what: &str, error: &reqwest::Error) -> ! {
    panic!("no answer to {what}: {error:?}")
}

/// What so many are answered whose connections were there before any of them asked.
pub async fn at_one_moment(address: SocketAddr, request: &Request, count: usize) -> Vec<Answer> {
    let Request { method, path, headers, body } = request;
    let body = body.as_deref().unwrap_or_default();
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}");
    let bytes = [format!("{head}content-length: {}\r\n\r\n", body.len()).as_bytes(), body].concat();
    let mut sockets = Vec::new();
    for _ in 0..count {
        sockets.push(TcpStream::connect(address).await.expect("the kernel accepts it"));
    }
    let start = Lived::now();
    for socket in &mut sockets {
        socket.write_all(&bytes).await.expect("it was not closed yet");
    }
    let answers = sockets.into_iter().map(async |mut socket| {
        let mut told = String::new();
        timeout(HANG, socket.read_to_string(&mut told)).await.expect("in time").expect("whole");
        Answer::parse(&told, start.elapsed())
    });
    futures::future::join_all(answers).await
}

impl Answer {
    /// All that came on a connection that ends with it.
    fn parse(told: &str, elapsed: Duration) -> Answer {
        let (head, body) = told.split_once("\r\n\r\n").expect("a whole head");
        let (status, headers) = head.split_once("\r\n").expect("a status and headers");
        let status = status.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let headers = headers.lines().filter_map(|line| line.split_once(": "));
        let headers = headers.filter_map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?)));
        let headers: Vec<(HeaderName, HeaderValue)> = headers.collect();
        Answer { status, headers: headers.into_iter().collect(), body: body.to_owned(), elapsed }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The strong validator, quotes included.
    pub fn etag(&self) -> String {
        self.header("etag").map(str::to_owned).unwrap_or_else(|| self.no("ETag"))
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| self.no("JSON"))
    }

    /// The machine's name of an error on either surface: `error.code`, or the last word of `type`, or `code`.
    pub fn code(&self) -> String {
        let Ok(body) = serde_json::from_str::<Value>(&self.body) else { return String::new() };
        let code = body["error"]["code"].as_str().or(body["code"].as_str());
        code.or(body["type"].as_str()).unwrap_or_default().to_owned()
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    #[track_caller]
    pub fn expect_success(self) -> Answer {
        assert!((200..300).contains(&self.status), "{self:?}");
        self
    }

    #[expect(clippy::panic, reason = "an answer without what the test needs fails it")]
    #[track_caller]
    fn no<T>(&self, what: &str) -> T {
        panic!("no {what} in {self:?}")
    }
}
