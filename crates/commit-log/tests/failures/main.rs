//! What can go wrong with a log, one module for each failure.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "helpers of tests are tests too: what is wrong shall stop them, and numbers are small"
)]

mod common;

mod begun_anew;
mod crash;
mod disk_full;
mod failed_sync;
mod flipped_bit;
mod following;
mod format_change;
mod hostile_bytes;
mod lying_sync;
mod missing_data;
mod snapshot_damage;
mod torn_tail;
mod wrong_use;
