//! What pods tell each other, in an order that all of them see.

mod rules;

pub use rules::Rules;
