//! Who this process is among others.

/// Several processes may bear one pod's name: a container that was restarted, and the one before it that only slept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub pod: String,
    /// 16 hexadecimal digits, drawn at the start.
    pub process: String,
}

impl Identity {
    pub fn new(pod: &str) -> Identity {
        let drawn = getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
        Identity { pod: pod.to_owned(), process: format!("{drawn:016x}") }
    }
}
