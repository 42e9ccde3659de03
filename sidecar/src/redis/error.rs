//! What a call to Redis can end in, sorted by what the caller may conclude about its effect.

use redis::{ErrorKind, RedisError};

/// Enough for any sentence of Redis', too little for a document echoed in it.
const LONGEST: usize = 200;
/// What precedes the arguments in `ERR unknown command`.
const ECHO: &str = ", with args beginning with";

/// `reason` holds the server's own words where there are any, never a password or a URL's user part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It had no effect and never will have.
    #[error("Redis is unavailable: {reason}")]
    Unavailable { reason: String },
    /// It was sent; whether Redis executed it is not known.
    #[error("Redis did not answer in time, or the connection was lost: {reason}")]
    Unknown { reason: String },
    /// Redis answered something that this program cannot use: a wrong type, a script error.
    #[error("Redis answered unexpectedly: {reason}")]
    Unexpected { reason: String },
}

impl Error {
    pub(super) fn unavailable(reason: impl Into<String>) -> Error {
        Error::Unavailable { reason: reason.into() }
    }

    /// A label of metrics.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Error::Unavailable { .. } => "unavailable",
            Error::Unknown { .. } => "unknown",
            Error::Unexpected { .. } => "unexpected",
        }
    }
}

/// Of a command that was sent.
impl From<&RedisError> for Error {
    fn from(error: &RedisError) -> Error {
        let reason = words(error);
        match error.kind() {
            // An answer that is no protocol says nothing about the command.
            ErrorKind::Io | ErrorKind::Parse => Error::Unknown { reason },
            _ if error.code().is_some_and(without_effect) => Error::Unavailable { reason },
            _ => Error::Unexpected { reason },
        }
    }
}

/// Codes with which Redis says that it has not executed the command, whatever the command.
fn without_effect(code: &str) -> bool {
    #[rustfmt::skip]
    const CODES: [&str; 15] = [
        "LOADING", "READONLY", "NOREPLICAS", "MASTERDOWN", "OOM", "CLUSTERDOWN", "MISCONF", "LATE", "BUSY",
        "TRYAGAIN", "MOVED", "ASK", "NOSCRIPT", "NOAUTH", "WRONGPASS",
    ];
    CODES.contains(&code)
}

/// The server's words, or those of the operating system.
pub(super) fn words(error: &RedisError) -> String {
    words_without(error, None)
}

/// Without the secret, and without the arguments of a command that Redis does not know: it repeats the beginning of
/// each, and that of a greeting's is the beginning of a password.
pub(super) fn words_without(error: &RedisError, secret: Option<&str>) -> String {
    let words = match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        (Some(code), None) => code.to_owned(),
        (None, _) => error.to_string(),
    };
    let mut words = words.split(ECHO).next().unwrap_or_default().to_owned();
    // Before it is cut: the rest of a secret is not found.
    if let Some(secret) = secret.filter(|secret| !secret.is_empty()) {
        words = words.replace(secret, "(password)");
    }
    words.chars().filter(|letter| !letter.is_control()).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use redis::Value;

    use super::*;

    fn answered(answer: &str) -> RedisError {
        let value =
            redis::parse_redis_value(format!("{answer}\r\n").as_bytes()).and_then(Value::extract_error);
        value.unwrap_err()
    }

    fn of_answer(answer: &str) -> Error {
        (&answered(answer)).into()
    }

    #[test]
    fn definite_refusals_unknown_outcomes_and_the_rest() {
        let definite = [
            "-LOADING Redis is loading the dataset in memory",
            "-READONLY You can't write against a read only replica.",
            "-NOREPLICAS Not enough good replicas to write.",
            "-MASTERDOWN Link with MASTER is down",
            "-OOM command not allowed when used memory > 'maxmemory'. script: 0, on @user_script:1.",
            "-CLUSTERDOWN The cluster is down",
            "-MISCONF Redis is configured to save RDB snapshots",
            "-LATE the deadline has passed",
            "-BUSY Redis is busy running a script",
            "-TRYAGAIN Multiple keys request during rehashing of slot",
            "-MOVED 866 127.0.0.1:7001",
        ];
        for answer in definite {
            let expected = answer[1..].to_owned();
            assert_eq!(of_answer(answer), Error::Unavailable { reason: expected });
        }
        for answer in ["-WRONGTYPE Operation against a key", "-ERR user_script:1: oops", "-NOPERM no", "-X"] {
            assert!(matches!(of_answer(answer), Error::Unexpected { .. }), "{answer}");
        }
        let lost = RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert!(matches!(Error::from(&lost), Error::Unknown { .. }));
        assert!(matches!(of_answer("no protocol"), Error::Unknown { .. }));
    }

    #[test]
    fn no_part_of_a_password_is_told() {
        let secret = "correct-horse-battery-staple";
        let greetings = [
            // Redis cuts the arguments itself, so that the password is not whole.
            "-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `default`, `correct-hor",
            "-ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'default' 'correct-hor",
        ];
        for greeting in greetings {
            let words = words_without(&answered(greeting), Some(secret));
            assert!(words.starts_with("ERR unknown command") && words.ends_with(['`', '\'']), "{words}");
        }
        for before in (0..LONGEST).map(|length| "x".repeat(length)) {
            let words = words_without(&answered(&format!("-ERR {before} {secret} {secret}")), Some(secret));
            assert!(!words.contains("correct"), "{words}");
        }
    }

    #[test]
    fn words_are_short_and_one_line() {
        let error = of_answer(&format!("-ERR {}", "x\ty".repeat(1000)));
        assert_eq!(error.to_string().len(), LONGEST + "Redis answered unexpectedly: ".len());
        assert!(!error.to_string().contains('\t'));
    }
}
