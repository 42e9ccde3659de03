//! Looking through the keys of every node, a step at a time.

use std::time::Instant;

use super::link::{ATTEMPT, Link};
use super::{Error, Redis, Topology};

/// One of the servers that hold keys.
#[derive(Debug, Clone)]
pub(crate) struct Node(Link);

impl Redis {
    /// All that hold keys, or why they are not all known.
    pub(crate) fn nodes(&self) -> Result<Vec<Node>, Error> {
        let links = match &self.topology {
            Topology::Single(link) => Some(vec![link.clone()]),
            Topology::Cluster(cluster) => cluster.all(),
        };
        let unknown = || Error::unavailable("Redis not connected: the cluster does not cover all slots");
        Ok(links.ok_or_else(unknown)?.into_iter().map(Node).collect())
    }
}

impl Node {
    /// Keys from a cursor on, about as many, and the next cursor; 0 begins, and ends. A key may come twice.
    pub(crate) async fn scan(
        &self,
        cursor: u64,
        pattern: &str,
        count: usize,
    ) -> Result<(u64, Vec<Vec<u8>>), Error> {
        let mut commands = redis::pipe();
        commands.cmd("SCAN").arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(count);
        let answer = self.0.call(&commands, Instant::now() + ATTEMPT).await.map_err(|failed| failed.error)?;
        redis::from_redis_value(answer).map_err(|error| Error::Unexpected { reason: error.to_string() })
    }
}
