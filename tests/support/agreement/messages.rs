//! What each process was told, and what it should have been.

use std::collections::HashSet;

use super::{History, Listener, Position, Published, Rule, What};

pub(super) fn check(history: &History, object: &mut impl FnMut(Rule, String)) {
    for (process, listener) in &history.heard {
        in_order(process, listener, object);
        for published in &history.published {
            arrived(process, listener, published, object);
        }
    }
}

fn in_order(process: &str, listener: &Listener, object: &mut impl FnMut(Rule, String)) {
    let mut last: Option<Position> = None;
    let mut missed = false;
    let mut ids = HashSet::new();
    for told in &listener.told {
        let What::Message { position, id } = &told.what else {
            missed = true;
            continue;
        };
        let Position { n, seq } = *position;
        if let Some(last) = last {
            if *position <= last {
                object(Rule::Order, format!("{process} was told {position:?} after {last:?}"));
            } else if !missed && (n != last.n || seq != last.seq + 1) {
                object(
                    Rule::Gap,
                    format!("{process} was told {position:?} after {last:?}, and nothing between"),
                );
            }
        }
        if !ids.insert(id) {
            object(Rule::Twice, format!("{process} was told {id} twice"));
        }
        last = last.max(Some(*position));
        missed = false;
    }
}

/// Or it was said later that something is missing.
fn arrived(process: &str, listener: &Listener, published: &Published, object: &mut impl FnMut(Rule, String)) {
    let Published { position, invoked, ok } = published;
    if *invoked < listener.from || *ok > listener.until {
        return;
    }
    let came = listener.told.iter().any(|told| match &told.what {
        What::Message { position: at, .. } => at == position,
        What::Missed => told.at >= *invoked,
    });
    if !came {
        object(Rule::Lost, format!("{process} was never told of {position:?}, acknowledged at {ok:?}"));
    }
}
