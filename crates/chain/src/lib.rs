//! The certified chain beside a commit log: headers, certificates, what is served and taken over.
//!
//! The log alone is the record. Headers follow from it and can be made anew at any time; they are
//! kept in a file only so that any range of them can be read at once. Certificates come from whoever
//! orders commits: a sequencer signs what it has written, a follower keeps what it was shown.

#![forbid(unsafe_code)]

mod bodies;
mod certificates;
mod file;
mod headers;
mod retain;
mod snapshots;
pub mod store;

pub use retain::Retain;
pub use store::{ChainError, ChainStore, InstallFailed, Role, Signer, SnapshotFailed, chain_of};
