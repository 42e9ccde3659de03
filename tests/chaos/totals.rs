//! What many runs did, in figures.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use tests::history::{Action, Answer, Event, History, Outcome, Rule, Violation};

use crate::judge::{Judged, percent};
use crate::nemesis::{CALLS, FAULTS};

#[derive(Debug, Default)]
pub(crate) struct Totals {
    runs: usize,
    calls: BTreeMap<&'static str, BTreeMap<&'static str, usize>>,
    faults: BTreeMap<&'static str, OfFault>,
    /// Steps from one version to the next with more than one write, and how many these were.
    batches: usize,
    batched: usize,
}

#[derive(Debug, Default)]
struct OfFault {
    struck: usize,
    noticed: usize,
    /// Calls to the pods that it befell, while it lasted.
    calls: usize,
    acknowledged: usize,
}

impl Totals {
    fn add(&mut self, history: &History) {
        self.runs += 1;
        for event in history.events.iter().filter(|event| is_call(event)) {
            *self.calls.entry(event.action.label()).or_default().entry(event.outcome.label()).or_default() +=
                1;
        }
        let mut steps: BTreeMap<_, usize> = BTreeMap::new();
        for event in history.events.iter().filter(|event| event.op().is_some()) {
            let Some(Answer { base: Some(base), etag: Some(etag), .. }) = event.ok() else { continue };
            *steps.entry((event.session, base, etag)).or_default() += 1;
        }
        self.batches += steps.values().filter(|writes| **writes > 1).count();
        self.batched += steps.values().filter(|writes| **writes > 1).sum::<usize>();
        for fault in &history.faults {
            let of_it = self.faults.entry(fault.name).or_default();
            of_it.struck += 1;
            of_it.noticed += usize::from(!fault.effect.is_empty());
            let during = |event: &&Event| event.invoked < fault.ended && event.ended > fault.begun;
            let there = |event: &&Event| fault.pod.is_none_or(|pod| event.pod == pod);
            let calls = history.events.iter().filter(|event| is_call(event)).filter(during).filter(there);
            for event in calls {
                of_it.calls += 1;
                of_it.acknowledged += usize::from(event.ok().is_some());
            }
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { runs, calls, faults, batches, batched } = self;
        let all: usize = calls.values().flat_map(BTreeMap::values).sum();
        let acknowledged = |outcomes: &BTreeMap<&str, usize>| -> usize {
            ["ok", "journaled", "stale"].iter().filter_map(|label| outcomes.get(label)).sum()
        };
        let good: usize = calls.values().map(acknowledged).sum();
        writeln!(f, "{runs} runs, {all} calls, {} acknowledged", percent(good, all))?;
        writeln!(f, "  {batched} writes in {batches} batches")?;
        for (action, outcomes) in calls {
            let sum = outcomes.values().sum();
            let each: Vec<_> = outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
            let share = percent(acknowledged(outcomes), sum);
            writeln!(f, "  {action:<16} {sum:>7} calls, {share} acknowledged: {}", each.join(", "))?;
        }
        for (fault, OfFault { struck, noticed, calls, acknowledged }) in faults {
            let share = percent(*acknowledged, *calls);
            writeln!(
                f,
                "  {fault:<26} {struck:>4} times, {noticed} really happened: {calls} calls, {share} acknowledged"
            )?;
        }
        Ok(())
    }
}

impl Judged for History {
    type Violation = Violation;
    type Rule = Rule;
    type Totals = Totals;

    fn check(&self) -> Vec<Violation> {
        tests::history::check(self)
    }

    fn rule(violation: &Violation) -> Rule {
        violation.rule
    }

    /// Little is proved where little was done, or nothing broke.
    fn worth(&self) -> Result<String, String> {
        let calls: Vec<_> = self.events.iter().filter(|event| is_call(event)).collect();
        let good = calls.iter().filter(|event| matches!(event.outcome, Outcome::Ok(_))).count();
        let happened = self.faults.iter().filter(|fault| !fault.effect.is_empty()).count();
        let lost = self.faults.iter().any(|fault| fault.lost.is_some());
        let line =
            format!("{} calls, {} acknowledged, {happened} faults", calls.len(), percent(good, calls.len()));
        let enough = calls.len() >= CALLS && good * 2 >= calls.len() && (happened >= FAULTS || lost);
        if enough { Ok(line) } else { Err(format!("{line}: too little to prove anything")) }
    }

    fn add_to(&self, totals: &mut Totals) {
        totals.add(self);
    }

    fn save(&self, name: &str, found: &[Violation]) -> PathBuf {
        History::save(self, name, found)
    }
}

pub(crate) fn is_call(event: &Event) -> bool {
    !matches!(event.action, Action::Expire | Action::Foreign { .. })
}
