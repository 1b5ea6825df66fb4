//! The disk as the log sees it: one flat directory of files.
//!
//! Three implementations: [`files`] is the real one, [`memory`] is for tests that need no faults,
//! [`faulty`] loses, tears and refuses on request. Nothing else in this crate touches a file.

use std::fmt::Debug;
use std::io;

pub mod faulty;
pub mod files;
pub mod memory;

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading only: every write fails.
    Read,
    /// Reading and writing.
    Write,
}

/// A directory of files without subdirectories.
///
/// Names are file names, not paths. Creating, renaming and removing are durable only after
/// [`Storage::sync_dir`].
pub trait Storage: Debug + Send + Sync {
    /// Returns the names of all files, in any order.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Creates an empty file, replacing one of the same name, and opens it for writing.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>>;

    /// Opens an existing file.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if there is none, or what the operating system says.
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn StorageFile>>;

    /// Renames a file, replacing `to` in one step if it exists.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if `from` does not exist, or what the operating system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if it does not exist, or what the operating system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Returns how many bytes can still be written; without bound unless the storage knows.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn free_bytes(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    /// Makes the directory's entries durable.
    ///
    /// # Errors
    ///
    /// What the operating system says; the entries' state on disk is then unknown.
    fn sync_dir(&self) -> io::Result<()>;
}

/// An open file, read and written at offsets in bytes.
pub trait StorageFile: Debug + Send + Sync {
    /// Returns the length in bytes.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn len(&self) -> io::Result<u64>;

    /// Returns whether the file has no bytes.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `bytes` from `offset`.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::UnexpectedEof`] if the file ends before, or what the operating system says.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`, lengthening the file if needed.
    ///
    /// # Errors
    ///
    /// What the operating system says; any part of `bytes` may have been written then.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes the file's bytes and length durable (fdatasync).
    ///
    /// # Errors
    ///
    /// What the operating system says; what is on disk is then unknown, and trying again proves
    /// nothing, because the kernel may have forgotten the pages that it could not write.
    fn sync_data(&self) -> io::Result<()>;
}

/// Fills `bytes` from a file that is a slice in memory.
fn read_slice(file: &[u8], offset: u64, bytes: &mut [u8]) -> io::Result<()> {
    let from = usize::try_from(offset).ok();
    let part = from.and_then(|from| file.get(from..)?.get(..bytes.len()));
    bytes.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
    Ok(())
}

/// Writes `bytes` into a file that is a vector in memory.
fn write_slice(file: &mut Vec<u8>, offset: u64, bytes: &[u8]) -> io::Result<()> {
    let from = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let to = from.checked_add(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
    if file.len() < to {
        file.resize(to, 0);
    }
    file[from..to].copy_from_slice(bytes);
    Ok(())
}
