//! What pods tell each other, in an order that all of them see.

pub(crate) mod http;
mod rules;

pub use rules::Rules;
