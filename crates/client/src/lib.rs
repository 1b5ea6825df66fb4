//! Clients of a node: connections that come back, calls that are safe to repeat, local replicas.
//!
//! A call has one deadline for all its attempts. Reads are repeated when a connection breaks; a
//! write is repeated only when the server says that nothing of it was taken, so no write happens
//! twice. What a broken connection leaves open is told as [`OutcomeUnknown`], with what to ask.
//!
//! A [`Replica`] answers from memory, and answers [`Stale`] when it cannot vouch for its copy. Nothing
//! here knows a rule.

#![forbid(unsafe_code)]

pub mod backoff;
pub mod client;
pub mod connection;
pub mod error;
mod fate;
pub mod replica;
#[cfg(test)]
mod testing;

pub use backoff::{Backoff, Random};
pub use client::{Addresses, Client, SignedBytes, Submitted};
pub use connection::{Connection, Link, Settings};
pub use error::{Ask, CallError, OutcomeUnknown};
pub use proctor_rpc::{Problem, Reason, v1};
pub use replica::eliminations::EliminationReplica;
pub use replica::{Replica, ReplicaState, Stale};
