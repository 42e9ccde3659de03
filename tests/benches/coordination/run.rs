//! All of them in turns, so that a noisy minute meets each.

use std::collections::HashMap;

use anyhow::{Context, Result};
use tests::bench::{Pacing, Peer, Server, Talk, Words, median};
use tests::process::cpu_ms;
use tests::progress::progress;

use crate::Settings;
use crate::contenders::{Field, KEY, PATH};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Case {
    TellSidecar,
    TellRedis,
    TellFred,
    TellIoredis,
    AskSidecar,
    AskFloor,
    AskNode,
    ReadRedis,
    ReadFred,
}

pub(crate) const TELL: [Case; 4] = [Case::TellSidecar, Case::TellRedis, Case::TellFred, Case::TellIoredis];
pub(crate) const ASK: [Case; 5] =
    [Case::AskSidecar, Case::AskFloor, Case::AskNode, Case::ReadRedis, Case::ReadFred];

/// Of each metric the median over the rounds; paced, or as fast as it goes.
#[derive(Default)]
pub(crate) struct Figures(HashMap<(Case, bool), Vec<Words>>);

impl Figures {
    pub(crate) fn figure(&self, case: Case, paced: bool, metric: &str) -> Option<f64> {
        median(self.0.get(&(case, paced))?, metric)
    }
}

pub(crate) async fn measure(settings: &Settings, field: &Field) -> Result<Figures> {
    let mut figures = Figures::default();
    let requests = [("/v1/leader", "leader"), (PATH, "key")].map(|(path, name)| {
        let file = field.yard.path(name);
        std::fs::write(&file, format!("GET\t{path}\t\n")).map(|()| file)
    });
    let [leader, key] = requests;
    let (leader, key) = (leader?, key?);
    for round in 1..=settings.effort.rounds {
        progress(&format!("round {round} of {}", settings.effort.rounds));
        for pacing in settings.paces() {
            for case in TELL.into_iter().chain(ASK) {
                let asked = |server: &Server, file| field.yard.load(server, file, &pacing);
                let words = match case {
                    Case::AskSidecar => asked(&field.pods[0], &leader)?,
                    Case::AskFloor => asked(&field.floor, &key)?,
                    Case::AskNode => asked(&field.node, &key)?,
                    Case::ReadRedis => read(field, "redis", &pacing).await?,
                    Case::ReadFred => read(field, "fred", &pacing).await?,
                    _ => tell(field, case, &pacing).await?,
                };
                figures.0.entry((case, pacing.rate.is_some())).or_default().push(words);
            }
        }
    }
    Ok(figures)
}

async fn read(field: &Field, by: &'static str, pacing: &Pacing) -> Result<Words> {
    Peer::ours(&field.yard, by).read(&field.redis.url(), KEY, pacing).await
}

/// The hearer's words; per message the CPU of all but Redis, and of Redis; and how many were not heard.
async fn tell(field: &Field, case: Case, pacing: &Pacing) -> Result<Words> {
    let (url, [one, other]) = (field.redis.url(), &field.pods);
    let (peer, from, to) = match case {
        Case::TellSidecar => {
            let peer = Peer::ours(&field.yard, "sidecar");
            (peer, one.address.to_string(), other.address.to_string())
        }
        Case::TellIoredis => (Peer::ioredis()?, url.clone(), url),
        Case::TellFred => (Peer::ours(&field.yard, "fred"), url.clone(), url),
        _ => (Peer::ours(&field.yard, "redis"), url.clone(), url),
    };
    let used = || -> Result<(f64, f64)> {
        let pods = cpu_ms(one.process.pid())? + cpu_ms(other.process.pid())?;
        Ok((pods, cpu_ms(field.redis.pid())?))
    };
    let before = used()?;
    let Talk { told, heard: mut words } = peer.talk(&field.yard, &[from], &[to], pacing).await?;
    let after = used()?;
    let of = |words: &Words, name: &str| words.get(name).copied().with_context(|| format!("no {name}"));
    let (count, heard) = (of(&told, "count")?, of(&words, "heard")?);
    let mut cpu = of(&told, "cpu")? + of(&words, "cpu")?;
    if case == Case::TellSidecar {
        cpu += (after.0 - before.0) * 1e3 / count;
    }
    words.insert("cpu".to_owned(), cpu);
    words.insert("redis".to_owned(), (after.1 - before.1) * 1e3 / count);
    words.insert("lost".to_owned(), count - heard);
    words.insert("refused".to_owned(), of(&told, "refused")?);
    Ok(words)
}
