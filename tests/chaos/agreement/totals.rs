//! What many runs did, in figures.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use tests::agreement::{History, Rule, Violation, What};

use super::nemesis::FAULTS;
use super::run::Done;
use crate::judge::{Judged, percent};

pub(super) const CALLS: usize = 500;

#[derive(Debug, Default)]
pub(super) struct Totals {
    runs: usize,
    calls: BTreeMap<&'static str, BTreeMap<&'static str, usize>>,
    /// How often each was tried, and how often it really happened.
    faults: BTreeMap<&'static str, (usize, usize)>,
    elections: usize,
    effects: usize,
    told: usize,
    gaps: usize,
    resyncs: usize,
    barriers: usize,
    reads: usize,
}

impl Totals {
    fn add(&mut self, done: &Done) {
        let Done { history, calls, strange: _, led_after: _, applied: _ } = done;
        self.runs += 1;
        for ((operation, outcome), count) in calls {
            *self.calls.entry(operation).or_default().entry(outcome).or_default() += count;
        }
        for fault in &history.faults {
            let (tried, really) = self.faults.entry(fault.name).or_default();
            *tried += 1;
            *really += usize::from(fault.happened);
        }
        let told = |such: fn(&What) -> bool| {
            let all = history.heard.values().flat_map(|listener| &listener.told);
            all.filter(|told| such(&told.what)).count()
        };
        self.elections += history.wins.len();
        self.effects += history.effects.values().map(Vec::len).sum::<usize>();
        self.told += told(|what| matches!(what, What::Message { .. }));
        self.gaps += told(|what| matches!(what, What::Gap { .. }));
        self.resyncs += told(|what| matches!(what, What::Resync { .. }));
        self.barriers += history.barriers.len();
        self.reads += history.reads.len();
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { runs, calls, faults, elections, effects, told, gaps, resyncs, barriers, reads } = self;
        let all: usize = calls.values().flat_map(BTreeMap::values).sum();
        let good: usize = calls.values().map(acknowledged).sum();
        writeln!(f, "{runs} runs, {all} calls, {} acknowledged, {elections} elections", percent(good, all))?;
        writeln!(f, "  {told} messages told, {effects} of leaders, {gaps} gaps, {resyncs} resyncs")?;
        writeln!(f, "  {barriers} invalidations applied by all, {reads} reads from memory")?;
        for (operation, outcomes) in calls {
            let each: Vec<_> = outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
            let sum = outcomes.values().sum();
            let share = percent(acknowledged(outcomes), sum);
            writeln!(f, "  {operation:<16} {sum:>7} calls, {share} acknowledged: {}", each.join(", "))?;
        }
        for (fault, (tried, really)) in faults {
            writeln!(f, "  {fault:<26} {tried:>4} times, {really} really happened")?;
        }
        Ok(())
    }
}

impl Judged for Done {
    type Violation = Violation;
    type Rule = Rule;
    type Totals = Totals;

    fn check(&self) -> Vec<Violation> {
        tests::agreement::check(&self.history)
    }

    fn rule(violation: &Violation) -> Rule {
        violation.rule
    }

    fn worth(&self) -> Result<String, String> {
        let History { wins, claims, effects, barriers, reads, faults, .. } = &self.history;
        let happened = faults.iter().filter(|fault| fault.happened).count();
        let all: usize = self.calls.values().sum();
        let good: usize =
            self.calls.iter().filter(|((_, outcome), _)| is_good(outcome)).map(|(_, count)| count).sum();
        let said = format!(
            "{all} calls, {} acknowledged, {} barriers, {} reads, {happened} faults, {} elections, {} renewals, \
             a leader {} ms after",
            percent(good, all),
            barriers.len(),
            reads.len(),
            wins.len(),
            claims.len(),
            self.led_after.as_millis()
        );
        let of_each = !wins.is_empty() && !barriers.is_empty() && !reads.is_empty();
        let acted = effects.values().all(|effects| !effects.is_empty());
        let enough = all >= CALLS && good * 2 >= all && happened >= FAULTS && of_each && acted;
        match (enough, self.applied, self.strange.first()) {
            (_, _, Some(strange)) => Err(format!("{said}: {strange}")),
            (false, _, None) => Err(format!("{said}: too little to prove anything")),
            (true, false, None) => Err(format!("{said}: not all are told anything in the end")),
            (true, true, None) => Ok(said),
        }
    }

    fn add_to(&self, totals: &mut Totals) {
        totals.add(self);
    }

    fn save(&self, name: &str, found: &[Violation]) -> PathBuf {
        self.history.save(name, found)
    }
}

fn is_good(outcome: &str) -> bool {
    matches!(outcome, "ok" | "not by all")
}

fn acknowledged(outcomes: &BTreeMap<&'static str, usize>) -> usize {
    outcomes.iter().filter(|(outcome, _)| is_good(outcome)).map(|(_, count)| count).sum()
}
