//! A line for those who wait for a bench.

use std::sync::OnceLock;
use std::time::Instant;

/// `what` begins now; the seconds are counted from the first such line.
pub fn progress(what: &str) {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    println!("  {:4} s  {what}", BEGAN.get_or_init(Instant::now).elapsed().as_secs());
}
