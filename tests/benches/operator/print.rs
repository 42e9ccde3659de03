//! What was measured, for people: a table, and each target beside its figure.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use tests::binaries::{kubernetes, output};

use crate::run::Row;
use crate::secrets::Secrets;
use crate::{SHAPES, Settings, Shape};

/// Of a Hyperpage as the bench writes it: one of each of eight kinds, a Service and a NetworkPolicy more, two Secrets.
const CHILDREN: usize = 12;

pub(crate) fn describe(settings: &Settings) -> Result<()> {
    let first = |path: &str, start: &str| -> String {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(start));
        line.unwrap_or_default().trim_start_matches([' ', '\t', ':']).to_owned()
    };
    let cores = std::thread::available_parallelism()?;
    let load = first("/proc/loadavg", "").split(' ').next().unwrap_or_default().to_owned();
    println!(
        "{cores} cores, {}, Linux {}, load {load} before",
        first("/proc/cpuinfo", "model name"),
        first("/proc/sys/kernel/osrelease", "")
    );
    let version = output(Command::new(&settings.binaries[0]).arg("--version"))?;
    let server = output(Command::new(kubernetes("kube-apiserver")).arg("--version"))?;
    println!("{}; {} and etcd on the same cores", version.trim(), server.trim());
    println!(
        "Hyperpages with autoscaling: {CHILDREN} children each, 10 to a namespace, there before the operator starts. The \
         bench itself\nsays that workloads run, and makes their 3 pods once all are Ready: no controllers, no kubelets."
    );
    println!(
        "naive: every reconcile applies every child (no fingerprint), and every watch keeps whole objects of all owners, \
         Secrets\ntoo; all else, such as 16 reconciles at a time and 250 ms of debounce, is as shipped."
    );
    Ok(())
}

pub(crate) fn table(rows: &[Row]) {
    println!();
    println!(
        "                    | cold start, until all Ready         | at rest     | restarted   | RSS, MB                | repaired, ms"
    );
    println!(
        "Hyperpages          |     s  per s  calls   CPU s  server | calls  ms/s | calls CPU s | settled   peak started |   p50   p99"
    );
    for row in rows {
        let each = |value: f64| match row.hyperpages {
            0 => String::from("-"),
            _ => format!("{value:.1}"),
        };
        let (count, seconds) = (row.hyperpages as f64, row.cold.as_secs_f64());
        println!(
            "{:>10} {:<8} |{:>6}{:>7}{:>7}{:>8.2}{:>8.1} |{:>6}{:>6.1} |{:>6}{:>6.2} |{:>8.1}{:>7.1}{:>8.1} |{:>6}{:>6}",
            row.hyperpages,
            row.shape,
            each(seconds),
            each(count / seconds),
            each(total(row) as f64 / count),
            row.cold_cpu_ms / 1000.0,
            row.server_cpu_ms / 1000.0,
            row.rest.requests,
            row.rest.cpu_ms_per_s,
            row.restart.requests,
            row.restart.cpu_ms / 1000.0,
            row.memory.rss,
            row.memory.peak.max(row.restart.memory.peak),
            row.restart.memory.rss,
            quantile(&row.repair, 50).map_or("-".to_owned(), ms),
            quantile(&row.repair, 99).map_or("-".to_owned(), ms),
        );
    }
}

/// What the columns mean, and the calls by what they were for the largest number.
pub(crate) fn calls(rows: &[Row]) {
    println!(
        "calls: for each Hyperpage, all but lists, watches and the Lease; CPU: the operator's, server: the API server's and etcd's;"
    );
    println!(
        "started: settled again after a restart; repaired: foreign edits of owned fields of five kinds, four at a time"
    );
    let most = rows.iter().map(|row| row.hyperpages).max().unwrap_or(0);
    for row in rows.iter().filter(|row| row.hyperpages == most && most > 0) {
        let each = |(what, count): (&&str, &usize)| format!("{} {what}", per(*count, most));
        let words: Vec<_> = row.calls.iter().map(each).collect();
        let (shape, pods, edits) = (row.shape, row.pods, row.repair.len());
        println!("{most} Hyperpages, {pods} pods, {edits} edits, {shape}: {}", words.join(", "));
    }
    println!();
}

