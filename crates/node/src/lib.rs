//! What a node does: run recorded or simulated history into a data directory, verify it, explain it.
//!
//! Wiring only: the rules are the engine's, durability is the log's and order the sequencer's. This
//! crate reads files and builds reports; it does not talk to a terminal.

#![forbid(unsafe_code)]

pub mod bench;
pub mod data_dir;
pub mod diff;
pub mod evidence;
pub mod explain;
pub mod import;
pub mod legacy;
pub mod moment;
pub mod recorded;
pub mod report;
pub mod rulebooks;
pub mod run;
pub mod simulation;
pub mod tally;
pub mod verify;
pub mod view;
pub mod whatif;
