use axum::body::Body;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use super::*;

const SOON: Duration = Duration::from_secs(10);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

struct Server {
    address: std::net::SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(connections: usize, patience: Patience) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/", get(async || "served"))
            .route("/big", get(async || vec![b'x'; 1 << 24]))
            .route("/echo", post(async |body: Body| body));
        let limits = Limits { connections, patience, head_bytes: 8 * 1024, drain: SOON };
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(listener, router, limits, stop.clone()));
        Server { address, stop, task }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn stop(self) {
        self.stop.cancel();
        timeout(SOON, self.task).await.unwrap().unwrap();
    }
}

async fn answer(socket: &mut TcpStream) -> String {
    socket.write_all(REQUEST).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"served") {
        assert!(timeout(SOON, socket.read_buf(&mut answer)).await.unwrap().unwrap() > 0, "{answer:?}");
    }
    String::from_utf8(answer).unwrap()
}

/// Waits until the other side has ended the connection.
async fn shown_out(socket: &mut TcpStream) {
    let ended = timeout(SOON, socket.read(&mut [0])).await.expect("the connection ends");
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
}

#[tokio::test]
async fn connections_are_kept_while_there_are_places() {
    let server = Server::start(16, Patience { idle: SOON, head: SOON, answer: SOON }).await;
    let mut kept = Vec::new();
    // One place more may be taken: that of whoever comes next.
    for _ in 0..13 {
        let mut socket = server.connect().await;
        assert!(!answer(&mut socket).await.contains("connection: close"));
        kept.push(socket);
    }
    kept.push(server.connect().await);
    for _ in 0..16 {
        let mut last = server.connect().await;
        assert!(answer(&mut last).await.contains("connection: close"));
        assert_eq!(timeout(SOON, last.read(&mut [0])).await.unwrap().unwrap(), 0);
    }
    server.stop().await;
}

#[tokio::test]
async fn half_a_head_ends_the_connection_and_silence_does_not() {
    let head = Duration::from_millis(200);
    let server = Server::start(16, Patience { idle: 100 * SOON, head, answer: SOON }).await;
    let (mut silent, mut kept) = (server.connect().await, server.connect().await);
    answer(&mut kept).await;
    for first in [true, false] {
        let mut half = server.connect().await;
        if !first {
            answer(&mut half).await;
        }
        half.write_all(&REQUEST[..9]).await.unwrap();
        shown_out(&mut half).await;
    }
    // They have waited longer than that by now.
    answer(&mut silent).await;
    answer(&mut kept).await;
    server.stop().await;
}

#[tokio::test]
async fn silent_connections_leave_when_places_are_scarce() {
    let head = Duration::from_millis(200);
    let server = Server::start(16, Patience { idle: 100 * SOON, head, answer: SOON }).await;
    let mut silent = Vec::new();
    for _ in 0..16 {
        silent.push(server.connect().await);
    }
    // All places are taken, and this one waits in the backlog.
    answer(&mut server.connect().await).await;
    shown_out(&mut silent[0]).await;
    server.stop().await;
}

#[tokio::test]
async fn an_answer_that_nobody_takes_ends_the_connection() {
    let taking = Duration::from_millis(200);
    let server = Server::start(1, Patience { idle: 100 * SOON, head: 100 * SOON, answer: taking }).await;
    let mut deaf = server.connect().await;
    deaf.write_all(b"GET /big HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    // It holds the only place.
    answer(&mut server.connect().await).await;
    server.stop().await;
}

#[tokio::test]
async fn an_answer_that_goes_on_while_its_body_comes_is_not_half_a_head() {
    let head = Duration::from_millis(200);
    let server = Server::start(16, Patience { idle: 100 * SOON, head, answer: SOON }).await;
    let mut socket = server.connect().await;
    socket.write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
    let mut told = Vec::new();
    for chunk in [&b"1\r\na\r\n"[..], b"1\r\nb\r\n", b"0\r\n\r\n"] {
        socket.write_all(chunk).await.unwrap();
        while !told.ends_with(chunk) {
            assert!(timeout(SOON, socket.read_buf(&mut told)).await.unwrap().unwrap() > 0, "{told:?}");
        }
        // Longer than half a head may stay one.
        tokio::time::sleep(2 * head).await;
    }
    // The next is a head again.
    socket.write_all(&REQUEST[..9]).await.unwrap();
    shown_out(&mut socket).await;
    server.stop().await;
}

/// The stop is known before anybody has looked into the socket.
#[tokio::test]
async fn a_request_that_was_sent_before_the_stop_is_answered_and_is_the_last() {
    let server = Server::start(16, Patience { idle: SOON, head: SOON, answer: SOON }).await;
    let mut sockets = [server.connect().await, server.connect().await, server.connect().await];
    for socket in &mut sockets {
        answer(socket).await;
    }
    for socket in &mut sockets {
        socket.write_all(REQUEST).await.unwrap();
    }
    server.stop.cancel();
    for socket in &mut sockets {
        let mut told = String::new();
        timeout(SOON, socket.read_to_string(&mut told)).await.expect("the connection ends").unwrap();
        assert!(told.ends_with("served") && told.contains("connection: close"), "{told}");
    }
    server.stop().await;
}

/// The kernel has connected them; nobody has accepted them.
#[tokio::test]
async fn who_waits_in_the_backlog_at_the_stop_is_answered() {
    let server = Server::start(16, Patience { idle: SOON, head: SOON, answer: SOON }).await;
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let mut socket = std::net::TcpStream::connect(server.address).unwrap();
            std::io::Write::write_all(&mut socket, REQUEST).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        })
        .collect();
    server.stop.cancel();
    for socket in waiting {
        let mut told = String::new();
        let mut socket = TcpStream::from_std(socket).unwrap();
        timeout(SOON, socket.read_to_string(&mut told)).await.expect("the connection ends").unwrap();
        assert!(told.ends_with("served") && told.contains("connection: close"), "{told}");
    }
    server.stop().await;
}
