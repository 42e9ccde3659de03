//! Tables, and the targets beside the figures.

use anyhow::{Context, Result};
use tests::bench::{self, Effort, Target, judged, program, show, version};
use tests::binaries::workspace;

use crate::Settings;
use crate::run::{ASK, Case, Figures, TELL};

pub(crate) fn describe(settings: &Settings) -> Result<()> {
    let Effort { bin, rounds, seconds, connections } = &settings.effort;
    bench::describe(&bin.join("hyperpage-sidecar"))?;
    let node = version(&program("node")?)?;
    println!("redis-rs {}, fred {}, node {node}, ioredis {}", locked("redis")?, locked("fred")?, ioredis()?);
    println!(
        "{connections} at the same time, the median of {rounds} rounds of {seconds} s each, in turns; the sidecars \
         seal what they say"
    );
    Ok(())
}

fn locked(name: &str) -> Result<String> {
    let lock = std::fs::read_to_string(workspace().join("Cargo.lock"))?;
    let rest = lock.split_once(&format!("name = \"{name}\"\nversion = \"")).map(|(_, rest)| rest);
    let version = rest.and_then(|rest| rest.split('"').next());
    version.map(str::to_owned).with_context(|| format!("no {name} in Cargo.lock"))
}

fn ioredis() -> Result<String> {
    let package = workspace().join("tests/benches/node/node_modules/ioredis/package.json");
    let package: serde_json::Value = serde_json::from_slice(&std::fs::read(package)?)?;
    Ok(package["version"].as_str().unwrap_or_default().to_owned())
}

fn name(case: Case) -> &'static str {
    match case {
        Case::TellSidecar => "ours: POST, another's SSE",
        Case::TellRedis => "PUBLISH by redis-rs",
        Case::TellFred => "PUBLISH by fred",
        Case::TellIoredis => "PUBLISH by Node + ioredis",
        Case::AskSidecar => "ours: GET /v1/leader",
        Case::AskFloor => "HTTP: axum + redis-rs",
        Case::AskNode => "HTTP: Node + ioredis",
        Case::ReadRedis => "GET of a key by redis-rs",
        Case::ReadFred => "GET of a key by fred",
    }
}

pub(crate) fn figures(settings: &Settings, figures: &Figures) {
    let rate = settings.rate;
    println!("\n{:28}as fast as it goes {:>32}{rate:6} per s", "", "");
    println!(
        "{:26} {:>8} {:>8} {:>9} {:>8} {:>6}   {:>8} {:>8} {:>6}",
        "from telling to hearing",
        "per s",
        "CPU us",
        "Redis us",
        "p50 ms",
        "lost",
        "p50 ms",
        "p99 ms",
        "lost"
    );
    for case in TELL {
        let of = |paced, metric, digits| show(figures.figure(case, paced, metric), digits);
        println!(
            "{:26} {:>8} {:>8} {:>9} {:>8} {:>6}   {:>8} {:>8} {:>6}{}",
            name(case),
            of(false, "rate", 0),
            of(false, "cpu", 1),
            of(false, "redis", 1),
            of(false, "p50", 3),
            of(false, "lost", 0),
            of(true, "p50", 3),
            of(true, "p99", 3),
            of(true, "lost", 0),
            refused(figures, case)
        );
    }
    println!(
        "\n{:26} {:>8} {:>8} {:>9} {:>8} {:>6}   {:>8} {:>8}",
        "who leads", "per s", "CPU us", "p50 ms", "p99 ms", "", "p50 ms", "p99 ms"
    );
    for case in ASK {
        let of = |paced, metric, digits| show(figures.figure(case, paced, metric), digits);
        println!(
            "{:26} {:>8} {:>8} {:>9} {:>8} {:>6}   {:>8} {:>8}{}",
            name(case),
            of(false, "rate", 0),
            of(false, "cpu", 1),
            of(false, "p50", 3),
            of(false, "p99", 3),
            "",
            of(true, "p50", 3),
            of(true, "p99", 3),
            refused(figures, case)
        );
    }
    println!(
        "CPU: of all that take part but Redis, for each message; of whoever answers, or of a client that reads"
    );
    targets(figures);
}

fn refused(figures: &Figures, case: Case) -> String {
    let refused = [false, true].map(|paced| figures.figure(case, paced, "refused").unwrap_or_default());
    let refused = refused[0] + refused[1];
    if refused > 0.0 { format!("  {refused:.0} refused") } else { String::new() }
}

fn targets(figures: &Figures) {
    println!("\n{:54} {:>16}   target", "", "figure");
    let of = |case, paced, metric| figures.figure(case, paced, metric).unwrap_or(f64::NAN);
    let ours = Case::TellSidecar;
    judged("messages of one pod", of(ours, false, "rate").round(), "per s", Target::AtLeast(1000.0));
    judged("messages lost", of(ours, false, "lost") + of(ours, true, "lost"), "", Target::AtMost(0.0));
    judged("from telling to hearing, p99", of(ours, true, "p99"), "ms", Target::AtMost(50.0));
    for (other, what) in
        [(Case::TellRedis, "redis-rs"), (Case::TellFred, "fred"), (Case::TellIoredis, "Node + ioredis")]
    {
        let ratio = |paced, metric| of(ours, paced, metric) / of(other, paced, metric);
        judged(&format!("messages per s, of {what}"), ratio(false, "rate"), "x", Target::None);
        judged(&format!("p50 from telling to hearing, of {what}"), ratio(true, "p50"), "x", Target::None);
    }
    for other in [Case::AskFloor, Case::AskNode, Case::ReadRedis, Case::ReadFred] {
        let ratio = of(Case::AskSidecar, false, "rate") / of(other, false, "rate");
        judged(&format!("GET /v1/leader: rate, of {}", name(other)), ratio, "x", Target::None);
    }
}
