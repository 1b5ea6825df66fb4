//! The network of whole nodes, over TCP on loopback.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests stand outside of test functions"
)]
#![allow(clippy::wildcard_enum_match_arm, clippy::cast_possible_truncation, reason = "tests")]

mod chain;
mod follow;
mod frames;
mod hostile;
mod node;
mod panics;
mod peers;
mod pipes;
mod rules;
mod simulated;
mod stranger;
