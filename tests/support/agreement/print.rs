//! A history as lines, in the order of time.

use std::path::PathBuf;
use std::time::Duration;

use super::{Fault, History, Published, Told, Violation, Win};
use crate::binaries::keep;

impl History {
    /// Writes what was seen, and what was wrong with it.
    pub fn save(&self, name: &str, found: &[Violation]) -> PathBuf {
        let mut lines: Vec<(Duration, String)> = Vec::new();
        for Fault { name, begun, ended, happened } in &self.faults {
            let happened = if *happened { "" } else { ", did not happen" };
            lines.push((*begun, format!("fault: {name}{happened}")));
            lines.push((*ended, format!("fault: {name} is over")));
        }
        for Win { process, term, nonce, invoked, ok } in &self.wins {
            lines.push((*ok, format!("{process} won term {term} as {nonce}, asked at {}", ms(*invoked))));
        }
        for Published { id, position, to, invoked, ok } in &self.published {
            let to = to.as_deref().unwrap_or("all");
            lines.push((*ok, format!("{id} told {to}: {position}, asked at {}", ms(*invoked))));
        }
        for (app, listener) in &self.heard {
            lines.push((listener.from, format!("{app} begins to listen")));
            lines
                .extend(listener.told.iter().map(|Told { at, what }| (*at, format!("{app} hears {what:?}"))));
        }
        for barrier in &self.barriers {
            lines.push((barrier.ok, format!("all have dropped what was before: {barrier:?}")));
        }
        lines.sort();
        let mut text: String = found.iter().map(|violation| format!("{violation}\n")).collect();
        text.extend(lines.into_iter().map(|(at, line)| format!("{} {line}\n", ms(at))));
        keep(&format!("agreement-{name}.txt"), &text)
    }
}

fn ms(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64() * 1000.0)
}
