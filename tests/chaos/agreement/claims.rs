//! Who led when, by the words of those who did.

use std::time::Duration;

use serde_json::Value;
use tests::agreement::{Claim, Win};

/// From the log of one process: each time that it knew of its lease that it holds.
pub(super) fn claims(process: &str, log: &str) -> (Vec<Win>, Vec<Claim>) {
    let (mut wins, mut claims) = (Vec::<Win>::new(), Vec::new());
    for line in log.lines().filter(|line| line.contains(r#""may act""#)) {
        // The last line of one that was killed may be half of one.
        let Some((term, nonce, [from, until, now])) = parsed(line) else { continue };
        let process = process.to_owned();
        if wins.last().is_none_or(|win| win.nonce != nonce) {
            let (process, nonce) = (process.clone(), nonce.clone());
            wins.push(Win { process, term, nonce, invoked: from, ok: now });
        }
        claims.push(Claim { process, term, nonce, from, until });
    }
    (wins, claims)
}

fn parsed(line: &str) -> Option<(u64, String, [Duration; 3])> {
    let line: Value = serde_json::from_str(line).ok()?;
    let fields = line.get("fields").unwrap_or(&line);
    let time = |name: &str| Some(Duration::from_micros(fields[name].as_u64()?));
    let nonce = fields["nonce"].as_str()?.to_owned();
    Some((fields["term"].as_u64()?, nonce, [time("from_us")?, time("until_us")?, time("now_us")?]))
}
