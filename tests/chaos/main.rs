//! Histories of concurrent clients under faults, checked; and broken variants that the same checker catches.
//!
//! `SEED=n` runs that seed alone.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod checker;
mod client;
mod mutants;
mod nemesis;
mod run;
mod sound;
