//! The cores from outside: certificates, messages, what is fetched, what is answered.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    reason = "helpers of tests: a panic is a failure, numbers are small"
)]

mod certificates;
mod chain;
mod messages;
mod quorum;
mod server;
mod sync;
