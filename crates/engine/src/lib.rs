//! The rules of Proctor: a fold over inputs with no clock, I/O, threads or hash order.
//!
//! The same inputs in the same order give the same state and the same events, bit for bit, on every
//! machine. This crate does not know how inputs are ordered, stored or sent; it is told the commit
//! and its time and answers with what changed.

#![forbid(unsafe_code)]

pub mod ledgers;
pub mod orders;
pub mod positions;
pub mod prices;
pub mod rulebook;

pub use rulebook::Rulebook;
