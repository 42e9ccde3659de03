//! How long it takes until the last of many has heard what one of them invalidates.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::events::Events;
use crate::tell::request;
use crate::wire::{Connection, Times};
use crate::words::number;

const LONGEST: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) async fn spread(targets: &[String], rounds: usize) -> Result<()> {
    let (tell, mut heard) = mpsc::unbounded_channel();
    let open = try_join_all(targets.iter().map(|target| Events::open(target))).await?;
    println!("ready");
    for mut events in open {
        let tell = tell.clone();
        tokio::spawn(async move {
            while let Ok(event) = events.next().await {
                if let Some(round) = number(&event.data, r#""round-"#)
                    && tell.send((round, Instant::now())).is_err()
                {
                    break;
                }
            }
        });
    }
    let (mut lasts, mut lost) = (Times::default(), 0);
    for round in 0..rounds {
        let mut connection = Connection::open(&targets[round % targets.len()]).await?;
        let request = request("/v1/cache/invalidate", &format!(r#"{{"keys":["round-{round}"]}}"#));
        let start = Instant::now();
        ensure!(connection.ask(request.as_bytes()).await? == 202, "it was not invalidated");
        let (mut count, mut last) = (0, start);
        while count < targets.len() {
            let Ok(one) = timeout(LONGEST, heard.recv()).await else { break };
            let (of, at) = one.context("all streams have ended")?;
            // What came too late in a round before is lost there.
            if of == round as u64 {
                (count, last) = (count + 1, at);
            }
        }
        lost += targets.len() - count;
        lasts.took(last - start);
        sleep(PAUSE).await;
    }
    println!("rounds={rounds} lost={lost} {}", lasts.words());
    Ok(())
}
