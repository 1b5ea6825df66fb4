//! The chain beside a log: a sequencer's, a follower's, and what passes between them.

#![allow(clippy::unwrap_used, reason = "helpers of tests, whose values are valid by construction")]

mod common;
mod following;
mod snapshots;
