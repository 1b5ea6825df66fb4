//! The rekey protocol of a secure stream: sans-IO, one owner, no state in which both ends wait.
//!
//! A [`Session`] turns bytes from the peer into data and data into sealed bytes, and renews all keys
//! in rounds of three messages (INIT, RESP, FIN) while the data flows on. It has no clock, no I/O
//! and no randomness of its own: time is an argument, cryptography is a [`Crypto`], and whoever
//! owns the socket drives it. `docs/ratchet.md` has the state table, the byte format and the
//! promises; the tests of this crate run this very code through a model checker.
//!
//! Not the concern of this crate: sockets, the handshake that makes the first keys, and what the
//! data means.

#![forbid(unsafe_code)]

mod credit;
pub mod crypto;
pub mod frame;
pub mod key_schedule;
pub mod limit;
mod reason;
mod record;
mod rekey;
pub mod session;

#[cfg(test)]
mod tests;

pub use credit::RECORD_COST;
pub use crypto::{Crypto, CryptoError};
pub use key_schedule::{Agreed, InitialKeys, Mode, Psk, Secret};
pub use limit::{Limits, Moment};
pub use reason::{Reason, Violation};
pub use session::{Data, Event, Freshness, Life, Progress, Refused, Session, Status, Ticket};
