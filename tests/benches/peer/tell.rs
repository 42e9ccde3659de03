//! Tells at a pace, or as fast as it is taken; reads in the same way.

use anyhow::{Result, ensure};
use futures::future::try_join_all;

use crate::by::{Asker, By};
use crate::wire::{Connection, Pacing, Usage, print};
use crate::words::{END, payload, stamped};

pub(crate) async fn tell(by: By, targets: &[String], pacing: &Pacing) -> Result<()> {
    let before = Usage::of(std::process::id())?;
    let (seen, elapsed) = match by {
        By::Sidecar => {
            let all =
                (0..pacing.connections).map(|number| Connection::open(&targets[number % targets.len()]));
            let all = try_join_all(all).await?;
            let seen = pacing.run(all, async |connection, due| post(connection, &payload(due)).await).await?;
            let mut last = Connection::open(&targets[0]).await?;
            ensure!(post(&mut last, &stamped(END)).await?, "the end could not be told");
            seen
        }
        By::Redis | By::Fred => {
            let mut asker = Asker::open(by, &targets[0]).await?;
            let all = vec![asker.clone(); pacing.connections];
            let seen = pacing.run(all, async |asker, due| asker.publish(&payload(due)).await).await?;
            ensure!(asker.publish(&stamped(END)).await?, "nobody heard the end");
            seen
        }
    };
    print(seen, elapsed, Some((before, Usage::of(std::process::id())?)));
    Ok(())
}

async fn post(connection: &mut Connection, payload: &str) -> Result<bool> {
    let body = format!(r#"{{"type":"broadcast","payload":{payload}}}"#);
    Ok(connection.ask(request("/v1/messages", &body).as_bytes()).await? == 202)
}

pub(crate) fn request(path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

pub(crate) async fn read(by: By, target: &str, key: &str, pacing: &Pacing) -> Result<()> {
    let asker = Asker::open(by, target).await?;
    let before = Usage::of(std::process::id())?;
    let all = vec![asker; pacing.connections];
    let (seen, elapsed) = pacing.run(all, async |asker, _| asker.get(key).await).await?;
    print(seen, elapsed, Some((before, Usage::of(std::process::id())?)));
    Ok(())
}
