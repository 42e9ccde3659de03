//! `If-Version-At-Least`: a read that waits until what its reader knows of is there.

use std::time::Duration;

use axum::http::HeaderMap;
use tokio::time::{Instant, sleep};

use super::condition::Condition;
use super::{Error, Session, SessionId, Sessions, random};

const WITHIN: Duration = Duration::from_millis(250);
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(40);

/// Milliseconds since 1970.
pub(crate) fn at_least(headers: &HeaderMap) -> Result<Option<i64>, Error> {
    let Some(value) = headers.get("if-version-at-least") else { return Ok(None) };
    let version = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    let wrong = || Error::InvalidRequest("If-Version-At-Least must be milliseconds since 1970".into());
    version.filter(|version| *version >= 0).map(Some).ok_or_else(wrong)
}

impl Sessions {
    /// From Redis, again and again. A session that is not there reaches no version, and its absence is the answer.
    pub(super) async fn read_at_least(
        &self,
        id: SessionId,
        condition: &Condition,
        version: i64,
    ) -> Result<Session, Error> {
        let end = Instant::now() + WITHIN;
        let mut pause = FIRST_PAUSE;
        loop {
            let stored = self.stored(&id, condition).await?;
            if stored.text.version().is_some_and(|there| there >= version) {
                return self.session(id, stored);
            }
            // Those who wait for one writer do not ask together.
            let jittered = pause.mul_f64(0.5 + (random()? as u8) as f64 / 510.0);
            if Instant::now() + jittered > end {
                return Err(Error::VersionNotReached);
            }
            sleep(jittered).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}
