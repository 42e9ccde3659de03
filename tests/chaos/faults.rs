//! What can break, and which of it breaks in one run.

use std::time::Duration;

use crate::servers::Setup;

/// One thing that breaks and is mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Cut,
    /// For so long that it is no blip.
    LongCut,
    /// The same, and when it is over answers are lost for a moment.
    LongCutThenMute,
    /// The same, and when it is over there is time for others between two commands.
    LongCutThenDelay,
    HalfOpen,
    HalfClose,
    BlackHole,
    /// Commands are executed, and their answers lost.
    Mute,
    Delay,
    Stall,
    /// From the first write on, each connection.
    StallWrites,
    PauseRedis,
    RestartRedis,
    PauseSidecar,
    KillSidecar,
    Expire,
    /// The database is flushed, and at once holds what it held, the sessions with a mark more.
    Swap,
    Flush,
    /// Killed, and started again with nothing.
    Wipe,
    /// Killed, and started again as it was a moment before.
    Rollback,
    /// The master dies, and a replica that lags takes its place.
    FailOver,
    /// The same; the master had lost its replicas and knew it.
    FailOverAlone,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Cut => "cut",
            Kind::LongCut => "cut for seconds",
            Kind::LongCutThenMute => "cut for seconds, then mute",
            Kind::LongCutThenDelay => "cut for seconds, then slow",
            Kind::Mute => "mute",
            Kind::HalfOpen => "half-open",
            Kind::HalfClose => "half-close",
            Kind::BlackHole => "black hole",
            Kind::Delay => "delay",
            Kind::Stall => "stall",
            Kind::StallWrites => "stall from a write on",
            Kind::PauseRedis => "redis paused",
            Kind::RestartRedis => "redis killed, from disk",
            Kind::PauseSidecar => "sidecar paused",
            Kind::KillSidecar => "sidecar killed",
            Kind::Expire => "sessions expire",
            Kind::Swap => "flushed and refilled",
            Kind::Flush => "flushed",
            Kind::Wipe => "redis killed, empty",
            Kind::Rollback => "redis killed, back in time",
            Kind::FailOver => "failed over",
            Kind::FailOverAlone => "failed over, cut off before",
        }
    }
}

/// The faults of one run; all of a family are met with, and only they.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    Cut,
    Half,
    BlackHole,
    Muted,
    Stall,
    Expiry,
    PausedRedis,
    RestartedRedis,
    PausedSidecar,
    KilledSidecar,
    Swapped,
    Away,
    /// Sessions are read far more often than written, so that most is served from memory.
    Watched,
    Mixed,
    Flushed,
    Wiped,
    RolledBack,
    FailedOver,
}

impl Family {
    pub(crate) const LOSSLESS: [Family; 14] = [
        Family::Cut,
        Family::Half,
        Family::BlackHole,
        Family::Muted,
        Family::Stall,
        Family::Expiry,
        Family::PausedRedis,
        Family::RestartedRedis,
        Family::PausedSidecar,
        Family::KilledSidecar,
        Family::Swapped,
        Family::Away,
        Family::Watched,
        Family::Mixed,
    ];

    pub(crate) const LOSING: [Family; 4] =
        [Family::Flushed, Family::Wiped, Family::RolledBack, Family::FailedOver];

    /// A seed chooses one of these, or `FAMILY` names any.
    pub(crate) fn of(seed: u64, families: &[Family]) -> Family {
        let Some(name) = std::env::var_os("FAMILY") else { return families[seed as usize % families.len()] };
        let all = || Family::LOSSLESS.into_iter().chain(Family::LOSING);
        let named = all().find(|family| name.eq_ignore_ascii_case(format!("{family:?}")));
        named.unwrap_or_else(|| panic!("no FAMILY {name:?}; there are {:?}", all().collect::<Vec<_>>()))
    }

    pub(crate) fn loses_data(self) -> bool {
        Family::LOSING.contains(&self)
    }

    pub(crate) fn setup(self) -> Setup {
        match self {
            Family::FailedOver => Setup::Sentinels,
            _ if self.loses_data() => Setup::Volatile,
            _ => Setup::Durable,
        }
    }

    /// The window in which sidecars bring back what was lost is shorter where nothing is: a run is over sooner.
    pub(crate) fn repair(self) -> Duration {
        if self.loses_data() { Duration::from_secs(5) } else { Duration::from_secs(1) }
    }

    /// A touch changes nothing before a hundredth of it has passed.
    pub(crate) fn life_seconds(self) -> u64 {
        if self == Family::Watched { 30 } else { 100 }
    }

    /// Tombstones are short there, so that a write which they alone hold off is seen.
    pub(crate) fn forgets_deletes(self) -> bool {
        matches!(self, Family::Stall)
    }

    pub(crate) fn kinds(self) -> &'static [Kind] {
        match self {
            Family::Cut => &[Kind::Cut],
            Family::Half => &[Kind::HalfOpen, Kind::HalfClose],
            Family::BlackHole => &[Kind::BlackHole],
            Family::Stall => &[Kind::StallWrites, Kind::Stall, Kind::StallWrites, Kind::Delay],
            Family::Expiry => &[Kind::Expire, Kind::Expire, Kind::Delay],
            Family::PausedRedis => &[Kind::PauseRedis],
            Family::RestartedRedis => &[Kind::RestartRedis],
            Family::PausedSidecar => &[Kind::PauseSidecar],
            Family::KilledSidecar => &[Kind::KillSidecar],
            Family::Swapped => &[Kind::Swap],
            Family::Muted => &[Kind::Mute],
            Family::Away => &[Kind::LongCut, Kind::LongCutThenMute, Kind::LongCutThenDelay],
            Family::Watched => &[Kind::Delay, Kind::BlackHole, Kind::Stall],
            Family::Mixed => &[
                Kind::Cut,
                Kind::HalfOpen,
                Kind::HalfClose,
                Kind::BlackHole,
                Kind::Mute,
                Kind::Delay,
                Kind::Stall,
                Kind::PauseRedis,
                Kind::RestartRedis,
                Kind::PauseSidecar,
                Kind::KillSidecar,
                Kind::Swap,
            ],
            Family::Flushed => &[Kind::Flush],
            Family::Wiped => &[Kind::Wipe],
            Family::RolledBack => &[Kind::Rollback],
            Family::FailedOver => &[Kind::FailOver, Kind::FailOverAlone],
        }
    }
}
