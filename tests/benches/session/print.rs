//! Tables, and the targets beside the figures.

use anyhow::Result;
use tests::bench::{self, Effort, line, program, show, version};
use tests::redis::RedisServer;

use crate::Settings;
use crate::boot::Boot;
use crate::contender::Field;
use crate::contention::Contention;
use crate::memory::Weight;
use crate::outage::Outage;
use crate::speed::{CASES, Case, Pace, Speed};

pub(crate) async fn describe(settings: &Settings, field: &Field, redis: &RedisServer) -> Result<()> {
    let Effort { bin, rounds, seconds, connections } = &settings.effort;
    bench::describe(&bin.join("hyperpage-sidecar"))?;
    println!("node {}", version(&program("node")?)?);
    match &settings.daprd {
        Some(daprd) => println!("daprd {}", version(daprd)?),
        None => println!("without daprd: DAPRD=/path/to/daprd adds it"),
    }
    let size: u64 = redis.command(&["STRLEN", &format!("hyperpage:session:{}", field.ids[0])]).await?;
    println!(
        "{} sessions of {size} bytes, {connections} connections, the median of {rounds} rounds of {seconds} s each, \
         in turns; redis-server --save '' --appendonly no, node without NODE_ENV",
        settings.sessions,
    );
    Ok(())
}

fn name(case: Case) -> &'static str {
    match case {
        Case::ReadL1 => "GET ours, by L1",
        Case::ReadRedis => "GET ours, by Redis",
        Case::ReadFloor => "GET floor (bare axum + redis)",
        Case::ReadBare => "GET bare Node + ioredis",
        Case::ReadExpress => "GET express-session",
        Case::ReadDaprd => "GET daprd, state.redis",
        Case::Write => "PATCH ours",
        Case::WriteExpress => "PATCH express-session",
        Case::Benchmark => "GET redis-benchmark",
    }
}

pub(crate) fn speed(settings: &Settings, speed: &Speed) {
    println!(
        "\nclosed loop{:20} {:>9} {:>8} {:>8} {:>8} {:>8}",
        "", "per s", "CPU us", "p50 ms", "p99 ms", "RSS MB"
    );
    for case in CASES.into_iter().chain([Case::Benchmark]) {
        let of = |metric| speed.figure(case, Pace::Fast, metric);
        if of("rate").is_none() {
            continue;
        }
        let (rate, cpu, rss) = (show(of("rate"), 0), show(of("cpu"), 1), show(of("rss"), 1));
        println!(
            "{:31} {rate:>9} {cpu:>8} {:>8} {:>8} {rss:>8}{}",
            name(case),
            show(of("p50"), 3),
            show(of("p99"), 3),
            refused(of("refused")),
        );
    }
    for rate in &settings.rates {
        println!(
            "\nopen loop, {rate:6} per s{:8} {:>9} {:>8} {:>8} {:>8} {:>8}",
            "", "per s", "CPU us", "p50 ms", "p99 ms", "p99.9"
        );
        for case in CASES {
            let of = |metric| speed.figure(case, Pace::Open(*rate), metric);
            if of("rate").is_none() {
                continue;
            }
            println!(
                "{:31} {:>9} {:>8} {:>8} {:>8} {:>8}{}",
                name(case),
                show(of("rate"), 0),
                show(of("cpu"), 1),
                show(of("p50"), 3),
                show(of("p99"), 3),
                show(of("p999"), 3),
                refused(of("refused")),
            );
        }
    }
}

fn refused(count: Option<f64>) -> String {
    match count {
        Some(count) if count > 0.0 => format!("  {count:.0} refused: does not count"),
        Some(_) | None => String::new(),
    }
}

pub(crate) fn contention(all: &[Contention]) {
    println!(
        "\n8 writers of one session, two pods {:>12} {:>8} {:>8} {:>8}",
        "acknowledged", "refused", "lost", "retries"
    );
    for Contention { name, acknowledged, refused, lost, retries } in all {
        let retries = retries.map_or("-".to_owned(), |retries| retries.to_string());
        println!("{name:34} {acknowledged:>12} {refused:>8} {lost:>8} {retries:>8}");
    }
}

