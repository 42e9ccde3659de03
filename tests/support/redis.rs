//! Real Redis servers: one, a Sentinel group, a Cluster.

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use ::redis::{FromRedisValue, RedisError, RedisResult, Value};

use crate::binaries::on_path;
use crate::eventually::{check, eventually};
use crate::leash::Leash;
use crate::lived::timeout;
use crate::network::{Address, Door, Network};
use crate::scratch::Scratch;

const START: Duration = Duration::from_secs(20);

/// One `redis-server` from PATH (or REDIS_SERVER) on a port of its own.
pub struct RedisServer {
    port: u16,
    options: Vec<String>,
    password: Option<String>,
    dir: Scratch,
    process: Option<Leash>,
}

impl RedisServer {
    pub async fn start() -> RedisServer {
        RedisServer::with(&["--save", "", "--appendonly", "no"]).await
    }

    /// Keeps what it acknowledged when killed.
    pub async fn durable() -> RedisServer {
        RedisServer::with(&["--save", "", "--appendonly", "yes", "--appendfsync", "always"]).await
    }

    pub async fn with_password(password: &str) -> RedisServer {
        RedisServer::with(&["--save", "", "--requirepass", password]).await
    }

    pub async fn with(options: &[&str]) -> RedisServer {
        let mut server = RedisServer::absent(options);
        server.run().await;
        server
    }

