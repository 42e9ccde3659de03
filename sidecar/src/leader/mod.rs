//! One leader among all pods of an app.

mod rules;
mod timing;

pub use rules::Rules;
pub use timing::{Profile, Timing};