pub(crate) fn boots(boots: &[Boot]) {
    println!();
    for Boot { name, ms } in boots {
        println!("start to first answer, {name:16} {ms:>8.0} ms");
    }
}

pub(crate) fn weight(weight: &Weight) {
    let Weight { sessions, one, each, made, read } = weight;
    println!("\n{sessions} sessions: MEMORY USAGE {one} bytes of one, {each:.0} bytes each in all of Redis");
    println!("the sidecar's RSS: {made:.1} MB when they were made, {read:.1} MB when all were read");
}

pub(crate) fn outages(all: &[Outage]) {
    for Outage { name, seconds, endings, acknowledged, lost, deleted, resurrected, clean } in all {
        println!("\nRedis gone {seconds} s under load, {name}:");
        println!(
            "  {acknowledged} updates acknowledged, {lost} lost; {deleted} sessions deleted, {resurrected} resurrected; \
             clean {:.1} s after Redis was back",
            clean.as_secs_f64()
        );
        let endings: Vec<String> =
            endings.iter().map(|(ending, count)| format!("{ending} {count}")).collect();
        println!("  {}", endings.join(", "));
    }
}

pub(crate) fn targets(settings: &Settings, speed: &Speed, weight: &Weight) {
    use Case::{
        Benchmark, ReadBare, ReadDaprd, ReadExpress, ReadFloor, ReadL1, ReadRedis, Write, WriteExpress,
    };
    let slow = Pace::Open(settings.rates.first().copied().unwrap_or_default());
    let of = |case, pace, metric| speed.figure(case, pace, metric);
    let ratio = |what: &str, metric, a, b, target: &str| {
        if let (Some(a), Some(b)) = (of(a, Pace::Fast, metric), of(b, Pace::Fast, metric)) {
            line(what, &format!("{:.2}x", a / b), target);
        }
    };
    let above = |what: &str, metric, target: &str| {
        if let (Some(a), Some(b)) = (of(ReadRedis, slow, metric), of(ReadFloor, slow, metric)) {
            line(what, &format!("{:+.3} ms", a - b), target);
        }
    };
    println!("\n{:54} {:>10}   target", "", "figure");
    ratio("by Redis: rate, of the floor", "rate", ReadRedis, ReadFloor, ">= 0.8x");
    ratio("by Redis: CPU per request, of the floor", "cpu", ReadRedis, ReadFloor, "<= 1.3x");
    above("by Redis, lowest rate: p50 above the floor", "p50", "<= 0.1 ms");
    above("by Redis, lowest rate: p99 above the floor", "p99", "<= 0.5 ms");
    ratio("by L1: rate, of the floor", "rate", ReadL1, ReadFloor, ">= 1.6x");
    ratio("by L1: CPU per request, of the floor", "cpu", ReadL1, ReadFloor, "<= 0.7x");
    ratio("by Redis: rate, of express-session", "rate", ReadRedis, ReadExpress, ">= 8x");
    ratio("by Redis: rate, of bare Node + ioredis", "rate", ReadRedis, ReadBare, ">= 1.5x");
    ratio("by Redis: rate, of daprd", "rate", ReadRedis, ReadDaprd, ">= 3x");
    ratio("by L1: rate, of express-session", "rate", ReadL1, ReadExpress, ">= 15x");
    ratio("by L1: rate, of bare Node + ioredis", "rate", ReadL1, ReadBare, ">= 3x");
    ratio("by L1: rate, of daprd", "rate", ReadL1, ReadDaprd, ">= 6x");
    ratio("by Redis: rate, of redis-benchmark", "rate", ReadRedis, Benchmark, "none: no HTTP there");
    ratio("PATCH: rate, of express-session", "rate", Write, WriteExpress, "none");
    let value = |what: &str, value: Option<f64>, unit: &str, target: &str| {
        if let Some(value) = value {
            line(what, &format!("{value:.1} {unit}"), target);
        }
    };
    value("PATCH at the lowest rate: p99", of(Write, slow, "p99"), "ms", "< 10 ms");
    value("RSS without L1, under load", of(ReadRedis, Pace::Fast, "rss"), "MB", "<= 10 MB");
    line("a default session in Redis (MEMORY USAGE)", &format!("{} B", weight.one), "< 1024 B");
}
