//! The data directory: where a node keeps its log, and the lock that gives it to one process.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proctor_commit_log::storage::Storage;
use proctor_commit_log::storage::files::FileStorage;
use proctor_commit_log::{DirLock, LockError};

/// Name of the directory of segments and snapshots inside a data directory.
const LOG: &str = "log";

/// A data directory that this process may write to, until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    storage: Arc<FileStorage>,
    _lock: DirLock,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It does not exist or holds no log.
    #[error(
        "{0} is not a data directory: it has no {LOG} folder; give the --data of an earlier run"
    )]
    NotADataDir(PathBuf),
    /// The operating system refused.
    #[error("cannot {action} {path}: {error}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Another process has it.
    #[error(transparent)]
    Locked(#[from] LockError),
}

impl DataDir {
    /// Opens the data directory at `path` for writing, making it when it does not exist.
    ///
    /// # Errors
    /// [`DataDirError::Locked`] when another process has it; [`DataDirError::Io`].
    pub fn create(path: &Path) -> Result<Self, DataDirError> {
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |error| DataDirError::Io { action, path, error }
        };
        std::fs::create_dir_all(path).map_err(failed("create the directory", path))?;
        let lock = DirLock::acquire(path)?;
        let log = path.join(LOG);
        let storage = FileStorage::create(&log).map_err(failed("create the directory", &log))?;
        Ok(Self { path: path.to_owned(), storage: Arc::new(storage), _lock: lock })
    }

    /// Returns the log's storage.
    #[must_use]
    pub fn storage(&self) -> Arc<dyn Storage> {
        Arc::<FileStorage>::clone(&self.storage)
    }

    /// Returns the directory of segments and snapshots, for who follows the log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.path.join(LOG)
    }

    /// Returns where the directory is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Returns the storage of the log in the data directory at `path`, for reading only: it needs no
/// lock and changes nothing.
///
/// # Errors
/// [`DataDirError::NotADataDir`] or [`DataDirError::Io`].
pub fn log_of(path: &Path) -> Result<Arc<dyn Storage>, DataDirError> {
    let log = path.join(LOG);
    if !log.is_dir() {
        return Err(DataDirError::NotADataDir(path.to_owned()));
    }
    let storage = FileStorage::open(&log).map_err(|error| DataDirError::Io {
        action: "open",
        path: log,
        error,
    })?;
    Ok(Arc::new(storage))
}