pub(crate) fn secrets(settings: &Settings, all: &[Secrets]) {
    let mb = settings.secrets * settings.secret_kb / 1024;
    for it in all {
        println!(
            "{} foreign Secrets of {} KB ({mb} MB), {}: RSS {:.1} MB before, {:.1} with them, {:.1} (peak {:.1}) restarted",
            settings.secrets,
            settings.secret_kb,
            it.shape,
            it.before.rss,
            it.after.rss,
            it.restarted.rss,
            it.restarted.peak
        );
    }
}

pub(crate) fn targets(rows: &[Row], secrets: &[Secrets]) {
    println!("\n{:<58}{:>9}{:>12}   target", "", "shipped", "naive");
    let of = |shape: Shape| rows.iter().filter(move |row| row.shape == shape);
    let both = |figure: &dyn Fn(Shape) -> Option<f64>| SHAPES.map(figure);
    let settled = |row: &Row| row.memory.rss.max(row.restart.memory.rss);
    let at = |count: usize| move |row: &&Row| row.hyperpages == count;
    let most = rows.iter().map(|row| row.hyperpages).max().unwrap_or(0);
    line("RSS without a Hyperpage, MB", both(&|shape| of(shape).find(at(0)).map(settled)), 15.0, 1);
    line(
        &format!("RSS of {most} Hyperpages, settled or restarted, MB"),
        both(&|shape| of(shape).find(at(most)).map(settled)),
        50.0,
        1,
    );
    let calls = |row: &Row| total(row) as f64 / row.hyperpages as f64;
    let most_calls = |shape| of(shape).filter(|row| row.hyperpages > 0).map(calls).reduce(f64::max);
    line(
        &format!("calls per Hyperpage cold, {CHILDREN} children: 2 x children + 8"),
        both(&most_calls),
        (2 * CHILDREN + 8) as f64,
        2,
    );
    line(
        "requests at rest, most of any number",
        both(&|shape| of(shape).map(|row| row.rest.requests as f64).reduce(f64::max)),
        0.0,
        0,
    );
    line(
        "requests after a restart, most of any number",
        both(&|shape| of(shape).map(|row| row.restart.requests as f64).reduce(f64::max)),
        0.0,
        0,
    );
    let p99 = |row: &Row| quantile(&row.repair, 99).map(|time| time.as_secs_f64() * 1000.0);
    line(
        "a foreign edit repaired, p99 of the worst number, ms",
        both(&|shape| of(shape).filter_map(p99).reduce(f64::max)),
        1000.0,
        0,
    );
    let added = |it: &Secrets| it.after.rss.max(it.restarted.rss) - it.before.rss;
    line(
        "RSS added by foreign Secrets, MB (0, and 0.5 of noise)",
        both(&|shape| secrets.iter().find(|it| it.shape == shape).map(added)),
        0.5,
        1,
    );
}

/// The last column judges the shipped shape.
fn line(what: &str, figures: [Option<f64>; 2], target: f64, decimals: usize) {
    let [shipped, naive] =
        figures.map(|figure| figure.map_or("-".to_owned(), |it| format!("{it:.decimals$}")));
    let verdict = match figures[0] {
        None => "not measured",
        Some(figure) if figure <= target => "ok",
        Some(_) => "OVER",
    };
    println!("{what:<58}{shipped:>9}{naive:>12}   <= {target:<6} {verdict}");
}

fn total(row: &Row) -> usize {
    row.calls.values().sum()
}

fn per(count: usize, hyperpages: usize) -> String {
    let each = count as f64 / hyperpages as f64;
    if each.fract() == 0.0 { format!("{each:.0}") } else { format!("{each:.2}") }
}

fn quantile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied()
}

fn ms(time: Duration) -> String {
    time.as_millis().to_string()
}
