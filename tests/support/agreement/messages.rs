//! What each app was told, and what it should have been.

use std::collections::HashSet;

use super::{History, Listener, Position, Published, Rule, Told, What};

pub(super) fn check(history: &History, object: &mut impl FnMut(Rule, String)) {
    for (app, listener) in &history.heard {
        let mut hearing = Hearing::default();
        for Told { at, what } in &listener.told {
            hearing.told(what, &mut |rule, what| object(rule, format!("{app} at {at:?}: {what}")));
        }
        let ids = listener.told.iter().filter_map(|told| match &told.what {
            What::Message { id, .. } => Some(id.as_str()),
            What::Began | What::Place(_) | What::Gap { .. } | What::Resync { .. } => None,
        });
        let ids: HashSet<_> = ids.collect();
        for published in &history.published {
            if !ids.contains(published.id.as_str()) && is_missing(app, listener, published) {
                let Published { id, position, ok, .. } = published;
                object(
                    Rule::Lost,
                    format!("{app} was never told of {id}, {position}, acknowledged at {ok:?}"),
                );
            }
        }
    }
}

/// One who listens, and where he is.
#[derive(Default)]
struct Hearing<'a> {
    last: Option<Position>,
    /// What comes next comes after this; None: it may be anything.
    at: Option<Position>,
    ids: HashSet<&'a str>,
}

impl<'a> Hearing<'a> {
    fn told(&mut self, what: &'a What, object: &mut impl FnMut(Rule, String)) {
        match what {
            What::Began => self.ids.clear(),
            What::Message { position, id } => {
                if !self.ids.insert(id) {
                    object(Rule::Twice, format!("{id} again"));
                }
                self.reaches(*position, *position, object);
            }
            What::Place(position) => self.reaches(*position, *position, object),
            What::Gap { from, to } => self.reaches(*from, *to, object),
            What::Resync { to } => self.at = *to,
        }
    }

    fn reaches(&mut self, from: Position, to: Position, object: &mut impl FnMut(Rule, String)) {
        if self.last.is_some_and(|last| from <= last) {
            object(Rule::Order, format!("{from} after {}", self.last.unwrap_or_default()));
        } else if self.at.is_some_and(|at| from.n != at.n || from.seq > at.seq + 1) {
            object(Rule::Gap, format!("{from} after {}, and nothing between", self.at.unwrap_or_default()));
        }
        self.last = self.last.max(Some(to));
        self.at = Some(to);
    }
}

/// It should have come, and nothing that was said later explains why it did not.
fn is_missing(app: &str, listener: &Listener, published: &Published) -> bool {
    let Published { id: _, position, to, invoked, ok } = published;
    let meant = to.as_deref().is_none_or(|to| to == app);
    let listened = *invoked >= listener.from && *ok <= listener.until;
    let explained = listener.told.iter().any(|Told { at, what }| match what {
        What::Gap { from, to } => from <= position && position <= to,
        // What came after the data were lost is not.
        What::Resync { to } => at >= invoked && (at >= ok || to.is_none_or(|to| *position <= to)),
        What::Began | What::Message { .. } | What::Place(_) => false,
    });
    meant && listened && !explained
}
