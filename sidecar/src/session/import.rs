//! Sessions that were kept elsewhere, line by line, each with a result of its own. They come as they are, times and
//! user included; never over a deleted session, and over a living one only where that is asked for and it is older.

use axum::body::{Body, Bytes};
use futures::{Stream, StreamExt, stream};
use tokio::sync::OwnedSemaphorePermit;

use super::budget::Budget;
use super::condition::Condition;
use super::entry::Entry;
use super::lines::{Line, Lines};
use super::op::OpId;
use super::store::{Outcome, Write};
use super::user::Standing;
use super::{Error, Sessions, Text};

/// Imports of one pod; each keeps as many lines in memory as are on their way together.
pub(super) const IMPORTS: usize = 2;
const AT_ONCE: usize = 8;
/// Results that are there together are sent together.
const TOGETHER: usize = 64;
/// Over a session that changes each time somebody looks nothing is imported.
const ATTEMPTS: usize = 4;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mode {
    pub(super) dry_run: bool,
    pub(super) overwrite_older: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Created,
    /// An older session had the id.
    Replaced,
    /// The same session is there, or with the id alone any.
    Exists,
    Missing,
    /// Another session has the id.
    Conflict(&'static str),
    Tombstoned(&'static str),
}

impl Mode {
    pub(super) fn parse(parameters: &[(String, String)]) -> Result<Mode, Error> {
        let mut mode = Mode::default();
        for (name, value) in parameters {
            match (name.as_str(), value.as_str()) {
                ("dryRun", "true" | "false") => mode.dry_run = value == "true",
                ("dryRun", _) => return Err(Error::InvalidRequest("dryRun must be true or false".into())),
                ("overwrite", "older") => mode.overwrite_older = true,
                ("overwrite", _) => return Err(Error::InvalidRequest("overwrite must be older".into())),
                _ => {}
            }
        }
        Ok(mode)
    }
}

/// The answer's body: it is made as fast as it is taken, and reads lines only then.
pub(super) fn results(sessions: Sessions, body: Body, mode: Mode, place: OwnedSemaphorePermit) -> Body {
    let lines = stream::unfold(Some(Lines::new(body)), async |lines| {
        let mut lines = lines?;
        let (number, line) = lines.next().await?;
        let rest = (!matches!(line, Line::Lost(_))).then_some(lines);
        Some(((number, line), rest))
    });
    Body::from_stream(told(lines, move |line| {
        let _kept = &place;
        let sessions = sessions.clone();
        async move { result(&sessions, line, mode).await }
    }))
}

/// One line for each; where a line got lost, an answer that ends in the middle says that it is not the whole.
fn told<R: Future<Output = String>>(
    lines: impl Stream<Item = (u64, Line)>,
    result: impl Fn(Line) -> R,
) -> impl Stream<Item = std::io::Result<Bytes>> {
    let results = lines.map(move |(number, line)| {
        let lost = matches!(line, Line::Lost(_));
        let result = result(line);
        async move { (format!("{{\"line\":{number},{}}}\n", result.await), lost) }
    });
    results.buffered(AT_ONCE).ready_chunks(TOGETHER).flat_map(|results| {
        let lost = results.iter().any(|(_, lost)| *lost);
        let text: String = results.into_iter().map(|(text, _)| text).collect();
        let end = stream::iter(lost.then_some(())).then(async |()| {
            // What was told before goes out while this waits.
            tokio::task::yield_now().await;
            Err(std::io::Error::other("a line of the import was lost"))
        });
        stream::iter([Ok(Bytes::from(text))]).chain(end)
    })
}

/// A result's members after the number of its line.
async fn result(sessions: &Sessions, line: Line, mode: Mode) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let invalid = |reason: &str| format!(r#""id":null,"status":"invalid","reason":{}"#, quoted(reason));
    let entry = match line {
        Line::Text(line) => Entry::parse(&line),
        Line::TooLong => Err("the line is longer than 131072 bytes".to_owned()),
        Line::Lost(why) => Err(why.to_owned()),
    };
    let entry = match entry {
        Ok(entry) => entry,
        Err(reason) => return invalid(&reason),
    };
    let id = entry.id.clone();
    let (status, reason) = match sessions.import(entry, mode).await {
        Ok(Verdict::Created) => ("created", None),
        Ok(Verdict::Replaced) => ("replaced", None),
        Ok(Verdict::Exists) => ("exists", None),
        Ok(Verdict::Missing) => ("missing", None),
        Ok(Verdict::Conflict(why)) => ("conflict", Some(why.to_owned())),
        Ok(Verdict::Tombstoned(why)) => ("tombstoned", Some(why.to_owned())),
        Err(error) => {
            sessions.0.metrics.failed(error.kind());
            let unknown = matches!(error, Error::OutcomeUnknown { .. });
            (if unknown { "unknown" } else { "unavailable" }, Some(error.to_string()))
        }
    };
    let reason = reason.map_or(String::new(), |reason| format!(r#","reason":{}"#, quoted(&reason)));
    format!(r#""id":"{id}","status":"{status}"{reason}"#)
}

/// What is to be done where a session has the id already.
fn over(current: &Text, text: &Text, mode: Mode) -> Result<Verdict, Verdict> {
    if current == text {
        return Err(Verdict::Exists);
    }
    if !mode.overwrite_older {
        return Err(Verdict::Conflict("another session has this id"));
    }
    match (current.version(), text.version()) {
        (Some(current), Some(given)) if current < given => Ok(Verdict::Replaced),
        (Some(_), Some(_)) => Err(Verdict::Conflict("the session with this id is not older")),
        _ => Err(Verdict::Conflict("which of the two is older is not known")),
    }
}

impl Sessions {
    async fn import(&self, entry: Entry, mode: Mode) -> Result<Verdict, Error> {
        let Entry { id, text, life_ms } = entry;
        let budget = Budget::begin();
        let Some(text) = text else {
            return match self.stored(&id, &Condition::default()).await {
                Ok(_) => Ok(Verdict::Exists),
                Err(Error::NotFound) => Ok(Verdict::Missing),
                Err(error) => Err(error),
            };
        };
        let life_ms = life_ms.unwrap_or(u64::MAX).min(self.0.store.life_ms());
        if self.0.users.restore(&id, &text, (!mode.dry_run).then_some(life_ms)).await? == Standing::SignedOut
        {
            return Ok(Verdict::Tombstoned("its user has signed out everywhere since"));
        }
        let text = Text::from(text);
        let deleted = Verdict::Tombstoned("a session with this id was deleted lately");
        if mode.dry_run {
            let (current, tombstone) = self.0.store.look(&id).await?;
            return Ok(match current {
                _ if tombstone => deleted,
                Some(current) => over(&current, &text, mode).unwrap_or_else(|verdict| verdict),
                None => Verdict::Created,
            });
        }
        let (op, mut base, mut done) = (OpId::mint()?, None, Verdict::Created);
        for _ in 0..ATTEMPTS {
            let write = Write { op, base: base.as_deref(), text: &text };
            match self.cas_for(&id, &write, life_ms, budget).await? {
                Outcome::Done(()) => {
                    let metrics = &self.0.metrics;
                    if done == Verdict::Created {
                        metrics.created.inc()
                    } else {
                        metrics.updated.inc()
                    };
                    return Ok(done);
                }
                Outcome::Deleted => return Ok(deleted),
                Outcome::Missing => (base, done) = (None, Verdict::Created),
                Outcome::Conflict(current) => match over(&current.text, &text, mode) {
                    Ok(verdict) => (base, done) = (Some(current.text.digest().to_owned()), verdict),
                    Err(verdict) => return Ok(verdict),
                },
            }
        }
        Err(Error::no_time())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_older_session_is_replaced_and_only_on_demand() {
        let at =
            |day: u8| Text::from(format!(r#"{{"metadata":{{"updated":"2026-01-0{day}T00:00:00.000Z"}}}}"#));
        let dateless = || Text::from("{}".to_owned());
        let (keep, older) = (Mode::default(), Mode { overwrite_older: true, dry_run: false });
        assert_eq!(over(&at(1), &at(1), older), Err(Verdict::Exists));
        assert_eq!(over(&at(1), &at(2), older), Ok(Verdict::Replaced));
        for (current, given, mode) in [
            (at(1), at(2), keep),
            (at(2), at(1), older),
            (at(1), dateless(), older),
            (dateless(), at(1), older),
        ] {
            assert!(
                matches!(over(&current, &given, mode), Err(Verdict::Conflict(_))),
                "{current:?} {given:?}"
            );
        }
    }

    #[tokio::test]
    async fn every_line_has_its_result_in_order_and_a_lost_one_ends_the_answer() {
        let lines = (1..200).map(|n| (n, Line::TooLong)).chain([(200, Line::Lost("gone"))]);
        // The later ones are ready first.
        let chunks: Vec<_> = told(stream::iter(lines), async |line| {
            if line == Line::TooLong {
                tokio::task::yield_now().await;
            }
            r#""status":"invalid""#.to_owned()
        })
        .collect()
        .await;
        let (last, chunks) = chunks.split_last().unwrap();
        assert!(last.is_err());
        let text: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.as_ref().unwrap().to_vec()).collect();
        let expect: String =
            (1..=200).map(|n| format!("{{\"line\":{n},\"status\":\"invalid\"}}\n")).collect();
        assert_eq!(String::from_utf8(text).unwrap(), expect);
    }
}
