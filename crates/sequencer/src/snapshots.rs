//! Snapshots of the state: written by a thread of their own, while the writer goes on.
//!
//! A state of some hundred megabytes takes seconds to encode and to sync, and orders must not wait
//! for that. The thread has a checkpoint, which shares the state with the engine until the engine
//! changes it. One snapshot is written at a time.

use std::sync::Arc;
use std::thread::JoinHandle;

use proctor_commit_log::{Head, SnapshotError, SnapshotStore};
use proctor_engine::Checkpoint;
use proctor_types::Digest;
use proctor_wire::checkpoint;

use crate::stats::Stats;

/// What is written: the state as of a durable record of the log.
#[derive(Debug)]
pub(crate) struct Picture {
    pub(crate) head: Head,
    pub(crate) digest: Digest,
    pub(crate) state: Checkpoint,
}

/// Writes the snapshots of one data directory and removes the oldest beyond those kept.
#[derive(Debug)]
pub(crate) struct Snapshots {
    store: SnapshotStore,
    kept: usize,
    stats: Arc<Stats>,
    writing: Option<JoinHandle<()>>,
}

impl Snapshots {
    pub(crate) fn new(store: SnapshotStore, kept: usize, stats: Arc<Stats>) -> Self {
        Self { store, kept, stats, writing: None }
    }

    /// Tells whether a snapshot is being written in the background.
    pub(crate) fn is_writing(&self) -> bool {
        self.writing.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Begins to write `picture` in the background, after the snapshot before it. Its failure is
    /// counted and stops nothing.
    pub(crate) fn begin(&mut self, picture: Picture) {
        self.wait();
        let (store, kept, stats) = (self.store.clone(), self.kept, Arc::clone(&self.stats));
        let write = move || stats.snapshot(write(&store, kept, &picture).is_ok());
        match std::thread::Builder::new().name("proctor-snapshot".into()).spawn(write) {
            Ok(thread) => self.writing = Some(thread),
            Err(_) => self.stats.snapshot(false),
        }
    }

    /// Writes `picture` before it returns.
    pub(crate) fn write(&mut self, picture: &Picture) -> Result<(), SnapshotError> {
        self.wait();
        write(&self.store, self.kept, picture)
    }

    fn wait(&mut self) {
        if let Some(Err(_)) = self.writing.take().map(JoinHandle::join) {
            // It panicked before it could count.
            self.stats.snapshot(false);
        }
    }
}

impl Drop for Snapshots {
    /// Waits: whoever has closed a data directory may open or remove it.
    fn drop(&mut self) {
        self.wait();
    }
}

fn write(store: &SnapshotStore, kept: usize, picture: &Picture) -> Result<(), SnapshotError> {
    store.write_with(picture.head, picture.digest, |mut writer| {
        checkpoint::write(&picture.state, &mut writer)
    })?;
    store.prune(kept).map_err(SnapshotError::Io)?;
    Ok(())
}
