//! The rules of Proctor: a fold over inputs with no clock, I/O, threads or hash order.
//!
//! The same inputs in the same order give the same state and the same events, bit for bit, on every
//! machine. This crate does not know how inputs are ordered, stored or sent; it is told the commit
//! and its time and answers with what changed.

#![forbid(unsafe_code)]

pub mod account;
pub mod accounts;
pub mod challenge_period;
pub mod difference;
pub mod distance;
pub mod eliminations;
pub mod engine;
pub mod event;
pub mod frozen;
pub mod input;
pub mod input_chain;
pub mod ledgers;
pub mod limit_orders;
pub mod orders;
pub mod positions;
pub mod prices;
pub mod recent;
pub mod rejection;
pub mod roster;
pub mod rulebook;
pub mod scoring;
pub mod state;
pub mod state_digest;

pub use engine::{Checkpoint, Engine, OutOfOrder, Outcome};
pub use event::Event;
pub use input::{Commit, Input};
pub use rejection::Rejection;
pub use rulebook::Rulebook;
pub use state::{State, View};
