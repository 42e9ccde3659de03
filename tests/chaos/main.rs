//! Histories of concurrent clients under faults, checked; and broken variants that the same checker catches.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod checker;
