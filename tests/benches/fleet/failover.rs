//! A leader is killed, and another acts: how long that takes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;
use tests::eventually::{check, eventually};
use tests::redis::RedisServer;

use crate::fleet::Fleet;

const LONGEST: Duration = Duration::from_secs(30);
const LEASE: &str = "{hyperpage:coord}:lease";

/// From each kill to the first answer of another sidecar that it leads, in ms.
pub(crate) async fn kills(fleet: &mut Fleet, redis: &RedisServer, kills: usize) -> Result<Vec<f64>> {
    let mut took = Vec::new();
    for _ in 0..kills {
        let (leader, term) = leading(fleet, redis, 0).await?;
        let start = Instant::now();
        fleet.pods[leader].kill();
        leading(fleet, redis, term).await?;
        took.push(start.elapsed().as_secs_f64() * 1e3);
        fleet.replace(leader, redis).await?;
    }
    Ok(took)
}

/// Which leads, by its own words, under a term above `before`; the lease says whom to ask.
async fn leading(fleet: &Fleet, redis: &RedisServer, before: u64) -> Result<(usize, u64)> {
    let mut connection = redis.connection().await?;
    let found = eventually("somebody leads", LONGEST, async || {
        loop {
            let record: Option<String> =
                ::redis::cmd("GET").arg(LEASE).query_async(&mut connection).await.ok().flatten();
            let record: Option<Value> = record.and_then(|record| serde_json::from_str(&record).ok());
            let named =
                record.and_then(|record| Some((record["id"].as_str()?.to_owned(), record["term"].as_u64()?)));
            let Some((id, term)) = named.filter(|(_, term)| *term > before) else {
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            };
            let pod = id.trim_start_matches("pod-").parse::<usize>().map_err(|error| error.to_string())?;
            let told = fleet.pods[pod].app.get("/v1/leader").await.json();
            return check(told["isLeader"] == true && told["term"] == term, told).map(|()| (pod, term));
        }
    });
    Some(found.await).context("a leader")
}
