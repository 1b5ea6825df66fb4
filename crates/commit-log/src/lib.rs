//! A durable, hash-chained log of opaque records: what went in comes out, or the log says why not.
//!
//! [`Log`] appends records in groups, one write and one fdatasync for each group, and recovers
//! after a crash; [`Reader`] goes through a log without changing it; [`SnapshotStore`] keeps
//! copies of a state beside the log, so that a restart need not read all of it. Everything goes
//! through the [`Storage`] trait, so that the tests can run on a disk that lies
//! ([`storage::faulty`]). The bytes are described in `docs/commit-log.md`.
//!
//! This crate is *not* concerned with what a record or a snapshot means, with time, with who may
//! append, or with threads: a [`Log`] has one owner, and whoever wants to share it puts a queue
//! before it.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use proctor_commit_log::{Log, LogConfig, storage::memory::MemoryStorage};
//!
//! let storage = Arc::new(MemoryStorage::new());
//! let (mut log, recovery) = Log::open(storage.clone(), LogConfig::default())?;
//! assert_eq!(recovery.head.index, 0);
//! log.append(b"first")?;
//! log.append(b"second")?;
//! assert_eq!(log.sync()?, 2); // from here on, both happened
//! log.close()?;
//!
//! let (log, recovery) = Log::open(storage, LogConfig::default())?;
//! assert!(recovery.sealed);
//! let payloads: Result<Vec<_>, _> = log.read_from(1)?.map(|r| r.map(|r| r.payload)).collect();
//! assert_eq!(payloads?, [b"first".to_vec(), b"second".to_vec()]);
//! # Ok::<(), proctor_commit_log::LogError>(())
//! ```

#![forbid(unsafe_code)]

pub mod base;
pub mod record;
mod sector;
mod segment;

pub mod reader;
pub mod recovery;
pub mod writer;

pub mod snapshot;

pub mod dir_lock;
pub mod error;
pub mod probe;
pub mod storage;

pub use base::Base;
pub use dir_lock::{DirLock, LockError};
pub use error::{Damage, DamageKind, IoFailure, LogError};
pub use reader::{End, Reader, TornTail, Verified, verify};
pub use record::{Appended, Head, MAX_PAYLOAD_BYTES, Record, chain_hash};
pub use recovery::Recovery;
pub use segment::SECTOR_BYTES;
pub use snapshot::{
    SkippedSnapshot, Snapshot, SnapshotError, SnapshotFile, SnapshotStore, StagedSnapshot,
};
pub use storage::Storage;
pub use writer::{Log, LogConfig, MAX_BATCH_BYTES};
