//! Snapshots of the state: written by a thread of their own, while the writer goes on.
//!
//! A state of some hundred megabytes takes seconds to encode and to sync, and orders must not wait
//! for that. The thread has a checkpoint, which shares the state with the engine until the engine
//! changes it. One snapshot is written at a time.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use proctor_commit_log::storage::Storage;
use proctor_commit_log::{Head, IoFailure, LogError, SnapshotError, SnapshotStore, base};
use proctor_engine::Checkpoint;
use proctor_types::Digest;
use proctor_wire::checkpoint;

use crate::stats::Stats;
use crate::writer::WriterConfig;

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
    files: Files,
    stats: Arc<Stats>,
    writing: Option<JoinHandle<()>>,
}

#[derive(Clone, Debug)]
struct Files {
    storage: Arc<dyn Storage>,
    store: SnapshotStore,
    kept: usize,
    keeps_oldest: bool,
}

impl Snapshots {
    pub(crate) fn new(storage: Arc<dyn Storage>, config: &WriterConfig, stats: Arc<Stats>) -> Self {
        let store = SnapshotStore::new(Arc::clone(&storage));
        let (kept, keeps_oldest) = (config.snapshots_kept, config.keeps_oldest);
        Self { files: Files { storage, store, kept, keeps_oldest }, stats, writing: None }
    }

    /// Begins to write `picture` in the background. Its failure is counted and stops nothing. Waits for the
    /// snapshot before it: nodes compare snapshots of the same commits, so none is left out.
    pub(crate) fn begin(&mut self, picture: Picture) {
        self.wait();
        let (files, stats) = (self.files.clone(), Arc::clone(&self.stats));
        let write = move || stats.snapshot(files.write(&picture).is_ok());
        match std::thread::Builder::new().name("proctor-snapshot".into()).spawn(write) {
            Ok(thread) => self.writing = Some(thread),
            Err(_) => self.stats.snapshot(false),
        }
    }

    /// Writes `picture` before it returns.
    pub(crate) fn write(&mut self, picture: &Picture) -> Result<(), SnapshotError> {
        self.wait();
        self.files.write(picture)
    }

    /// Waits until nothing is being written.
    pub(crate) fn wait(&mut self) {
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

impl Files {
    fn write(&self, picture: &Picture) -> Result<(), SnapshotError> {
        self.store.write_with(picture.head, picture.digest, |mut writer| {
            checkpoint::write(&picture.state, &mut writer)
        })?;
        let spared = self.spared()?;
        self.store.prune(self.kept, &spared)?;
        Ok(())
    }

    /// Returns the snapshots that are kept whatever their age: that of the log's beginning, and one
    /// that can become it.
    fn spared(&self) -> Result<Vec<u64>, SnapshotError> {
        let io = |error: LogError| {
            SnapshotError::Io(if let LogError::Io(failure) = error {
                failure
            } else {
                let source = Arc::new(io::Error::other(error.to_string()));
                IoFailure { action: "read", file: "BASE".into(), source }
            })
        };
        let base = base::base(&*self.storage).map_err(io)?.map_or(0, |base| base.head.index);
        let mut spared = vec![base];
        if self.keeps_oldest {
            spared.extend(self.store.list()?.into_iter().rfind(|index| *index > base));
        }
        Ok(spared)
    }
}
