//! Histories of concurrent clients under faults, checked; and broken variants that the same checker catches.
//!
//! `SEED=n` runs that seed alone; `DURATION=seconds` goes on with fresh ones until the time is over, and then gives
//! each mutant 50 where `MUTANTS=1`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod agreement;
mod call;
mod checker;
mod client;
mod faults;
mod judge;
mod loss;
mod mutants;
mod nemesis;
mod run;
mod servers;
mod sound;
mod totals;
mod world;
