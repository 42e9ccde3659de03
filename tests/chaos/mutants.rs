//! One rule of the product broken at a time: the checker that passes the product must catch each, and soon.

use redis::Script;
use sidecar::session::{Error, Rules};
use tests::history::{Rule, check, rules};

use crate::run::run;
use crate::sound::seeds;

const WRITE: &str = include_str!("../../sidecar/src/session/write.lua");
const TOUCH: &str = include_str!("../../sidecar/src/session/touch.lua");

/// Caught by one of `by` within five pinned seeds, or the checker is blind.
async fn caught(mutant: Rules, by: &[Rule]) {
    let seeds = seeds(&[1, 2, 3, 4, 5]);
    for (runs, seed) in seeds.iter().enumerate() {
        let found = rules(&check(&run(*seed, mutant.clone()).await));
        if by.iter().any(|rule| found.contains(rule)) {
            println!("caught in run {} by {found:?}", runs + 1);
            return;
        }
    }
    panic!("not caught in {} runs, seeds {seeds:?}", seeds.len());
}

/// `script` with the line that contains `rule` replaced; the line must be there, or the mutant is none.
fn without(script: &str, rule: &str, instead: &str) -> Script {
    let line = script.lines().find(|line| line.contains(rule) && !line.starts_with("--"));
    let line = line.unwrap_or_else(|| panic!("no line holds {rule}:\n{script}"));
    Script::new(&script.replace(line, instead))
}

fn mutant(change: impl FnOnce(&mut Rules)) -> Rules {
    let mut rules = Rules::default();
    change(&mut rules);
    rules
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_without_compare_and_set_is_caught() {
    let mutant = mutant(|rules| rules.scripts.write = without(WRITE, "sha1hex", ""));
    caught(mutant, &[Rule::Lost, Rule::Fork, Rule::Edge]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_that_creates_on_update_is_caught() {
    let mutant = mutant(|rules| rules.scripts.write = without(WRITE, "'MISSING'", ""));
    caught(mutant, &[Rule::Resurrection]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_without_a_tombstone_is_caught() {
    let mutant = mutant(|rules| rules.scripts.write = without(WRITE, "'DELETED'", ""));
    caught(mutant, &[Rule::Resurrection]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_that_makes_what_it_touches_is_caught() {
    let make = r#"if not bytes then bytes = '{"log":[]}' redis.call('SET', KEYS[1], bytes) end"#;
    let mutant = mutant(|rules| rules.scripts.touch = without(TOUCH, "'MISSING'", make));
    caught(mutant, &[Rule::Resurrection]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_that_writes_without_a_deadline_is_caught() {
    let mutant = mutant(|rules| rules.scripts.write = without(WRITE, "'LATE'", ""));
    caught(mutant, &[Rule::Late, Rule::Ghost]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_that_says_401_on_an_error_is_caught() {
    let mutant = mutant(|rules| rules.read_failed = |_| Error::NotFound);
    caught(mutant, &[Rule::FalseAbsence]).await;
}
