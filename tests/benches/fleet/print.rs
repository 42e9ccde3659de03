//! Figures beside their targets.

use crate::fleet::{Fleet, Rest};

pub(crate) fn discovery(fleet: &Fleet) {
    let Fleet { pods, started, discovered, .. } = fleet;
    println!("{} sidecars were up after {:.1} s", pods.len(), started.as_secs_f64());
    println!("each listed all {:.1} s later", discovered.as_secs_f64());
}

pub(crate) fn rest(rest: &Rest) {
    let Rest { pods, millicores, redis_millicores, rss_mb, rss_max_mb, commands } = rest;
    println!("at rest, {pods} sidecars");
    println!("  CPU of one     {millicores:.1} millicores");
    println!("  RSS of one     {rss_mb:.1} MB, at most {rss_max_mb:.1}  (coordination: < 10 MB a pod)");
    println!("  CPU of Redis   {redis_millicores:.0} millicores, {commands:.0} commands a second");
}

pub(crate) fn kills(mut took: Vec<f64>) {
    took.sort_by(f64::total_cmp);
    let at = |part: f64| {
        took.get(((took.len() as f64 * part).ceil() as usize).max(1) - 1).copied().unwrap_or_default()
    };
    println!("{} leaders killed, until another acts", took.len());
    println!(
        "  p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms  (max of 30: < 1000 ms)",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}
