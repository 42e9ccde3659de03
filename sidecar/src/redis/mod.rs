//! The only code that opens a Redis client.

mod error;

pub use error::Error;

/// A cheap handle to Redis, whatever its topology.
#[derive(Debug, Clone)]
pub struct Redis {}

impl Redis {
    /// Runs `script` on the node that owns `keys[0]`: EVALSHA, and EVAL when Redis does not know it yet.
    /// Answers within about a second whatever Redis does.
    pub async fn run<T: redis::FromRedisValue>(
        &self,
        script: &redis::Script,
        keys: &[&str],
        args: &[&[u8]],
    ) -> Result<T, Error> {
        let _ = (script, keys, args);
        Err(Error::Unavailable { reason: "Redis not connected".to_owned() })
    }

    /// The latest Redis TIME, in microseconds, at which a call started now may still act. Scripts that write
    /// take it as an argument and refuse (`LATE`) when TIME is past it.
    pub fn deadline_us(&self) -> i64 {
        0
    }
}
