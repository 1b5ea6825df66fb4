//! The directory lock: one process at a time for each data directory.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::storage::files::create_directory;

/// Name of the lock's file.
const FILE_NAME: &str = "LOCK";

/// A locked directory. The operating system releases the lock when this is dropped or the process
/// ends, however it ends.
#[derive(Debug)]
pub struct DirLock {
    path: PathBuf,
    /// Holds the lock.
    file: File,
}

/// Why a directory was not locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process, or another part of this one, has the directory.
    #[error("{} is in use by another process", .path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The lock's file cannot be created or locked.
    #[error("cannot lock {}: {source}", .path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl DirLock {
    /// Locks a directory; creates it if needed. Does not wait.
    ///
    /// # Errors
    ///
    /// [`LockError::InUse`] or [`LockError::Io`].
    pub fn acquire(path: &Path) -> Result<Self, LockError> {
        let io = |source| LockError::Io { path: path.to_owned(), source };
        create_directory(path).map_err(io)?;
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join(FILE_NAME))
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), file }),
            Err(TryLockError::WouldBlock) => Err(LockError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }

    /// Returns the locked directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // Closing alone is not enough: a child process between its fork and its exec holds a copy
        // of the open file, and with it the lock. When unlocking fails, closing has to do.
        drop(self.file.unlock());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_owner_at_a_time_and_the_error_names_it() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        let lock = DirLock::acquire(&path).unwrap();
        assert_eq!(lock.path(), path);
        let error = DirLock::acquire(&path).unwrap_err();
        assert!(matches!(&error, LockError::InUse { path: named } if *named == path));
        assert_eq!(error.to_string(), format!("{} is in use by another process", path.display()));
        drop(lock);
        DirLock::acquire(&path).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_an_error_that_names_it() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("file");
        std::fs::write(&path, b"").unwrap();
        assert!(matches!(DirLock::acquire(&path), Err(LockError::Io { .. })));
    }
}