    /// Has a port and a directory but does not run yet.
    pub fn absent(options: &[&str]) -> RedisServer {
        let password = options.iter().position(|option| *option == "--requirepass");
        RedisServer {
            port: free_port(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            password: password.map(|at| options[at + 1].to_owned()),
            dir: Scratch::new("redis"),
            process: None,
        }
    }

    pub async fn run(&mut self) {
        self.launch();
        eventually("redis-server answers", START, async || self.answers().await).await;
    }

    fn launch(&mut self) {
        assert!(self.process.is_none(), "redis-server runs already");
        let mut args = Vec::new();
        // The configuration file comes first; Sentinel needs one that it may rewrite.
        if self.dir.path().join("sentinel.conf").exists() {
            args.extend(["sentinel.conf", "--sentinel"].map(str::to_owned));
        }
        args.extend(["--port", &self.port.to_string(), "--bind", "127.0.0.1"].map(str::to_owned));
        args.extend_from_slice(&self.options);
        let leash = Leash::start(self.dir.path(), "redis-server", &server_program(), args, &[]);
        self.process = Some(leash.expect("redis-server starts"));
    }

    /// Up and done with loading, whether or not it wants a password.
    async fn answers(&self) -> Result<(), String> {
        match self.command::<Value>(&["PING"]).await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("MASTERDOWN") => Ok(()),
            Err(error) => {
                let log = self.process.as_ref().map(|process| process.tail(20)).unwrap_or_default();
                Err(format!("{error}\n{log}"))
            }
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("redis-server runs").pid()
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Runs one command on a connection of its own.
    pub async fn command<T: FromRedisValue>(&self, words: &[&str]) -> RedisResult<T> {
        let mut command = ::redis::cmd(words[0]);
        command.arg(&words[1..]);
        let call = async {
            let mut connection = self.connection().await?;
            command.query_async(&mut connection).await
        };
        let silent = || RedisError::from((::redis::ErrorKind::Io, "no answer within 5 s"));
        timeout(Duration::from_secs(5), call).await.unwrap_or_else(|_| Err(silent()))
    }

    pub async fn connection(&self) -> RedisResult<::redis::aio::MultiplexedConnection> {
        let url = match &self.password {
            Some(password) => format!("redis://:{password}@127.0.0.1:{}", self.port),
            None => self.url(),
        };
        #[expect(clippy::disallowed_methods, reason = "the harness looks past the sidecar")]
        let client = ::redis::Client::open(url)?;
        // The crate's own 500 ms are too few for a busy machine, and it counts a standstill of it.
        let patience = Some(Duration::from_secs(60));
        let config = ::redis::AsyncConnectionConfig::new();
        let config = config.set_response_timeout(patience).set_connection_timeout(patience);
        client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// The stored bytes of a session.
    pub async fn session(&self, id: &str) -> Option<String> {
        self.command(&["GET", &format!("hyperpage:session:{id}")]).await.expect("Redis answers")
    }

    /// So many replicas have all that it has, but for what is on its way.
    pub async fn followed(&self, replicas: usize) -> Result<(), String> {
        let info: String = self.command(&["INFO", "replication"]).await.map_err(|error| error.to_string())?;
        check(info.matches("state=online").count() == replicas, info)
    }

    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Killed and started again on the same port; what it keeps is a matter of its options.
    pub async fn restart(&mut self) {
        self.kill();
        self.run().await;
    }

    /// Like `restart`, with an empty directory.
    pub async fn restart_empty(&mut self) {
        self.kill();
        for entry in std::fs::read_dir(self.dir.path()).expect("the directory is there").flatten() {
            let path = entry.path();
            let _ = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
        }
        self.run().await;
    }

    /// SIGSTOP: the port still accepts, nothing answers.
    pub fn hang(&self) {
        self.process.as_ref().expect("redis-server runs").pause().expect("it can be stopped");
    }

    pub fn resume(&self) {
        self.process.as_ref().expect("redis-server runs").signal("CONT").expect("it can go on");
    }
}

/// REDIS_SERVER, or `redis-server` from PATH. Without it no test of the sidecar means anything, so there is no
/// skipping: one clear line, and a failure.
fn server_program() -> PathBuf {
    let given = std::env::var_os("REDIS_SERVER").map(PathBuf::from);
    let place = given.filter(|place| place.is_file()).or_else(|| on_path("redis-server"));
    place.expect("missing redis-server: apt-get install redis-server")
}

/// A port that nobody listens on, below the range from which outgoing connections take theirs, so that a
/// server can come back on it. Cluster bus ports are taken from here too.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 18_000;
    // Test binaries that run at the same time start at different places.
    let start = (std::process::id() % u32::from(COUNT)) as u16;
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(next < COUNT, "no free port");
        let port = FIRST + (start + next) % COUNT;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// One master, two replicas, and a sentinel for each.
pub struct Sentinels {
    pub data: Vec<RedisServer>,
    pub sentinels: Vec<RedisServer>,
    /// Where all of them are reached, the data nodes first.
    doors: Vec<u16>,
}

/// What the sentinels call the master.
pub const MASTER_NAME: &str = "hyperpage";

impl Sentinels {
    pub async fn start() -> Sentinels {
        Sentinels::with(&[], None).await
    }

    /// All data nodes have these options too. With a network, all of them reach each other over it.
    pub async fn with(options: &[&str], mut network: Option<&mut Network>) -> Sentinels {
        let own = ["--save", "", "--repl-diskless-sync-delay", "0", "--min-replicas-to-write", "1"];
        let options = [&own[..], options].concat();
        let (mut data, mut sentinels, mut doors) = (Vec::<RedisServer>::new(), Vec::new(), Vec::<u16>::new());
        for number in 0..6 {
            let mut server = RedisServer::absent(if number < 3 { &options } else { &[] });
            let door = match &mut network {
                Some(network) => network.open(Door::of(address(number), server.port)).await,
                None => server.port,
            };
            doors.push(door);
            let mut say = |words: &[&str]| server.options.extend(words.iter().map(ToString::to_string));
            if network.is_some() {
                say(&["--bind-source-addr", &address(number).to_string()]);
            }
            if number < 3 {
                say(&["--replica-announce-ip", "127.0.0.1", "--replica-announce-port", &door.to_string()]);
                if number > 0 {
                    say(&["--replicaof", "127.0.0.1", &doors[0].to_string()]);
                }
                server.run().await;
                data.push(server);
            } else {
                server.dir.write("sentinel.conf", &sentinel_conf(doors[0], door));
                server.run().await;
                sentinels.push(server);
            }
        }
        let group = Sentinels { data, sentinels, doors };
        eventually("the sentinels know each other", START, async || group.complete().await).await;
        group
    }

    /// Where this client finds the sentinels, and through them all others, by doors of its own.
    pub async fn urls_for(&self, client: Address, network: &mut Network) -> String {
        let own = |number, port| Door { client: Some(client), ..Door::of(address(number), port) };
        let mut renamed = Vec::new();
        for (number, server) in self.data.iter().enumerate() {
            let door = network.open(own(number, server.port)).await;
            renamed.push((self.doors[number].to_string(), door.to_string()));
        }
        let mut doors = Vec::new();
        for (number, sentinel) in self.sentinels.iter().enumerate() {
            let door = own(self.data.len() + number, sentinel.port);
            doors.push(network.open(Door { renamed: renamed.clone().into(), ..door }).await);
        }
        urls(doors)
    }

    /// Every sentinel knows the two others and both replicas, and writes are accepted.
    async fn complete(&self) -> Result<(), String> {
        self.data[0].command::<()>(&["SET", "probe", "1"]).await.map_err(|error| error.to_string())?;
        for sentinel in &self.sentinels {
            let info: String =
                sentinel.command(&["INFO", "sentinel"]).await.map_err(|error| error.to_string())?;
            check(info.contains("slaves=2,sentinels=3"), info)?;
        }
        Ok(())
    }

    pub fn urls(&self) -> String {
        urls(&self.doors[3..])
    }
}

/// Of a data node and of the sentinel beside it, on a network.
pub fn addresses(number: usize) -> [Address; 2] {
    [number, number + 3].map(address)
}

fn address(number: usize) -> Address {
    Address::new(127, 0, 1, 1 + u8::try_from(number).expect("there are six"))
}

fn urls(ports: impl IntoIterator<Item = impl Display>) -> String {
    ports.into_iter().map(|port| format!("redis://127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
}

fn sentinel_conf(master: u16, door: u16) -> String {
    format!(
        "sentinel monitor {MASTER_NAME} 127.0.0.1 {master} 2\n\
         sentinel down-after-milliseconds {MASTER_NAME} 500\n\
         sentinel failover-timeout {MASTER_NAME} 3000\n\
         sentinel announce-ip 127.0.0.1\n\
         sentinel announce-port {door}\n"
    )
}

/// Three masters that share the slots.
pub struct RedisCluster {
    pub nodes: Vec<RedisServer>,
    /// The first of the first, of the second, of the third, and so on.
    pub replicas: Vec<RedisServer>,
}

impl RedisCluster {
    pub async fn start() -> RedisCluster {
        RedisCluster::with_replicas(0).await
    }

    /// So many of each master.
    pub async fn with_replicas(count: usize) -> RedisCluster {
        let mut nodes = Vec::new();
        for _ in 0..3 + 3 * count {
            let bus = free_port().to_string();
            let options = ["--save", "", "--cluster-enabled", "yes", "--cluster-port", &bus];
            let timeout = ["--cluster-node-timeout", "1000", "--repl-diskless-sync-delay", "0"];
            nodes.push((RedisServer::with(&[&options[..], &timeout].concat()).await, bus));
        }
        for (number, (node, _)) in nodes[..3].iter().enumerate() {
            let (first, last) = (number * 5461, if number == 2 { 16_383 } else { number * 5461 + 5460 });
            let (first, last) = (first.to_string(), last.to_string());
            let epoch = (number + 1).to_string();
            let set = ["CLUSTER", "SET-CONFIG-EPOCH", &epoch];
            node.command::<()>(&set).await.expect("a fresh node has no epoch");
            let add = ["CLUSTER", "ADDSLOTSRANGE", &first, &last];
            node.command::<()>(&add).await.expect("nobody owns these slots");
        }
        for (node, _) in &nodes {
            for (other, bus) in &nodes {
                let port = other.port.to_string();
                let meet = ["CLUSTER", "MEET", "127.0.0.1", &port, bus];
                node.command::<()>(&meet).await.expect("both listen");
            }
        }
        let mut nodes: Vec<RedisServer> = nodes.into_iter().map(|(node, _)| node).collect();
        let replicas = nodes.split_off(3);
        let cluster = RedisCluster { nodes, replicas };
        for (number, replica) in cluster.replicas.iter().enumerate() {
            let master: String =
                cluster.nodes[number % 3].command(&["CLUSTER", "MYID"]).await.expect("it runs");
            eventually("a replica knows its master", START, async || {
                replica.command::<()>(&["CLUSTER", "REPLICATE", &master]).await
            })
            .await;
        }
        eventually("the cluster is whole", START, async || cluster.complete().await).await;
        cluster
    }

    /// Which of the masters has the slot of this key.
    pub async fn shard(&self, key: &str) -> usize {
        let slot: usize = self.nodes[0].command(&["CLUSTER", "KEYSLOT", key]).await.expect("Redis answers");
        (slot / 5461).min(2)
    }

    async fn complete(&self) -> Result<(), String> {
        let known = format!("cluster_known_nodes:{}\r", self.nodes.len() + self.replicas.len());
        for node in self.nodes.iter().chain(&self.replicas) {
            let info: String = node.command(&["CLUSTER", "INFO"]).await.map_err(|error| error.to_string())?;
            let whole = info.contains("cluster_state:ok") && info.contains(&known);
            check(whole && info.contains("cluster_slots_ok:16384"), info)?;
        }
        for node in &self.nodes {
            node.followed(self.replicas.len() / 3).await?;
        }
        Ok(())
    }

    pub fn urls(&self) -> String {
        self.nodes.iter().map(RedisServer::url).collect::<Vec<_>>().join(",")
    }
}
