//! What can break while pods agree, and which of it breaks in one run.

/// One thing that breaks and is mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Cut,
    /// For so long that others count the pod out.
    LongCut,
    HalfOpen,
    BlackHole,
    /// What is said is heard, and nobody told so.
    Mute,
    /// What Redis answers is late.
    Delay,
    /// Commands come late, and all at once.
    Stall,
    PauseRedis,
    RestartRedis,
    /// The leader sleeps for longer than its lease, and wakes.
    PauseLeader,
    KillLeader,
    KillAny,
    Flush,
    /// Killed, and started again with nothing.
    Wipe,
    /// Killed, and started again as it was a moment before.
    Rollback,
    /// The master dies, and a replica that lags takes its place.
    FailOver,
    /// One pod and the master are on one side, all others on the other, and elect another master.
    Part,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Cut => "cut",
            Kind::LongCut => "cut for seconds",
            Kind::HalfOpen => "half-open",
            Kind::BlackHole => "black hole",
            Kind::Mute => "mute",
            Kind::Delay => "delay",
            Kind::Stall => "stall",
            Kind::PauseRedis => "redis paused",
            Kind::RestartRedis => "redis killed, from disk",
            Kind::PauseLeader => "leader paused",
            Kind::KillLeader => "leader killed",
            Kind::KillAny => "sidecar killed",
            Kind::Flush => "flushed",
            Kind::Wipe => "redis killed, empty",
            Kind::Rollback => "redis killed, back in time",
            Kind::FailOver => "failed over",
            Kind::Part => "parted",
        }
    }
}

/// The faults of one run; all of a family are met with, and only they.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    Cut,
    Deaf,
    Slow,
    PausedRedis,
    RestartedRedis,
    PausedLeader,
    KilledLeader,
    Flushed,
    Wiped,
    Mixed,
    FailedOver,
    Parted,
}

impl Family {
    pub(crate) const ALL: [Family; 12] = [
        Family::Cut,
        Family::Deaf,
        Family::Slow,
        Family::PausedRedis,
        Family::RestartedRedis,
        Family::PausedLeader,
        Family::KilledLeader,
        Family::Flushed,
        Family::Wiped,
        Family::Mixed,
        Family::FailedOver,
        Family::Parted,
    ];

    pub(crate) fn kinds(self) -> &'static [Kind] {
        match self {
            Family::Cut => &[Kind::Cut, Kind::LongCut],
            Family::Deaf => &[Kind::BlackHole, Kind::HalfOpen, Kind::Mute],
            Family::Slow => &[Kind::Delay, Kind::Stall],
            Family::PausedRedis => &[Kind::PauseRedis],
            Family::RestartedRedis => &[Kind::RestartRedis],
            Family::PausedLeader => &[Kind::PauseLeader],
            Family::KilledLeader => &[Kind::KillLeader, Kind::KillAny],
            Family::Flushed => &[Kind::Flush],
            Family::Wiped => &[Kind::Wipe, Kind::Rollback],
            Family::Mixed => &[
                Kind::Cut,
                Kind::HalfOpen,
                Kind::BlackHole,
                Kind::Delay,
                Kind::Stall,
                Kind::PauseRedis,
                Kind::RestartRedis,
                Kind::PauseLeader,
                Kind::KillLeader,
                Kind::Flush,
            ],
            // A failover begins none of them, and ends none: there is one in a run.
            Family::FailedOver => &[Kind::PauseLeader, Kind::FailOver, Kind::KillLeader],
            Family::Parted => &[Kind::Part],
        }
    }

    /// Each of these lets nobody lead for a while: the next begins when somebody does.
    pub(crate) fn unseats(self) -> bool {
        matches!(self, Family::Flushed | Family::Wiped)
    }

    /// What is written is there again when Redis is.
    pub(crate) fn is_durable(self) -> bool {
        matches!(self, Family::RestartedRedis | Family::Mixed)
    }

    /// A seed chooses one, or `FAMILY` names it.
    pub(crate) fn of(seed: u64) -> Family {
        let Some(name) = std::env::var_os("FAMILY") else {
            return Family::ALL[seed as usize % Family::ALL.len()];
        };
        let named = Family::ALL.into_iter().find(|family| name.eq_ignore_ascii_case(format!("{family:?}")));
        named.unwrap_or_else(|| panic!("no FAMILY {name:?}; there are {:?}", Family::ALL))
    }
}
