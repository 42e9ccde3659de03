//! Whose sessions they are: an index of each user's, and a mark before which none of them is valid any more.
//!
//! A session is signed out if it became its user's no later than the mark. Since when it is the user's, the sidecar
//! that set `userId` has recorded, in the order of Redis' clock and of the marks, where no client writes. Of a session
//! that somebody else wrote, its `metadata.created` is all that is known; without that it counts as older.

use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;

use super::document::{Node, peek};
use super::index::{self, Index, Tie};
use super::recent::Recent;
use super::store::Stored;
use super::{Error, SessionId, rule};
use crate::key::UserKeys;

/// For so long a pod goes by what it read of a user's mark. It is how much later than others it may hear of one.
const UNMARKED: Duration = Duration::from_secs(1);
/// What a pod remembers to have named in an index, and users without a mark; twice as many at most.
const KNOWN: usize = 8_192;
const USERS: usize = 2_048;
const QUEUE: usize = 1_024;
/// Between attempts when Redis is not there.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Users {
    pub(super) index: Index,
    life_ms: u64,
    /// Until when the index, as long as it has lost nothing, knows a session.
    known: Recent<Instant>,
    /// When a user had no mark.
    unmarked: Recent<Instant>,
    queue: mpsc::Sender<Named>,
    metrics: Metrics,
}

/// A session that its user's index shall name.
#[derive(Debug)]
pub(super) struct Named {
    keys: UserKeys,
    id: SessionId,
    left_ms: u64,
}

#[derive(Debug, Clone, Default)]
struct Metrics {
    indexed: Counter,
    unindexed: Counter,
    signed_out: Counter,
}

/// Whether a session is its user's still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Valid,
    SignedOut,
}

/// The user whose session it is: a string that is not empty.
pub(super) fn of(text: &str) -> Option<String> {
    // Most sessions are nobody's, and need no look inside.
    if !text.contains("userId") && !text.contains('\\') {
        return None;
    }
    let user = Node::parse(peek(text, "userId").ok()??).ok()?;
    user.as_string().filter(|user| !user.is_empty()).map(|user| user.into_owned())
}

/// What a mark means for a session that became its user's then. Nothing known is not good enough.
fn standing(mark: Option<i64>, since: Option<i64>, text: &str) -> Standing {
    let Some(mark) = mark else { return Standing::Valid };
    let begun = since.or_else(|| rule::metadata_time(text, "created"));
    if begun.is_some_and(|begun| begun > mark) { Standing::Valid } else { Standing::SignedOut }
}

impl Users {
    /// The caller runs `work` with what is queued.
    pub(super) fn new(index: Index, life_ms: u64, registry: &mut Registry) -> (Users, mpsc::Receiver<Named>) {
        let metrics = Metrics::default();
        let Metrics { indexed, unindexed, signed_out } = metrics.clone();
        registry.register("sessions_indexed", "Sessions named in their users' indexes", indexed);
        registry.register(
            "sessions_unindexed",
            "Sessions that could not be named in their users' indexes; the next read tries again",
            unindexed,
        );
        registry.register(
            "sessions_signed_out",
            "Sessions ended by their users' not-before marks",
            signed_out,
        );
        let (queue, named) = mpsc::channel(QUEUE);
        let (known, unmarked) = (Recent::new(KNOWN), Recent::new(USERS));
        (Users { index, life_ms, known, unmarked, queue, metrics }, named)
    }

    /// Of every document that is read from Redis: whether it is valid still, and its user's index learns of it.
    pub(super) async fn read(&self, id: &SessionId, stored: &Stored) -> Result<Standing, Error> {
        let Some(user) = of(&stored.text) else { return Ok(Standing::Valid) };
        let keys = UserKeys::new(&user);
        let standing = self.standing(&keys, id, &stored.text).await?;
        if standing == Standing::Valid {
            // Whoever gave it no end may take it away at any time.
            self.name(keys, id, u64::try_from(stored.left_ms).unwrap_or(self.life_ms));
        }
        Ok(standing)
    }

    /// Before every write of a document: a session that becomes a user's is named in the index first. `before` are
    /// the bytes that it replaces.
    pub(super) async fn write(
        &self,
        id: &SessionId,
        before: Option<&str>,
        after: &str,
    ) -> Result<Standing, Error> {
        let Some(user) = of(after) else { return Ok(Standing::Valid) };
        let keys = UserKeys::new(&user);
        match before {
            Some(before) if of(before).as_deref() == Some(&*user) => {
                let standing = self.standing(&keys, id, before).await?;
                if standing == Standing::Valid {
                    self.name(keys, id, self.life_ms);
                }
                Ok(standing)
            }
            _ => {
                // Whatever became of this, the session is as it was.
                self.index.add(&keys, id, self.life_ms, Tie::New).await.map_err(index::failed)?;
                self.know(&keys, id, self.until(self.life_ms));
                self.metrics.indexed.inc();
                Ok(Standing::Valid)
            }
        }
    }

