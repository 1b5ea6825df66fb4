//! Several whole peer cores in one deterministic world: churn, black holes, eclipse, clocks.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "a test that fails says where; the number of seeds comes from the environment"
)]

mod churn;
mod eclipse;
mod world;
