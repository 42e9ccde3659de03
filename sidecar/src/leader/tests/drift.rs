//! Elections by clocks that are wrong: each pod's runs up to 5 % fast or slow and starts anywhere, Redis' steps by an
//! hour either way, requests and answers take their time, and pods sleep. Time here is nobody's: only the checks see it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::store::{SOUND, act};
use super::*;

const HOUR_US: i64 = 3_600_000_000;
const MINUTE_US: u64 = 60_000_000;
const DEADLINE_US: i64 = 200_000;

/// As random as it needs to be, and the same for each seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

struct Pod {
    candidate: Candidate,
    /// Thousandths: 950 to 1050.
    rate: u64,
    start_us: u64,
    state: State,
    /// What happens next to it, and when.
    next: Next,
    at_us: u64,
    connection: u64,
}

enum Next {
    Happens(Event),
    /// Its request arrives.
    Arrives {
        action: Action,
        sent: Boot,
        deadline_us: i64,
    },
}

impl Pod {
    fn clock(&self, true_us: u64) -> Boot {
        Boot::at(Duration::from_micros(self.start_us + true_us * self.rate / 1000))
    }

    /// When its clock shows that.
    fn true_us(&self, boot: Boot) -> u64 {
        let since = boot.since(Boot::at(Duration::from_micros(self.start_us)));
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX).saturating_mul(1000).div_ceil(self.rate)
    }

    fn acts_until(&self) -> Option<u64> {
        self.candidate.held(&self.state).map(|(_, until)| self.true_us(until))
    }
}

struct Redis {
    lease: Option<Lease>,
    n: u64,
    step_us: i64,
}

impl Redis {
    fn time_us(&self, true_us: u64) -> i64 {
        1_700_000_000_000_000 + self.step_us + i64::try_from(true_us).unwrap_or(i64::MAX)
    }
}

#[derive(Default)]
struct Seen {
    won: Vec<(u64, String)>,
    terms: HashMap<u64, String>,
    together: u32,
    two_of_a_term: u32,
    later_below: u32,
}

struct World {
    dice: Dice,
    redis: Redis,
    pods: Vec<Pod>,
    seen: Seen,
}

impl World {
    fn new(seed: u64, rules: &Rules, timing: Timing) -> World {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut pods = Vec::new();
        for name in ["a", "b", "c"] {
            let rate = [950, 1000, 1050, 950 + dice.below(101)][dice.below(4) as usize];
            let candidate = candidate(name, timing, rules.clone());
            let (start_us, at_us) = (dice.below(1 << 40), dice.below(100_000));
            let next = Next::Happens(Event::Due);
            pods.push(Pod { candidate, rate, start_us, state: State::default(), next, at_us, connection: 1 });
        }
        let redis = Redis { lease: None, n: 1, step_us: 0 };
        World { dice, redis, pods, seen: Seen::default() }
    }

    fn run(mut self) -> Seen {
        loop {
            let (pod, now) = self
                .pods
                .iter()
                .enumerate()
                .map(|(pod, it)| (pod, it.at_us))
                .min_by_key(|it| it.1)
                .expect("three");
            if now > MINUTE_US {
                return self.seen;
            }
            if self.dice.one_in(600) {
                self.redis.step_us = [HOUR_US, -HOUR_US, 0][self.dice.below(3) as usize];
            }
            match std::mem::replace(&mut self.pods[pod].next, Next::Happens(Event::Due)) {
                Next::Happens(event) => self.happens(pod, event, now),
                Next::Arrives { action, sent, deadline_us } => {
                    self.arrives(pod, &action, sent, deadline_us, now)
                }
            }
        }
    }

