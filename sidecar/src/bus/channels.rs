//! The names of what is spoken on.

use crate::coordination::Identity;

#[derive(Debug)]
pub(super) struct Channels {
    pub(super) prefix: String,
    /// Our own.
    pub(super) bus: String,
    /// Heard by this process alone.
    pub(super) probe: String,
    original: Option<Original>,
}

/// Those of the original's pods: all of them, this one, and those that stand for election.
#[derive(Debug)]
struct Original {
    all: String,
    mine: String,
    election: String,
}

impl Channels {
    pub(super) fn new(prefix: &str, me: &Identity, compat: bool) -> Channels {
        let original = compat.then(|| Original {
            all: format!("{prefix}:all"),
            mine: format!("{prefix}:{}", me.pod),
            election: format!("{prefix}:election"),
        });
        Channels {
            prefix: prefix.to_owned(),
            bus: format!("{prefix}:bus"),
            probe: format!("{prefix}:probe:{}", me.process),
            original,
        }
    }

    pub(super) fn heard(&self) -> Vec<String> {
        let mut channels = vec![self.bus.clone(), self.probe.clone()];
        if let Some(Original { all, mine, election }) = &self.original {
            channels.extend([all, mine, election].map(String::clone));
        }
        channels
    }

    /// The original's pods are heard, too.
    pub(super) fn has_originals(&self) -> bool {
        self.original.is_some()
    }

    pub(super) fn is_original(&self, channel: &str) -> bool {
        self.original.as_ref().is_some_and(|Original { all, mine, election }| {
            [all, mine, election].into_iter().any(|known| known == channel)
        })
    }

    /// Where the original's pods are told, if they are.
    pub(super) fn original(&self, target: Option<&str>) -> Option<String> {
        let original = self.original.as_ref()?;
        Some(target.map_or_else(|| original.all.clone(), |pod| format!("{}:{pod}", self.prefix)))
    }
}
