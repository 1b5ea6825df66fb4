//! Files in memory that never fail, for tests.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::storage::{Access, Storage, StorageFile, read_slice, write_slice};

type Bytes = Arc<Mutex<Vec<u8>>>;

/// A directory in memory.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    files: Mutex<BTreeMap<String, Bytes>>,
}

impl MemoryStorage {
    /// Returns an empty directory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a directory with these files.
    #[must_use]
    pub fn with_files(files: BTreeMap<String, Vec<u8>>) -> Self {
        let files = files.into_iter().map(|(name, bytes)| (name, Arc::new(Mutex::new(bytes))));
        Self { files: Mutex::new(files.collect()) }
    }

    /// Returns a copy of all files.
    #[must_use]
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let files = locked(&self.files);
        files.iter().map(|(name, bytes)| (name.clone(), locked(bytes).clone())).collect()
    }
}

/// The lock is held for single statements that cannot leave half a change behind, so a panic of
/// another holder is no reason to stop.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
struct MemoryFile {
    bytes: Bytes,
    access: Access,
}

impl Storage for MemoryStorage {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(locked(&self.files).keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let bytes = Bytes::default();
        locked(&self.files).insert(name.to_owned(), bytes.clone());
        Ok(Box::new(MemoryFile { bytes, access: Access::Write }))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn StorageFile>> {
        let bytes = locked(&self.files).get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(MemoryFile { bytes, access }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = locked(&self.files);
        let bytes = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), bytes);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        locked(&self.files).remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }
}

impl StorageFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(locked(&self.bytes).len() as u64)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        read_slice(&locked(&self.bytes), offset, bytes)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match self.access {
            Access::Write => write_slice(&mut locked(&self.bytes), offset, bytes),
            Access::Read => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}
