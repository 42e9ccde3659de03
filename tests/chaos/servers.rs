//! The Redis of a run: one server, or a master with replicas that sentinels look after.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tests::eventually::{check, eventually};
use tests::network::{Address, Network};
use tests::proxy::Proxy;
use tests::redis::{MASTER_NAME, RedisServer, Sentinels, addresses};
use tests::sidecar::Settings;
use tokio::time::{sleep, timeout};

use crate::world::NODES;

/// Sentinels that find their clock to have jumped do nothing for half a minute (TILT).
const FAILOVER: Duration = Duration::from_secs(75);
/// Replicas say each second what they have heard, and others write meanwhile.
const HEARD: Duration = Duration::from_secs(60);
/// Seldom does a master that is written to know of a replica that has everything; on a busy machine it may never.
const IN_STEP: Duration = Duration::from_secs(5);
/// In milliseconds: they wait for replicas that are begun again, and are as quick as they are otherwise.
const LONG: &str = "60000";
const SHORT: &str = "500";
const LOOK: Duration = Duration::from_millis(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setup {
    /// What it has is gone when it is killed.
    Volatile,
    Durable,
    /// A master and two replicas, and three sentinels beside them.
    Sentinels,
    /// The same, on a network that can be parted.
    Parted,
}

fn address_of_pod(number: usize) -> Address {
    Address::new(127, 0, 2, 1 + u8::try_from(number).expect("they are few"))
}

pub(crate) struct Servers {
    data: Vec<RedisServer>,
    sentinels: Vec<RedisServer>,
    /// Where each pod's sidecar is to ask for the master, if it is not told where that is.
    urls: Vec<String>,
    network: Network,
    master: usize,
}

impl Servers {
    pub(crate) async fn start(setup: Setup) -> Servers {
        let mut network = Network::default();
        if matches!(setup, Setup::Sentinels | Setup::Parted) {
            let parted = setup == Setup::Parted;
            // The losing master of a partition goes on for ten seconds, Redis' default: no promise leans on less.
            let options = ["--appendonly", "yes", "--appendfsync", "no"];
            let group = Sentinels::with(&options, parted.then_some(&mut network)).await;
            let mut urls = vec![group.urls(); NODES];
            if parted {
                for (number, urls) in urls.iter_mut().enumerate() {
                    *urls = group.urls_for(address_of_pod(number), &mut network).await;
                }
            }
            let Sentinels { data, sentinels, .. } = group;
            return Servers { data, sentinels, urls, network, master: 0 };
        }
        let durable = setup == Setup::Durable;
        let one = if durable { RedisServer::durable().await } else { RedisServer::start().await };
        Servers { data: vec![one], sentinels: Vec::new(), urls: Vec::new(), network, master: 0 }
    }

    /// Of a sidecar that reaches a server through `proxy`; sentinels send it past that.
    pub(crate) fn settings(&self, pod: usize, proxy: &Proxy) -> Settings {
        let settings = match self.urls.get(pod) {
            Some(urls) => Settings::redis(format!("{urls}/{MASTER_NAME}"))
                .env("HYPERPAGE_REDIS_MODE", "sentinel")
                .env("HYPERPAGE_REDIS_WAIT_REPLICAS", "1"),
            None => Settings::redis(proxy.url()),
        };
        settings.program(env!("CARGO_BIN_EXE_chaos-node"))
    }

    pub(crate) fn master(&self) -> &RedisServer {
        &self.data[self.master]
    }

    pub(crate) fn master_mut(&mut self) -> &mut RedisServer {
        &mut self.data[self.master]
    }

    /// The replicas hear nothing of what the master does from now on; nor does it count on them if they are cut off.
    pub(crate) async fn hang_replicas(&self, cut_off: bool) {
        self.down_after(LONG).await;
        let wait = timeout(HEARD, self.all_heard());
        wait.await.expect("replicas hear their master");
        let _seldom = timeout(IN_STEP, self.in_step()).await;
        self.replicas().for_each(RedisServer::hang);
        if cut_off {
            let master = self.master();
            master.command::<()>(&["CONFIG", "SET", "min-replicas-to-write", "0"]).await.unwrap();
            master.command::<()>(&["CLIENT", "KILL", "TYPE", "replica"]).await.unwrap();
        }
    }

    /// Each replica has what was written before.
    async fn all_heard(&self) {
        let before = offset(&replication(self.master()).await, "master_repl_offset:");
        for replica in self.replicas() {
            while offset(&replication(replica).await, "slave_repl_offset:") < before {
                sleep(LOOK).await;
            }
        }
    }

    /// The master knows of a replica that it has everything: whoever asks on the wrong connection is told that it has
    /// what comes next, too.
    async fn in_step(&self) {
        loop {
            let info = replication(self.master()).await;
            let heard = info.split([',', '\r']).filter_map(|word| word.strip_prefix("offset="));
            let all = offset(&info, "master_repl_offset:");
            if heard.filter_map(|heard| heard.parse().ok()).any(|heard: u64| Some(heard) == all) {
                return;
            }
            sleep(LOOK).await;
        }
    }

    /// The master dies for good, and a replica takes its place with what it had heard of; what was still on its way is
    /// lost with the machines, which start again.
    pub(crate) async fn fail_over(&mut self) {
        self.master_mut().kill();
        let dead = self.master;
        let replicas = self.data.iter_mut().enumerate().filter(|(number, _)| *number != dead);
        futures::future::join_all(replicas.map(|(_, server)| server.restart())).await;
        for sentinel in &self.sentinels {
            eventually("the sentinel sees the replicas again", FAILOVER, async || {
                let of = ["SENTINEL", "REPLICAS", MASTER_NAME];
                let seen: Vec<HashMap<String, String>> = sentinel.command(&of).await.unwrap();
                check(seen.iter().all(|replica| replica["flags"] == "slave"), seen)
            })
            .await;
        }
        self.down_after(SHORT).await;
        self.master = self.promoted().await;
        // The next would be a fault that nobody has counted.
        self.down_after(LONG).await;
    }

    /// Which of the replicas is the master now.
    async fn promoted(&self) -> usize {
        self.find("a replica is promoted", async |number, server| {
            let info = server.command::<String>(&["INFO", "replication"]).await.unwrap_or_default();
            check(number != self.master && info.contains("role:master"), info)
        })
        .await
    }

    /// The first that is so, as soon as one is.
    async fn find(&self, what: &str, such: impl AsyncFn(usize, &RedisServer) -> Result<(), String>) -> usize {
        eventually(what, FAILOVER, async || {
            let mut seen = Vec::new();
            for (number, server) in self.data.iter().enumerate() {
                match such(number, server).await {
                    Ok(()) => return Ok(number),
                    Err(why) => seen.push(why),
                }
            }
            Err(seen)
        })
        .await
    }

    /// The master, the sentinel beside it and this pod are on one side, and all others on the other, which gets a master
    /// of its own. Then `meanwhile`, and there is one network again.
    pub(crate) async fn part(&mut self, number: usize, meanwhile: impl Future<Output = ()>) {
        self.down_after(SHORT).await;
        let [master, sentinel] = addresses(self.master);
        self.network.part(HashSet::from([master, sentinel, address_of_pod(number)]));
        self.promoted().await;
        self.down_after(LONG).await;
        meanwhile.await;
        self.network.heal();
        self.master = self.find("all follow one master", async |_, server| server.followed(2).await).await;
    }

    /// How long nothing may be heard of a server before sentinels act.
    async fn down_after(&self, ms: &str) {
        for sentinel in &self.sentinels {
            let set = ["SENTINEL", "SET", MASTER_NAME, "down-after-milliseconds", ms];
            sentinel.command::<()>(&set).await.unwrap();
        }
    }

    fn replicas(&self) -> impl Iterator<Item = &RedisServer> {
        let others = self.data.iter().enumerate().filter(|(number, _)| *number != self.master);
        others.map(|(_, server)| server)
    }
}

async fn replication(server: &RedisServer) -> String {
    server.command(&["INFO", "replication"]).await.unwrap()
}

fn offset(info: &str, name: &str) -> Option<u64> {
    info.lines().find_map(|line| line.strip_prefix(name)?.trim_end().parse().ok())
}
