//! The lease in a Redis: what `take.lua` and `keep.lua` do, for time that only passes when a test says so.

use super::*;

/// What of the scripts is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Scripted {
    pub(super) term_by_time: bool,
    pub(super) checks_nonce: bool,
    /// What is planted where nothing is says by whom.
    pub(super) plants_nonce: bool,
}

pub(super) const SOUND: Scripted = Scripted { term_by_time: true, checks_nonce: true, plants_nonce: true };

/// Whether it is done; the lease is then as it was written.
pub(super) fn act(
    lease: &mut Option<Lease>,
    action: &Action,
    candidate: &Candidate,
    time_us: i64,
    scripted: Scripted,
) -> bool {
    let written = match action {
        Action::Plant { nonce } if lease.is_none() => {
            let words = if scripted.plants_nonce { nonce.as_str() } else { "nobody" };
            *lease = Some(Lease { bytes: words.into(), record: None });
            return true;
        }
        Action::Take { expected, nonce, least } if lease.as_ref() == Some(expected) => {
            let time = if scripted.term_by_time { time_us.unsigned_abs() } else { 0 };
            Some(Record {
                nonce: nonce.clone(),
                id: candidate.id.clone(),
                term: time.max(*least),
                beat: 0,
                resigned: false,
            })
        }
        Action::Keep(record) | Action::Resign(record) => {
            let resigned = matches!(action, Action::Resign(_));
            let there = lease.as_ref().and_then(|lease| lease.record.as_ref());
            let own = there.filter(|there| {
                (&there.nonce, there.term, there.resigned) == (&record.nonce, record.term, false)
            });
            let beat = own.map(|own| own.beat).or((!scripted.checks_nonce).then_some(record.beat));
            beat.map(|beat| Record { beat: beat + 1, resigned, ..record.clone() })
        }
        _ => None,
    };
    let done = written.is_some();
    if let Some(record) = written {
        // The record stands for its bytes.
        *lease = Some(Lease { bytes: Vec::new(), record: Some(record) });
    }
    done
}
