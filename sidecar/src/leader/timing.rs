//! How long a lease lasts, and how often it is renewed.

use std::time::Duration;

use clap::ValueEnum;

/// `fast` for a Redis in the same cluster; `relaxed` as the original had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    Fast,
    Relaxed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// From the sending of a confirmed renewal: so long it holds.
    pub ttl: Duration,
    pub renew: Duration,
    /// Beyond `ttl`, before somebody else takes over: the leader's clock may be 5 % slow and the other's 5 % fast, which
    /// is 1.05 / 0.95 = 1.105 times as long.
    pub margin: Duration,
    /// Between two looks of a candidate.
    pub look: Duration,
}

impl Profile {
    pub fn timing(self) -> Timing {
        let ms = Duration::from_millis;
        match self {
            Profile::Fast => Timing::new(ms(600), ms(150)),
            Profile::Relaxed => Timing::new(ms(30_000), ms(10_000)),
        }
    }
}

impl Timing {
    /// None where one lost renewal would end the lease.
    pub fn checked(ttl: Duration, renew: Duration) -> Option<Timing> {
        (!renew.is_zero() && renew * 2 <= ttl).then(|| Timing::new(ttl, renew))
    }

    /// How long a lease must be seen unchanged before it is over for everybody.
    pub fn patience(self) -> Duration {
        self.ttl + self.margin
    }

    fn new(ttl: Duration, renew: Duration) -> Timing {
        Timing { ttl, renew, margin: ttl / 9, look: renew / 2 }
    }
}
