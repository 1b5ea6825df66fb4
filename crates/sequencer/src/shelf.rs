//! A shelf for the engine: files without a name, which end with the process.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use proctor_engine::positions::closed::{Shelf, Shelved};
use proctor_types::Digest;

/// Bytes of a file after which the next one is begun. A file's room is free when all that it holds was
/// dropped.
const FILE_BYTES: u64 = 32 << 20;

/// Files of a directory that hold what the engine keeps out of memory.
///
/// They are removed from the directory as soon as they are open, so a crash leaves nothing behind, and
/// they are never synced: the log has everything.
#[derive(Debug)]
pub struct FileShelf {
    directory: PathBuf,
    current: Mutex<Option<Filling>>,
    counts: Arc<Counts>,
}

#[derive(Debug)]
struct Filling {
    file: Arc<Nameless>,
    len: u64,
}

#[derive(Debug)]
struct Nameless {
    file: File,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    files: AtomicU64,
    bytes: AtomicU64,
    refused: AtomicU64,
}

impl FileShelf {
    /// Returns a shelf in `directory`, which must exist. Nothing is created before it is needed.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, current: Mutex::new(None), counts: Arc::default() }
    }

    /// Returns how many bytes are on it.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.counts.bytes.load(Ordering::Relaxed)
    }

    /// Returns how often it had no room: what was to be put there is still in memory.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.counts.refused.load(Ordering::Relaxed)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<Place> {
        let len = bytes.len() as u64;
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |filling: &Filling| filling.len > 0 && filling.len + len > FILE_BYTES;
        if current.as_ref().is_none_or(full) {
            *current = Some(Filling { file: Arc::new(self.begin()?), len: 0 });
        }
        let Some(filling) = current.as_mut() else { return Err(io::Error::other("no file")) };
        let at = filling.len;
        filling.file.file.write_all_at(bytes, at)?;
        filling.len += len;
        self.counts.bytes.fetch_add(len, Ordering::Relaxed);
        Ok(Place { file: Arc::clone(&filling.file), at, len: bytes.len(), sum: sum(bytes) })
    }

    fn begin(&self) -> io::Result<Nameless> {
        let number = self.counts.files.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.join(format!(".shelf-{}-{number}", std::process::id()));
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        std::fs::remove_file(path)?;
        Ok(Nameless { file, counts: Arc::clone(&self.counts) })
    }
}

impl Shelf for FileShelf {
    fn put(&self, bytes: &[u8]) -> Option<Arc<dyn Shelved>> {
        match self.write(bytes) {
            Ok(place) => Some(Arc::new(place)),
            Err(_) => {
                self.counts.refused.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }
}

/// Where bytes are.
#[derive(Debug)]
struct Place {
    file: Arc<Nameless>,
    at: u64,
    len: usize,
    sum: u64,
}

/// A quarter of the digest: enough against a disk that errs.
fn sum(bytes: &[u8]) -> u64 {
    let digest = Digest::of(bytes).0;
    digest.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

impl Shelved for Place {
    fn read(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        let read = self.file.file.read_exact_at(&mut bytes, self.at);
        read.unwrap_or_else(|error| panic!("closed positions cannot be read back: {error}"));
        assert!(sum(&bytes) == self.sum, "closed positions were damaged on disk");
        bytes
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.file.counts.bytes.fetch_sub(self.len as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf() -> (tempfile::TempDir, FileShelf) {
        let directory = tempfile::tempdir().expect("a directory");
        let shelf = FileShelf::new(directory.path().to_owned());
        (directory, shelf)
    }

    #[test]
    fn what_was_put_there_is_read_back_and_the_directory_stays_empty() {
        let (directory, shelf) = shelf();
        let put = |byte: u8| shelf.put(&vec![byte; 10_000 + usize::from(byte)]).expect("room");
        let places: Vec<_> = (0..100).map(put).collect();
        assert_eq!(directory.path().read_dir().expect("it is there").count(), 0);
        for (byte, place) in (0..).zip(&places) {
            assert_eq!(place.read(), vec![byte; 10_000 + usize::from(byte)]);
        }
        assert_eq!(shelf.bytes(), 100 * 10_000 + 99 * 50);
        drop(places);
        assert_eq!((shelf.bytes(), shelf.refused()), (0, 0));
    }

    #[test]
    fn a_new_file_is_begun_when_one_is_full_and_a_dropped_one_is_closed() {
        let (_directory, shelf) = shelf();
        let piece = vec![7; usize::try_from(FILE_BYTES / 2).expect("small")];
        let first = shelf.write(&piece).expect("room");
        let second = shelf.write(&piece).expect("room");
        let third = shelf.write(&piece).expect("room");
        assert!(Arc::ptr_eq(&first.file, &second.file) && !Arc::ptr_eq(&first.file, &third.file));
        let file = Arc::downgrade(&first.file);
        drop(first);
        assert!(file.upgrade().is_some(), "the second is still there");
        drop(second);
        assert!(file.upgrade().is_none(), "its room is free");
    }

    #[test]
    fn without_room_it_says_so_and_counts() {
        let (directory, shelf) = shelf();
        directory.close().expect("removed");
        assert!(shelf.put(b"positions").is_none());
        assert_eq!((shelf.bytes(), shelf.refused()), (0, 1));
    }

    #[test]
    #[should_panic(expected = "damaged on disk")]
    fn bytes_that_changed_on_disk_are_not_believed() {
        let (_directory, shelf) = shelf();
        let place = shelf.write(b"positions").expect("room");
        place.file.file.write_all_at(b"q", place.at).expect("written");
        place.read();
    }
}
