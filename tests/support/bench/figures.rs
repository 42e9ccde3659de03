//! Figures: as programs say them, and as people are told.

use std::collections::HashMap;

use anyhow::Result;

/// What a program says in `name=value` words.
pub type Words = HashMap<String, f64>;

pub fn words(line: &str) -> Result<Words> {
    let pairs = line.split_whitespace().filter_map(|word| word.split_once('='));
    pairs.map(|(name, value)| Ok((name.to_owned(), value.parse()?))).collect()
}

/// Of the rounds that have it.
pub fn median(rounds: &[Words], metric: &str) -> Option<f64> {
    let mut values: Vec<f64> = rounds.iter().filter_map(|round| round.get(metric).copied()).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().checked_sub(1)? / 2).copied()
}

/// The one that this part of them does not exceed.
pub fn at(sorted: &[f64], part: f64) -> f64 {
    let place = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(place.max(1) - 1).copied().unwrap_or_default()
}

pub fn show(value: Option<f64>, digits: usize) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
}

/// What the design asks for.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    AtMost(f64),
    AtLeast(f64),
    None,
}

/// A figure beside its target, marked where it misses it.
pub fn judged(what: &str, value: f64, unit: &str, target: Target) {
    let (target, missed) = match target {
        Target::AtMost(most) => (format!("<= {most} {unit}"), value > most),
        Target::AtLeast(least) => (format!(">= {least} {unit}"), value < least),
        Target::None => ("none".to_owned(), false),
    };
    let digits = match value.abs() {
        _ if value.fract() == 0.0 => 0,
        small if small < 10.0 => 2,
        _ => 1,
    };
    let mark = if missed { "  MISSED" } else { "" };
    line(what, format!("{value:.digits$} {unit}").trim(), &format!("{}{mark}", target.trim()));
}

pub fn line(what: &str, figure: &str, target: &str) {
    println!("{what:54} {figure:>16}   {target}");
}
