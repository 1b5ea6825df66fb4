//! Real files in a real directory.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::storage::{Access, Storage, StorageFile};

/// A directory of the file system.
#[derive(Debug)]
pub struct FileStorage {
    path: PathBuf,
}

impl FileStorage {
    /// Opens a directory; creates it, and its parents, if needed.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn create(path: &Path) -> io::Result<Self> {
        create_directory(path)?;
        Self::open(path)
    }

    /// Opens an existing directory and changes nothing.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] or [`io::ErrorKind::NotADirectory`].
    pub fn open(path: &Path) -> io::Result<Self> {
        match fs::metadata(path)?.is_dir() {
            true => Ok(Self { path: path.to_owned() }),
            false => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// Returns the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Creates a directory, and its parents, so that they survive a crash.
pub(crate) fn create_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    create_directory(parent)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        other => other?,
    }
    // A directory is an entry of its parent: without this it could vanish with all in it.
    File::open(parent)?.sync_all()
}

impl Storage for FileStorage {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            // A name that is not text cannot be one of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let path = self.path.join(name);
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Box::new(file))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn StorageFile>> {
        let write = access == Access::Write;
        Ok(Box::new(File::options().read(true).write(write).open(self.path.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let room = rustix::fs::statvfs(&self.path)?;
        Ok(room.f_bavail.saturating_mul(room.f_frsize))
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

impl StorageFile for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(bytes, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_written_read_renamed_listed_and_removed() {
        let parent = tempfile::tempdir().unwrap();
        let storage = FileStorage::create(&parent.path().join("a/b")).unwrap();
        let file = storage.create("one").unwrap();
        file.write_at(3, b"xyz").unwrap();
        file.sync_data().unwrap();
        assert_eq!(file.len().unwrap(), 6);
        storage.rename("one", "two").unwrap();
        storage.sync_dir().unwrap();
        assert_eq!(storage.list().unwrap(), ["two"]);
        let mut bytes = [1; 6];
        storage.open("two", Access::Read).unwrap().read_at(0, &mut bytes).unwrap();
        assert_eq!(bytes, *b"\0\0\0xyz");
        let end = storage.open("two", Access::Read).unwrap().read_at(1, &mut bytes).unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
        assert!(storage.open("two", Access::Read).unwrap().write_at(0, b"no").is_err());
        storage.remove("two").unwrap();
        let gone = storage.open("two", Access::Write).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn opening_does_not_create() {
        let parent = tempfile::tempdir().unwrap();
        let missing = FileStorage::open(&parent.path().join("missing")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        fs::write(parent.path().join("file"), b"").unwrap();
        let file = FileStorage::create(&parent.path().join("file")).unwrap_err();
        assert!(matches!(file.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory));
    }
}
