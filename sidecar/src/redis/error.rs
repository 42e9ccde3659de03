//! What a call to Redis can end in, sorted by what the caller may conclude about its effect.

/// `reason` holds the server's own words where there are any, never a password or a URL's user part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It had no effect and never will have.
    #[error("Redis is unavailable: {reason}")]
    Unavailable { reason: String },
    /// It was sent; whether Redis executed it is not known.
    #[error("Redis did not answer in time or the connection was lost: {reason}")]
    Unknown { reason: String },
    /// Redis answered something that this program cannot use: a wrong type, a script error, garbage.
    #[error("Redis answered unexpectedly: {reason}")]
    Unexpected { reason: String },
}
