//! As fast as answers come, and at steady rates whose waits count from when a request was due (no coordinated
//! omission). Each server has its turn in each round, so that a noisy minute meets all of them.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tests::bench::{Server, Words, median, program};
use tests::progress::progress;
use tests::redis::RedisServer;

use crate::Settings;
use crate::contender::Field;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Case {
    ReadL1,
    ReadRedis,
    ReadFloor,
    ReadBare,
    ReadExpress,
    ReadDaprd,
    Write,
    WriteExpress,
    Benchmark,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Pace {
    Fast,
    /// Requests per second.
    Open(u32),
}

/// Of each metric the median over the rounds.
#[derive(Default)]
pub(crate) struct Speed(HashMap<(Case, Pace), Vec<Words>>);

impl Speed {
    pub(crate) fn figure(&self, case: Case, pace: Pace, metric: &str) -> Option<f64> {
        median(self.0.get(&(case, pace))?, metric)
    }
}

pub(crate) const CASES: [Case; 8] = [
    Case::ReadL1,
    Case::ReadRedis,
    Case::ReadFloor,
    Case::ReadBare,
    Case::ReadExpress,
    Case::ReadDaprd,
    Case::Write,
    Case::WriteExpress,
];

pub(crate) async fn measure(settings: &Settings, field: &Field, redis: &RedisServer) -> Result<Speed> {
    let mut speed = Speed::default();
    let mut paces = vec![Pace::Fast];
    paces.extend(settings.rates.iter().map(|rate| Pace::Open(*rate)));
    for round in 1..=settings.effort.rounds {
        progress(&format!("round {round} of {}", settings.effort.rounds));
        for case in CASES {
            let Some(server) = server(field, case) else { continue };
            let file = field.yard.path(&format!("{case:?}"));
            std::fs::write(&file, requests(field, case))?;
            for pace in &paces {
                let words = field.yard.load(server, &file, &settings.pacing(*pace))?;
                speed.0.entry((case, *pace)).or_default().push(words);
            }
        }
        let rate = benchmark(settings, redis, &field.ids[0])?;
        let rate = Words::from([("rate".to_owned(), rate)]);
        speed.0.entry((Case::Benchmark, Pace::Fast)).or_default().push(rate);
    }
    Ok(speed)
}

fn server(field: &Field, case: Case) -> Option<&Server> {
    match case {
        Case::ReadL1 => Some(&field.cached),
        Case::ReadRedis | Case::Write => Some(&field.uncached),
        Case::ReadFloor => Some(&field.floor),
        Case::ReadBare => Some(&field.bare),
        Case::ReadExpress | Case::WriteExpress => Some(&field.express),
        Case::ReadDaprd => field.daprd.as_ref(),
        Case::Benchmark => None,
    }
}

/// In the words of `load`: method, path, body and headers, a line for each session.
fn requests(field: &Field, case: Case) -> String {
    const CHANGE: &str = r#"{"uiState":{"dashboardLayout":"%N"}}"#;
    let mut text = String::new();
    let ids = || field.ids.iter();
    let mut line = |words: std::fmt::Arguments<'_>| {
        let _never_fails = writeln!(text, "{words}");
    };
    match case {
        Case::ReadL1 => ids().for_each(|id| line(format_args!("GET\t/v1/sessions/{id}\t"))),
        Case::ReadRedis => {
            ids().for_each(|id| line(format_args!("GET\t/v1/sessions/{id}\t\tCache-Control: no-cache")))
        }
        Case::ReadFloor | Case::ReadBare => ids().for_each(|id| line(format_args!("GET\t/sessions/{id}\t"))),
        Case::ReadDaprd => ids().for_each(|id| line(format_args!("GET\t/v1.0/state/store/dapr-{id}\t"))),
        Case::ReadExpress => {
            field.cookies.iter().for_each(|cookie| line(format_args!("GET\t/session\t\tCookie: {cookie}")));
        }
        Case::Write => ids().for_each(|id| {
            line(format_args!(
                "PATCH\t/v1/sessions/{id}\t{CHANGE}\tContent-Type: application/merge-patch+json"
            ));
        }),
        Case::WriteExpress => field.cookies.iter().for_each(|cookie| {
            line(format_args!("PATCH\t/session\t{CHANGE}\tContent-Type: application/json\tCookie: {cookie}"));
        }),
        Case::Benchmark => {}
    }
    text
}

fn benchmark(settings: &Settings, redis: &RedisServer, id: &str) -> Result<f64> {
    let mut command = Command::new(program("redis-benchmark")?);
    command.args(["-p", &redis.port().to_string(), "-c", &settings.effort.connections.to_string()]);
    command.args(["-n", "100000", "-q", "--csv", "GET", &format!("hyperpage:session:{id}")]);
    let csv = tests::binaries::output(&mut command)?;
    let last = csv.lines().rfind(|line| line.contains(',')).context("redis-benchmark said nothing")?;
    let rate = last.split(',').nth(1).context("no rate")?.trim_matches('"').parse()?;
    ensure!(rate > 0.0, "{csv}");
    Ok(rate)
}
