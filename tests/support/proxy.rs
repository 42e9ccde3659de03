//! A TCP proxy between a sidecar and its Redis that can fail like a network, or answer in Redis' place.
//!
//! It reads whole commands from the client, so that a fault begins between two commands; what Redis answers
//! is passed on as it comes.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};

/// What happens to bytes between client and Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    Pass,
    /// Connections break, and new ones break at once.
    Cut,
    /// Nothing passes, nothing is lost: it all arrives, late, when the mode changes.
    Stall,
    /// The same for a command that holds these bytes, and what comes after it on its connection.
    StallAt(&'static str),
    /// What is sent now is lost, and the connection it was sent on is dead for good without a word.
    BlackHole,
    /// Commands arrive. On a connection where one holds these bytes, what Redis answers is lost from then on.
    Mute(&'static str),
    /// Commands arrive later by so much, in order; a stall that begins meanwhile holds them too.
    Delay(Duration),
    /// Whatever reads or writes data is answered with this error; PING, TIME and the like with the truth.
    Refuse(&'static str),
    /// Redis says OK to CLIENT TRACKING, and never says what changes.
    Deaf,
    /// Whoever subscribes, or has subscribed, gets nothing more from Redis; commands arrive, and others are answered.
    Hush,
    /// Redis does nothing; each command but the greeting is answered with these bytes.
    Answer(&'static [u8]),
}

pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    mode: watch::Sender<Mode>,
    accept: tokio::task::JoinHandle<()>,
}

struct Shared {
    upstream: AtomicU16,
    /// Connections of an earlier generation are half-open: nothing passes on them, ever.
    half_open: AtomicU64,
    /// Connections of an earlier generation have their sending side closed towards the client.
    half_closed: watch::Sender<u64>,
    connections: AtomicU64,
}

impl Proxy {
    pub async fn start(upstream: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let mode = watch::Sender::new(Mode::Pass);
        let shared = Arc::new(Shared {
            upstream: AtomicU16::new(upstream),
            half_open: AtomicU64::new(0),
            half_closed: watch::Sender::new(0),
            connections: AtomicU64::new(0),
        });
        let accept = tokio::spawn(accept(listener, shared.clone(), mode.subscribe()));
        Proxy { port, shared, mode, accept }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// The peer of every present connection is gone without a FIN; new connections are fine.
    pub fn half_open(&self) {
        self.shared.half_open.store(self.shared.connections.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// Every present connection is closed towards the client, and still reads; new connections are fine.
    pub fn half_close(&self) {
        self.shared.half_closed.send_replace(self.shared.connections.load(Ordering::SeqCst));
    }

    /// How many connections were ever accepted.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accept.abort();
        self.mode.send_replace(Mode::Cut);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, mode: watch::Receiver<Mode>) {
    while let Ok((client, _)) = listener.accept().await {
        let number = shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
        // Cut connections end by dropping both sockets, whichever direction notices first.
        let (shared, mode) = (shared.clone(), mode.clone());
        tokio::spawn(async move {
            let _ = Connection::serve(number, client, shared, mode).await;
        });
    }
}

/// What both directions of a connection know.
struct Connection {
    number: u64,
    shared: Arc<Shared>,
    dead: AtomicBool,
    mute: AtomicBool,
    listens: AtomicBool,
    /// What is said in Redis' place, once Redis has said what comes before it.
    answers: Mutex<VecDeque<&'static [u8]>>,
    to_client: Mutex<OwnedWriteHalf>,
}

impl Connection {
    async fn serve(
        number: u64,
        client: TcpStream,
        shared: Arc<Shared>,
        mut mode: watch::Receiver<Mode>,
    ) -> io::Result<()> {
        if *mode.borrow_and_update() == Mode::Cut {
            return Ok(());
        }
        let redis = TcpStream::connect(("127.0.0.1", shared.upstream.load(Ordering::SeqCst))).await?;
        client.set_nodelay(true)?;
        redis.set_nodelay(true)?;
        let (from_client, to_client) = client.into_split();
        let (from_redis, to_redis) = redis.into_split();
        let mut half_closed = shared.half_closed.subscribe();
        let [dead, mute, listens] = [false; 3].map(AtomicBool::new);
        let (answers, to_client) = (Mutex::default(), Mutex::new(to_client));
        let this = Connection { number, shared, dead, mute, listens, answers, to_client };
        tokio::select! {
            end = this.requests(from_client, to_redis, mode.clone()) => end,
            end = this.replies(from_redis, mode.clone()) => end,
            () = until(&mut mode, |mode| *mode == Mode::Cut) => Ok(()),
            () = until(&mut half_closed, |last| *last >= number) => {
                this.to_client.lock().await.shutdown().await?;
                std::future::pending().await
            }
        }
    }

    async fn requests(
        &self,
        mut client: OwnedReadHalf,
        mut redis: OwnedWriteHalf,
        mut mode: watch::Receiver<Mode>,
    ) -> io::Result<()> {
        let mut buffer = Vec::new();
        while client.read_buf(&mut buffer).await? > 0 {
            while let Some(length) = command_length(&buffer) {
                let command: Vec<u8> = buffer.drain(..length).collect();
                let held = |mode: &Mode| matches!(mode, Mode::StallAt(word) if holds(&command, word));
                until(&mut mode, |mode| !held(mode)).await;
                let settled = self.delayed(&mut mode).await;
                if name(&command) == b"SUBSCRIBE" {
                    self.listens.store(true, Ordering::SeqCst);
                }
                if matches!(settled, Mode::Mute(word) if holds(&command, word)) {
                    self.mute.store(true, Ordering::SeqCst);
                }
                match settled {
                    Mode::BlackHole => {}
                    // Redis itself says it, so that it comes in its turn among other answers.
                    Mode::Refuse(error) if is_data(&command) => redis.write_all(&saying(error)).await?,
                    Mode::Answer(reply) if !is_greeting(&command) => {
                        self.answers.lock().await.push_back(reply);
                        redis.write_all(ECHO).await?;
                    }
                    Mode::Deaf if holds(&command, "TRACKING") => redis.write_all(NO_TRACKING).await?,
                    Mode::Pass
                    | Mode::StallAt(_)
                    | Mode::Mute(_)
                    | Mode::Delay(_)
                    | Mode::Deaf
                    | Mode::Hush
                    | Mode::Refuse(_)
                    | Mode::Answer(_) => redis.write_all(&command).await?,
                    Mode::Cut | Mode::Stall => return Ok(()),
                }
            }
        }
        Ok(())
    }

    async fn replies(&self, mut redis: OwnedReadHalf, mut mode: watch::Receiver<Mode>) -> io::Result<()> {
        let mut buffer = Vec::new();
        while redis.read_buf(&mut buffer).await? > 0 {
            let settled = self.settle(&mut mode).await;
            if self.mute.load(Ordering::SeqCst) {
                buffer.clear();
                continue;
            }
            let rest = self.answered(&mut buffer).await;
            match settled {
                Mode::BlackHole => {}
                Mode::Hush if self.listens.load(Ordering::SeqCst) => {}
                Mode::Cut => return Ok(()),
                Mode::Pass
                | Mode::Hush
                | Mode::Stall
                | Mode::StallAt(_)
                | Mode::Mute(_)
                | Mode::Delay(_)
                | Mode::Deaf
                | Mode::Refuse(_)
                | Mode::Answer(_) => {
                    self.to_client.lock().await.write_all(&buffer).await?;
                }
            }
            buffer = rest;
        }
        Ok(())
    }

    /// Puts what is to be said in the places that Redis has kept for it. Returns what may be half of such a place.
    async fn answered(&self, buffer: &mut Vec<u8>) -> Vec<u8> {
        let mut answers = self.answers.lock().await;
        while let Some(answer) = answers.front() {
            let Some(at) = buffer.windows(ECHOED.len()).position(|bytes| bytes == ECHOED) else {
                let half = (1..ECHOED.len()).rev().find(|length| buffer.ends_with(&ECHOED[..*length]));
                return buffer.split_off(buffer.len() - half.unwrap_or_default());
            };
            buffer.splice(at..at + ECHOED.len(), answer.iter().copied());
            answers.pop_front();
        }
        Vec::new()
    }

    async fn delayed(&self, mode: &mut watch::Receiver<Mode>) -> Mode {
        if let Mode::Delay(delay) = self.settle(mode).await {
            tokio::time::sleep(delay).await;
        }
        self.settle(mode).await
    }

    /// The mode to act by, once it is not to wait. A connection that lost bytes is lost.
    async fn settle(&self, mode: &mut watch::Receiver<Mode>) -> Mode {
        let settled = match mode.wait_for(|mode| *mode != Mode::Stall).await {
            Ok(mode) => mode.clone(),
            Err(_) => Mode::Cut,
        };
        if settled == Mode::BlackHole || self.number <= self.shared.half_open.load(Ordering::SeqCst) {
            self.dead.store(true, Ordering::SeqCst);
        }
        if self.dead.load(Ordering::SeqCst) { Mode::BlackHole } else { settled }
    }
}

/// Until the value is such, or nobody can change it any more.
async fn until<T>(value: &mut watch::Receiver<T>, such: impl FnMut(&T) -> bool) {
    let _ = value.wait_for(such).await;
}

fn is_greeting(command: &[u8]) -> bool {
    [b"HELLO".as_slice(), b"AUTH", b"CLIENT", b"SELECT"].contains(&name(command).as_slice())
}

const ECHO: &[u8] = b"*2\r\n$4\r\nECHO\r\n$22\r\nin the proxy's place..\r\n";
const ECHOED: &[u8] = b"$22\r\nin the proxy's place..\r\n";
const NO_TRACKING: &[u8] = b"*3\r\n$6\r\nCLIENT\r\n$8\r\nTRACKING\r\n$3\r\nOFF\r\n";

fn is_data(command: &[u8]) -> bool {
    [b"EVAL".as_slice(), b"EVALSHA", b"GET", b"SET", b"DEL"].contains(&name(command).as_slice())
}

fn holds(command: &[u8], word: &str) -> bool {
    command.windows(word.len()).any(|bytes| bytes == word.as_bytes())
}

/// A command that Redis answers with `error`.
fn saying(error: &str) -> Vec<u8> {
    let script = "return {err = ARGV[1]}";
    let word = |word: &str| format!("${}\r\n{word}\r\n", word.len());
    let words = ["EVAL", script, "0", error].map(word).concat();
    format!("*4\r\n{words}").into_bytes()
}

/// The command's name in capitals: the first bulk string of the array, or the first word of a line.
fn name(command: &[u8]) -> Vec<u8> {
    let word = match command.first() {
        Some(b'*') => command.split(|byte| *byte == b'\n').nth(2),
        Some(_) | None => command.split(u8::is_ascii_whitespace).next(),
    };
    word.unwrap_or_default().trim_ascii().to_ascii_uppercase()
}

/// The length of the first command in `buffer`, an array of bulk strings or a line, once all of it is there.
fn command_length(buffer: &[u8]) -> Option<usize> {
    if buffer.first().is_some_and(u8::is_ascii_alphabetic) {
        return Some(buffer.iter().position(|byte| *byte == b'\n')? + 1);
    }
    let (count, mut at) = number(buffer, 0, b'*')?;
    for _ in 0..count {
        let (length, start) = number(buffer, at, b'$')?;
        at = start + length + 2;
    }
    (at <= buffer.len()).then_some(at)
}

/// The number after `mark` at `at`, and where its line ends. Clients of Redis send nothing else.
fn number(buffer: &[u8], at: usize, mark: u8) -> Option<(usize, usize)> {
    let rest = buffer.get(at..).filter(|rest| !rest.is_empty())?;
    assert_eq!(rest[0], mark, "not a Redis command: {:?}", String::from_utf8_lossy(rest));
    let end = rest.iter().position(|byte| *byte == b'\r').filter(|end| end + 1 < rest.len())?;
    let digits = std::str::from_utf8(&rest[1..end]).expect("a length is digits");
    Some((digits.parse().expect("a length is a number"), at + end + 2))
}
