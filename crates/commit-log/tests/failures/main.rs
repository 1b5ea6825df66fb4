//! What can go wrong with a log, one module for each failure.

mod common;

mod crash;
mod disk_full;
mod failed_sync;
mod flipped_bit;
mod format_change;
mod hostile_bytes;
mod lying_sync;
mod missing_data;
mod snapshot_damage;
mod torn_tail;