    /// Before a session is put back as it once was: it is the user's for no less long than it says. With a life it
    /// is named in the index too.
    pub(super) async fn restore(
        &self,
        id: &SessionId,
        text: &str,
        life_ms: Option<u64>,
    ) -> Result<Standing, Error> {
        let Some(user) = of(text) else { return Ok(Standing::Valid) };
        let keys = UserKeys::new(&user);
        let standing = self.judged(&keys, id, text).await?;
        if let (Standing::Valid, Some(life_ms)) = (standing, life_ms) {
            self.index.add(&keys, id, life_ms, Tie::Old).await.map_err(index::failed)?;
            self.metrics.indexed.inc();
        }
        Ok(standing)
    }

    async fn standing(&self, keys: &UserKeys, id: &SessionId, text: &str) -> Result<Standing, Error> {
        if self.unmarked.get(&keys.index).is_some_and(|read| read.elapsed() < UNMARKED) {
            return Ok(Standing::Valid);
        }
        Box::pin(self.judged(keys, id, text)).await
    }

    /// By the mark as it is now.
    pub(super) async fn judged(
        &self,
        keys: &UserKeys,
        id: &SessionId,
        text: &str,
    ) -> Result<Standing, Error> {
        let asked = Instant::now();
        let (mark, since) = self.index.judge(keys, id).await?;
        if mark.is_none() {
            self.unmarked.put(&keys.index, asked);
        }
        Ok(standing(mark, since, text))
    }

    /// From now on no session that is the user's already is valid.
    pub(super) async fn sign_out(&self, keys: &UserKeys) -> Result<(), Error> {
        let marked = self.index.sign_out(keys).await;
        self.unmarked.forget(&keys.index);
        marked
    }

    pub(super) fn ended(&self) {
        self.metrics.signed_out.inc();
    }

    /// The index forgets a session that is gone, or somebody else's; if it cannot now, the next reader tries.
    pub(super) async fn forget(&self, keys: &UserKeys, id: &str) {
        if let Ok(id) = SessionId::parse(id) {
            self.unknow(keys, &id);
        }
        if let Err(error) = self.index.drop(keys, id).await {
            tracing::debug!(%error, "a session stays in an index");
        }
    }

    /// Off the way of whoever asked, unless it is known, give or take a tenth of a life.
    fn name(&self, keys: UserKeys, id: &SessionId, left_ms: u64) {
        let until = self.until(left_ms);
        let slack = Duration::from_millis(self.life_ms / 10);
        let known = self.known.get((id, &keys.index, self.index.incarnation(&keys)));
        if known.is_some_and(|known| until <= known + slack) {
            return;
        }
        match self.queue.try_send(Named { keys: keys.clone(), id: id.clone(), left_ms }) {
            Ok(()) => self.know(&keys, id, until),
            Err(_) => drop(self.metrics.unindexed.inc()),
        }
    }

    fn know(&self, keys: &UserKeys, id: &SessionId, until: Instant) {
        self.known.put((id, &keys.index, self.index.incarnation(keys)), until);
    }

    fn unknow(&self, keys: &UserKeys, id: &SessionId) {
        self.known.forget((id, &keys.index, self.index.incarnation(keys)));
    }

    fn until(&self, left_ms: u64) -> Instant {
        // A life without a reasonable end would overflow.
        Instant::now() + Duration::from_millis(left_ms.min(100 * 365 * 86_400_000))
    }

    /// Names what is queued, one after the other, until the senders are gone.
    pub(super) async fn work(&self, mut queue: mpsc::Receiver<Named>) {
        while let Some(Named { keys, id, left_ms }) = queue.recv().await {
            match self.index.add(&keys, &id, left_ms, Tie::Old).await {
                Ok(()) => drop(self.metrics.indexed.inc()),
                Err(error) => {
                    tracing::debug!(%error, "a session is not in its user's index yet");
                    self.metrics.unindexed.inc();
                    self.unknow(&keys, &id);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_a_string_that_is_not_empty_however_it_is_spelt() {
        for (text, expect) in [
            (r#"{"userId":"github:1"}"#, Some("github:1")),
            (r#"{"user\u0049d":"\u0061"}"#, Some("a")),
            (r#"{"userId":"a","userId":"b"}"#, Some("b")),
            (r#"{"userId":""}"#, None),
            (r#"{"userId":7}"#, None),
            (r#"{"userId":null}"#, None),
            (r#"{"userId":"\ud800"}"#, None),
            (r#"{"a":{"userId":"a"}}"#, None),
            (r#"{"a":"userId"}"#, None),
            ("{}", None),
            ("[", None),
        ] {
            assert_eq!(of(text).as_deref(), expect, "{text}");
        }
    }

    #[test]
    fn only_what_is_known_to_be_younger_survives_a_mark() {
        use Standing::{SignedOut, Valid};
        let created = r#"{"metadata":{"created":"1970-01-01T00:00:00.100Z"}}"#;
        for (mark, since, text, expect) in [
            (None, None, "{}", Valid),
            (None, Some(1), created, Valid),
            (Some(99), None, created, Valid),
            (Some(100), None, created, SignedOut),
            (Some(99), Some(99), created, SignedOut),
            (Some(99), Some(100), "{}", Valid),
            (Some(500), Some(501), created, Valid),
            (Some(0), None, "{}", SignedOut),
            (Some(0), None, r#"{"metadata":{"created":7}}"#, SignedOut),
        ] {
            assert_eq!(standing(mark, since, text), expect, "{mark:?} {since:?} {text}");
        }
    }
}
