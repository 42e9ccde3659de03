//! Every mutant: a name, and which of the product's rules is another by it.

use std::time::Duration;

use redis::Script;
use sidecar::leader::Term;
use sidecar::redis::Wait;
use sidecar::rules::Rules;
use sidecar::session::{self, Error};

const WRITE: &str = include_str!("../../../sidecar/src/session/write.lua");
const TOUCH: &str = include_str!("../../../sidecar/src/session/touch.lua");

/// Whether there is one of that name.
pub(crate) fn replace(rules: &mut Rules, name: &str) -> bool {
    of_sessions(&mut rules.sessions, name)
        || of_leaders(&mut rules.coordination.leader, name)
        || of_messages(&mut rules.coordination.bus, name)
        || of_pods(&mut rules.coordination.pods, name)
}

fn of_messages(rules: &mut sidecar::bus::Rules, name: &str) -> bool {
    match name {
        "no-gap-check" => rules.gap_check = false,
        "one-life" => rules.lives = false,
        "told-unconfirmed" => rules.confirmed = false,
        "twice" => rules.dedupe = false,
        "no-fence" => rules.fence = false,
        _ => return false,
    }
    true
}

fn of_pods(rules: &mut sidecar::pods::Rules, name: &str) -> bool {
    match name {
        "no-self-fence" => rules.self_fence = false,
        "lease-unconfirmed" => rules.replicated = false,
        _ => return false,
    }
    true
}

fn of_leaders(rules: &mut sidecar::leader::Rules, name: &str) -> bool {
    match name {
        "terms-counted" => {
            rules.term = Term::Counted;
            let counted = "local term = tonumber(ARGV[4])";
            rules.scripts.take =
                rules.scripts.take.replace(line(&rules.scripts.take, "math.max"), counted).into();
        }
        "renews-any" => {
            let any = "if type(lease) == 'string' then";
            let beat = r#"local beat = string.match(lease, '"beat":(%d+)')"#;
            let keep = rules.scripts.keep.replace(line(&rules.scripts.keep, "== ARGV[2] then"), any);
            rules.scripts.keep = keep.replace(line(&keep, "string.match(lease"), beat).into();
        }
        "validity-unchecked" => rules.validity_checked = false,
        _ => return false,
    }
    true
}

fn of_sessions(rules: &mut session::Rules, name: &str) -> bool {
    match name {
        "no-compare-and-set" => rules.scripts.write = without(WRITE, "sha1hex", ""),
        "create-on-update" => rules.scripts.write = without(WRITE, "'MISSING'", ""),
        "no-tombstone" => rules.scripts.write = without(WRITE, "'DELETED'", ""),
        "touch-creates" => {
            let make = r#"if not bytes then bytes = '{}' redis.call('SET', KEYS[1], bytes) end"#;
            rules.scripts.touch = without(TOUCH, "'MISSING'", make);
        }
        "no-deadline" => rules.scripts.write = without(WRITE, "'LATE'", ""),
        "absent-on-error" => rules.read_failed = |_| Error::NotFound,
        "absent-in-window" => rules.unproven_in_window = false,
        "replay-over-what-was-known" => rules.replay_checks_base = false,
        "replay-twice" => rules.replay_once = false,
        "journal-if-match" => rules.journal_conditional = true,
        "repair-by-version" => rules.repair_by_digest = false,
        "count-from-info" => rules.wait = Wait::AsInfoCounts,
        "wait-elsewhere" => rules.wait = Wait::OnAnotherConnection,
        "no-null-flush" => rules.coherence.flush_on_null = false,
        "own-writes-unnoticed" => rules.coherence.bump_on_own_write = false,
        "no-lease" => rules.coherence.lease_checked = false,
        "no-trailing-read" => {
            rules.scripts.write = without(WRITE, "'STRLEN'", "");
            rules.scripts.touch = without(TOUCH, "return {'OK'", "return {'OK', left, bytes, 0}");
        }
        // No mutant: what a tombstone would hide comes to light within a run.
        "short-tombstone" => rules.tombstone = |_journaled| Duration::from_millis(1500),
        _ => return false,
    }
    true
}

/// `script` with the line that contains `rule` replaced; the line must be there, or the mutant is none.
fn without(script: &str, rule: &str, instead: &str) -> Script {
    Script::new(&script.replace(line(script, rule), instead))
}

fn line<'a>(script: &'a str, rule: &str) -> &'a str {
    let line = script.lines().find(|line| line.contains(rule) && !line.starts_with("--"));
    line.expect("the script holds the rule that the mutant breaks")
}
