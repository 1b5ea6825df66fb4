//! The order acceptance gate.

pub mod sizing;
