//! What a read may be concluded from: that nothing was found is proof only while nothing can have been lost.

use redis::{RedisResult, Value};

/// What was seen right after a read, on the same connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sighting {
    /// Not the record that is held for the connection, or none is held: data may have been lost.
    Nothing,
    /// The record that is held: it began so long ago, by Redis' clock.
    Record {
        age_us: i64,
        /// Redis throws data away to make place.
        evicting: bool,
    },
}

/// The answer to TIME.
pub(super) fn micros(time: Value) -> RedisResult<i64> {
    let (seconds, micros): (i64, i64) = redis::from_redis_value(time.extract_error()?)?;
    Ok(seconds.saturating_mul(1_000_000).saturating_add(micros))
}
