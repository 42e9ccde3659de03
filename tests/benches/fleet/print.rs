//! Figures beside their targets.

use tests::bench::{Target, Words, at, judged};

use crate::fleet::{Fleet, Rest};
use crate::messages::Rate;

pub(crate) fn discovery(fleet: &Fleet) {
    let Fleet { pods, started, discovered, .. } = fleet;
    println!("\n{} sidecars, messages sealed as by the operator {:>25}   target", pods.len(), "figure");
    judged("all were up after", started.as_secs_f64(), "s", Target::None);
    judged("each listed all after another", discovered.as_secs_f64(), "s", Target::None);
}

pub(crate) fn rest(rest: &Rest) {
    let Rest { pods, millicores, rss_mb, rss_max_mb, commands } = rest;
    println!("at rest, {pods} sidecars");
    judged("  CPU of one", millicores.pod, "millicores", Target::None);
    judged("  RSS of one", *rss_mb, "MB", Target::AtMost(10.0));
    judged("  RSS of the largest", *rss_max_mb, "MB", Target::AtMost(10.0));
    judged("  CPU of Redis", millicores.redis, "millicores", Target::None);
    judged("  commands of Redis", *commands, "per s", Target::None);
}

fn of(words: &Words, name: &str) -> f64 {
    words.get(name).copied().unwrap_or(f64::NAN)
}

pub(crate) fn spread(words: &Words) {
    println!("{:.0} invalidations, until the last pod's app has heard each", of(words, "rounds"));
    judged("  p50", of(words, "p50"), "ms", Target::None);
    judged("  p99", of(words, "p99"), "ms", Target::AtMost(50.0));
    judged("  max", of(words, "max"), "ms", Target::None);
    judged("  not heard", of(words, "lost"), "", Target::AtMost(0.0));
}

pub(crate) fn rate(rate: &Rate, wanted: u32) {
    let Rate { pods, talk, lost, lost_to_apps, gaps, resyncs, listeners, .. } = rate;
    println!("much is told, to {pods} sidecars and to the apps of {listeners}");
    judged("  told", of(&talk.told, "rate"), "per s", Target::AtLeast(0.99 * f64::from(wanted)));
    judged("  refused", of(&talk.told, "refused"), "", Target::AtMost(0.0));
    judged("  lost, of what all sidecars were to hear", *lost, "", Target::AtMost(0.0));
    judged("  lost, of what all apps were to hear", *lost_to_apps, "", Target::AtMost(0.0));
    judged("  passed over without a word", of(&talk.heard, "skipped"), "", Target::AtMost(0.0));
    judged("  gaps that apps were told of", of(&talk.heard, "gaps"), "", Target::None);
    judged("  gaps, by all sidecars", *gaps, "", Target::None);
    judged("  resyncs, by all sidecars", *resyncs, "", Target::None);
    for part in ["p50", "p99", "max"] {
        judged(&format!("  from telling to an app, {part}"), of(&talk.heard, part), "ms", Target::None);
    }
    let Rate { millicores, rss_mb, rss_max_mb, .. } = rate;
    judged("  CPU of one sidecar", millicores.pod, "millicores", Target::None);
    judged("  CPU of Redis", millicores.redis, "millicores", Target::None);
    judged("  RSS of one after it", *rss_mb, "MB", Target::None);
    judged("  RSS of the largest after it", *rss_max_mb, "MB", Target::None);
}

pub(crate) fn kills(mut took: Vec<f64>) {
    took.sort_by(f64::total_cmp);
    println!("{} leaders killed, until another acts", took.len());
    for (name, part) in [("  p50", 0.5), ("  p90", 0.9), ("  p99", 0.99)] {
        judged(name, at(&took, part), "ms", Target::None);
    }
    judged("  max", at(&took, 1.0), "ms", Target::AtMost(1000.0));
}
