//! What a test may break of elections.

use std::borrow::Cow;

#[derive(Debug, Clone)]
pub struct Rules {
    pub scripts: Scripts,
    pub takeover: TakeOver,
    pub term: Term,
    /// A lease that no replica knows of is nobody's.
    pub confirmed_only: bool,
    /// Nothing is done when the lease is over, and nobody has been heard of who took it.
    pub validity_checked: bool,
}

/// Each answers `{1 or 0, the lease, TIME in us}`.
#[derive(Debug, Clone)]
pub struct Scripts {
    pub plant: Cow<'static, str>,
    pub take: Cow<'static, str>,
    pub keep: Cow<'static, str>,
}

/// When a lease is taken that is not resigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakeOver {
    /// After this pod has seen it unchanged long enough, on its own clock.
    Watched,
    ByRedisTime,
    AtOnce,
}

/// What a new term is above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Term {
    /// Every term that was seen.
    Seen,
    /// What this process had counted, as the original does.
    Counted,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            scripts: Scripts::default(),
            takeover: TakeOver::Watched,
            term: Term::Seen,
            confirmed_only: true,
            validity_checked: true,
        }
    }
}

impl Default for Scripts {
    fn default() -> Scripts {
        Scripts {
            plant: include_str!("plant.lua").into(),
            take: include_str!("take.lua").into(),
            keep: include_str!("keep.lua").into(),
        }
    }
}
