//! Whole nodes in one thread: virtual time, a bad network, liars and crashes; one seed, one run.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    clippy::large_enum_variant,
    reason = "helpers of tests: a panic is a failure, numbers are small"
)]

mod liar;
mod node;
mod scenarios;
mod seeds;
mod truth;
mod world;
