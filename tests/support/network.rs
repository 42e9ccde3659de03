//! A network between processes of one machine that can be parted into two sides. Whoever is to be reached over it has
//! doors; who comes in at one is known by the address it comes from, or by a door that is its own.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::redis::free_port;

/// By which somebody on the network is known.
pub type Address = Ipv4Addr;

#[derive(Default)]
pub struct Network {
    /// Who is on one of two sides; all others are on the other.
    parted: watch::Sender<HashSet<Address>>,
    doors: JoinSet<()>,
}

/// What is behind a door.
#[derive(Debug, Clone)]
pub struct Door {
    pub server: Address,
    pub port: u16,
    /// Who alone comes in here; by its own address, if none.
    pub client: Option<Address>,
    /// What the server says has the second of these where it says the first. They are of one length.
    pub renamed: Arc<[(String, String)]>,
}

impl Door {
    /// For whoever comes.
    pub fn of(server: Address, port: u16) -> Door {
        Door { server, port, client: None, renamed: Arc::default() }
    }
}

impl Network {
    /// Returns its port. It is there until the network is gone.
    pub async fn open(&mut self, door: Door) -> u16 {
        let port = free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a free port is free");
        self.doors.spawn(accept(listener, door, self.parted.subscribe()));
        port
    }

    /// From now on nothing passes between these and all others. What is under way waits, as TCP lets it.
    pub fn part(&self, side: HashSet<Address>) {
        self.parted.send_replace(side);
    }

    pub fn heal(&self) {
        self.part(HashSet::new());
    }
}

async fn accept(listener: TcpListener, door: Door, parted: watch::Receiver<HashSet<Address>>) {
    let mut links = JoinSet::new();
    while let Ok((stream, peer)) = listener.accept().await {
        while links.try_join_next().is_some() {}
        let IpAddr::V4(address) = peer.ip() else { continue };
        let client = door.client.unwrap_or(address);
        links.spawn(Link { client, door: door.clone(), parted: parted.clone() }.join(stream));
    }
}

struct Link {
    client: Address,
    door: Door,
    parted: watch::Receiver<HashSet<Address>>,
}

impl Link {
    /// Ends with either end.
    async fn join(self, client: TcpStream) -> io::Result<()> {
        self.open().await;
        let server = TcpStream::connect(("127.0.0.1", self.door.port)).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        tokio::select! {
            end = self.pass(from_client, to_server, &[]) => end,
            end = self.pass(from_server, to_client, &self.door.renamed) => end,
        }
    }

    async fn pass(
        &self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        renamed: &[(String, String)],
    ) -> io::Result<()> {
        let mut buffer = Vec::new();
        while from.read_buf(&mut buffer).await? > 0 {
            renamed.iter().for_each(|(name, other)| rename(&mut buffer, name, other));
            self.open().await;
            to.write_all(&buffer).await?;
            buffer.clear();
        }
        // Nor is it heard on the other side that one is gone.
        self.open().await;
        Ok(())
    }

    async fn open(&self) {
        let crosses =
            |side: &HashSet<Address>| side.contains(&self.client) != side.contains(&self.door.server);
        let mut parted = self.parted.clone();
        let _network_gone = parted.wait_for(|side| !crosses(side)).await;
    }
}

fn rename(buffer: &mut [u8], name: &str, other: &str) {
    let places: Vec<usize> = (0..=buffer.len().saturating_sub(name.len()))
        .filter(|at| buffer[*at..].starts_with(name.as_bytes()))
        .collect();
    for at in places {
        buffer[at..at + other.len()].copy_from_slice(other.as_bytes());
    }
}
