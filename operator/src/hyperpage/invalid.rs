//! A spec from which nothing can be built.

use crds::Reason;

/// Why a Hyperpage cannot be built; `message` names the field and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    pub reason: Reason,
    pub message: String,
}

pub(super) fn invalid(message: String) -> Invalid {
    Invalid { reason: Reason::InvalidSpec, message }
}
