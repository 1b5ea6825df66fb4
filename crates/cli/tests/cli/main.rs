//! The binary as its users meet it: results, exit codes, messages, and what survives a kill.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests are tests too: what is wrong shall stop them"
)]

mod common;

mod damage;
mod demo;
mod evidence;
mod explain;
mod follow;
mod key;
mod kill;
mod messages;
mod node;
mod peers;
mod rulebook;
mod snapshots;
mod whatif;