    fn happens(&mut self, pod: usize, event: Event, now: u64) {
        let it = &mut self.pods[pod];
        let (clock, before) =
            (it.clock(now), it.candidate.held(&it.state).map(|(record, _)| record.nonce.clone()));
        let (state, action) = it.candidate.step(std::mem::take(&mut it.state), event, clock);
        it.state = state;
        it.at_us = now;
        match action {
            Action::Wait(until) | Action::Leave(until) => {
                it.at_us = it.true_us(until).max(now + 1);
                it.next = Next::Happens(Event::Due);
            }
            Action::End => unreachable!("nobody is told to stop"),
            action => {
                let deadline_us = self.redis.time_us(now) + DEADLINE_US;
                it.next = Next::Arrives { action, sent: clock, deadline_us };
                it.at_us = now + 50 + self.dice.below(2_000);
            }
        }
        // A busy machine, a stopped process.
        if self.dice.one_in(100) {
            self.pods[pod].at_us += self.dice.below(3_000_000);
        }
        self.judge(pod, before, now);
    }

    fn arrives(&mut self, pod: usize, action: &Action, sent: Boot, deadline_us: i64, now: u64) {
        let time_us = self.redis.time_us(now);
        let it = &mut self.pods[pod];
        let event = if let Action::Look = action {
            let incarnation = Some(Incarnation { n: self.redis.n, run_id: String::new(), since_us: 0 });
            let lease = self.redis.lease.clone();
            Event::Saw(Sight { connection: it.connection, incarnation, lease, time_us, heard: 0 })
        } else if time_us > deadline_us || self.dice.one_in(100) {
            Event::Failed
        } else {
            let done = act(&mut self.redis.lease, action, &it.candidate, time_us, SOUND);
            let lease = self.redis.lease.clone();
            Event::Answered(Answer { done, confirmed: true, lease, sent, time_us, heard: 0 })
        };
        // Done, and nobody hears of it.
        let event = if self.dice.one_in(200) { Event::Failed } else { event };
        it.connection += u64::from(event == Event::Failed);
        it.next = Next::Happens(event);
        it.at_us = now + 50 + self.dice.below(2_000);
    }

    fn judge(&mut self, pod: usize, before: Option<String>, now: u64) {
        let acts = |it: &Pod| it.acts_until().is_some_and(|until| until > now);
        if self.pods.iter().filter(|it| acts(it)).count() > 1 {
            self.seen.together += 1;
        }
        let it = &self.pods[pod];
        let Some((record, _)) = it.candidate.held(&it.state) else { return };
        if before.as_ref() != Some(&record.nonce) {
            let (term, nonce) = (record.term, record.nonce.clone());
            let known = self.seen.terms.entry(term).or_insert_with(|| nonce.clone());
            self.seen.two_of_a_term += u32::from(*known != nonce);
            self.seen.later_below +=
                u32::from(self.seen.won.iter().any(|(won, by)| *won > term && *by != nonce));
            self.seen.won.push((term, nonce));
        }
    }
}

#[test]
fn clocks_that_drift_and_step_never_make_two_leaders() {
    let start = Instant::now();
    let mut elections = 0;
    for seed in 0..200 {
        let seen = World::new(seed, &Rules::default(), Profile::Fast.timing()).run();
        let wrong = (seen.together, seen.two_of_a_term, seen.later_below);
        assert_eq!(wrong, (0, 0, 0), "seed {seed}");
        assert!(!seen.won.is_empty(), "seed {seed}");
        elections += seen.won.len();
    }
    println!("200 minutes by wrong clocks: {elections} elections, in {} ms", start.elapsed().as_millis());
    assert!(elections > 1_000, "{elections}");
}

#[test]
fn with_one_rule_less_wrong_clocks_make_two_leaders() {
    let (sound, fast) = (Rules::default(), Profile::Fast.timing());
    let caught = |what: &str, rules: &Rules, timing: Timing| {
        let seed = (0..50).find(|seed| World::new(*seed, rules, timing).run().together > 0);
        println!("{what}: two leaders with seed {seed:?}");
        assert!(seed.is_some(), "{what}");
    };
    let by_redis = Rules { takeover: TakeOver::ByRedisTime, ..sound.clone() };
    caught("a take-over by Redis' clock", &by_redis, fast);
    caught("no margin", &sound, Timing { margin: Duration::ZERO, ..fast });
}
