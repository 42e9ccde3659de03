//! The Redis of a run: one server, or a master with replicas that sentinels look after.

use std::time::Duration;

use tests::eventually::eventually;
use tests::redis::{MASTER_NAME, RedisServer, Sentinels};

use crate::faults::Family;

const FAILOVER: Duration = Duration::from_secs(30);
/// More than sockets hold: what is written after it stays with the master.
const JUNK_BYTES: usize = 12 * 1024 * 1024;
const JUNK: usize = 3;

pub(crate) struct Servers {
    data: Vec<RedisServer>,
    sentinels: Vec<RedisServer>,
    master: usize,
}

impl Servers {
    pub(crate) async fn start(family: Family) -> Servers {
        if family == Family::FailedOver {
            let Sentinels { data, sentinels } = Sentinels::start().await;
            return Servers { data, sentinels, master: 0 };
        }
        let one = if family.loses_data() { RedisServer::start().await } else { RedisServer::durable().await };
        Servers { data: vec![one], sentinels: Vec::new(), master: 0 }
    }

    /// Where sidecars are to ask for the master, if they are not told where it is.
    pub(crate) fn sentinels(&self) -> Option<String> {
        let urls: Vec<_> = self.sentinels.iter().map(RedisServer::url).collect();
        (!urls.is_empty()).then(|| format!("{}/{MASTER_NAME}", urls.join(",")))
    }

    pub(crate) fn master(&self) -> &RedisServer {
        &self.data[self.master]
    }

    pub(crate) fn master_mut(&mut self) -> &mut RedisServer {
        &mut self.data[self.master]
    }

    /// The replicas hear nothing of what the master does from now on; nor does it count on them if they are cut off.
    pub(crate) async fn lag(&self, cut_off: bool) {
        self.replicas().for_each(RedisServer::hang);
        let master = self.master();
        if cut_off {
            master.command::<()>(&["CONFIG", "SET", "min-replicas-to-write", "0"]).await.unwrap();
            master.command::<()>(&["CLIENT", "KILL", "TYPE", "replica"]).await.unwrap();
            return;
        }
        let junk = "x".repeat(JUNK_BYTES);
        for _ in 0..JUNK {
            master.command::<()>(&["SET", "junk", &junk]).await.unwrap();
        }
    }

    /// The master dies for good, and a replica takes its place with what it had heard of.
    pub(crate) async fn fail_over(&mut self) {
        self.master_mut().kill();
        self.replicas().for_each(RedisServer::resume);
        let dead = self.master;
        self.master = eventually("a replica is promoted", FAILOVER, async || {
            let mut seen = Vec::new();
            for (number, server) in self.data.iter().enumerate().filter(|(number, _)| *number != dead) {
                let info = server.command::<String>(&["INFO", "replication"]).await.unwrap_or_default();
                if info.contains("role:master") {
                    return Ok(number);
                }
                seen.push(info);
            }
            Err(seen)
        })
        .await;
    }

    fn replicas(&self) -> impl Iterator<Item = &RedisServer> {
        let others = self.data.iter().enumerate().filter(|(number, _)| *number != self.master);
        others.map(|(_, server)| server)
    }
}
