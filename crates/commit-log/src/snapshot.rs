//! Snapshots: opaque copies of a state, each with the place in the log to which it belongs.
//!
//! A snapshot is written under another name, synced and renamed, so a file with a snapshot's name
//! is whole unless it was damaged later. A damaged one is skipped and reported, and the one before
//! it is used: the log has everything since.

use std::io::{self, Write as _};
use std::sync::Arc;

use proctor_types::Digest;

use crate::error::IoFailure;
use crate::record::{Head, digest_at, u32_at, u64_at};
use crate::storage::{Access, Storage, StorageFile};

mod parts;

pub use parts::{SnapshotFile, StagedSnapshot};

/// The largest snapshot, in bytes of state (4 GiB).
pub const MAX_SNAPSHOT_BYTES: u64 = 4 << 30;

const MAGIC: &[u8; 8] = b"PROCTSNP";
const FORMAT_VERSION: u32 = 1;
/// Bytes before the state, and the checksum behind it.
const HEADER_BYTES: usize = 8 + 4 + 8 + 32 + 32 + 8;
const CHECKSUM_BYTES: usize = 32;
const ENDING: &str = ".snap";
const UNFINISHED_ENDING: &str = ".snap.new";
/// Ending of a snapshot that is put together from what others have.
const STAGED_ENDING: &str = ".snap.join";
/// How much of a state is read or written at once, in bytes.
const PIECE_BYTES: usize = 1 << 20;

/// A state and where it belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The last record that the state includes.
    pub head: Head,
    /// The owner's digest of the state; stored, not interpreted.
    pub state_digest: Digest,
    /// The state, opaque.
    pub state: Vec<u8>,
}

/// Why a snapshot cannot be written or read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The storage failed.
    #[error(transparent)]
    Io(#[from] IoFailure),
    /// The state is over [`MAX_SNAPSHOT_BYTES`].
    #[error("a snapshot of {bytes} bytes is over the limit of {max} bytes")]
    TooLarge {
        /// Length of the state, or of the file.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// The file is not a whole snapshot.
    #[error("{file} is damaged: {what}")]
    Damaged {
        /// File name inside the snapshots' directory.
        file: String,
        /// What is wrong.
        what: &'static str,
    },
    /// The file was written by a later version of this program.
    #[error("{file} has format version {found}, this program reads version {supported}")]
    UnsupportedVersion {
        /// File name inside the snapshots' directory.
        file: String,
        /// Version in the file.
        found: u32,
        /// Version this program reads.
        supported: u32,
    },
}

/// A snapshot that was passed over, and why.
#[derive(Clone, Debug)]
pub struct SkippedSnapshot {
    /// Index in the file's name.
    pub index: u64,
    /// What is wrong with it.
    pub error: SnapshotError,
}

/// The snapshots in a directory, which may be that of the log.
#[derive(Clone, Debug)]
pub struct SnapshotStore {
    storage: Arc<dyn Storage>,
}

impl SnapshotStore {
    /// Returns the snapshots in `storage`.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>) -> Self {
        Self { storage }
    }

    /// Writes a snapshot; durable when this returns. Replaces one of the same index.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::TooLarge`] or [`SnapshotError::Io`]; earlier snapshots are not touched.
    pub fn write(&self, snapshot: &Snapshot) -> Result<(), SnapshotError> {
        let state = |writer: &mut dyn io::Write| writer.write_all(&snapshot.state);
        self.write_with(snapshot.head, snapshot.state_digest, state)
    }

    /// Writes a snapshot whose state `state` produces piece by piece, so that it is never in memory as
    /// a whole. `state` is called twice, the first time for the length, and must say the same.
    ///
    /// # Errors
    ///
    /// As [`SnapshotStore::write`]; an error of `state` is an I/O error.
    pub fn write_with(
        &self,
        head: Head,
        state_digest: Digest,
        state: impl Fn(&mut dyn io::Write) -> io::Result<()>,
    ) -> Result<(), SnapshotError> {
        let mut length = Length(0);
        state(&mut length).map_err(IoFailure::of("encode", "the state"))?;
        let (bytes, max) = (length.0, MAX_SNAPSHOT_BYTES);
        if bytes > max {
            return Err(SnapshotError::TooLarge { bytes, max });
        }
        let index = head.index;
        let (name, unfinished) = (file_name(index), format!("{index:020}{UNFINISHED_ENDING}"));
        let file =
            self.storage.create(&unfinished).map_err(IoFailure::of("create", &unfinished))?;
        let mut output = Output { file: &*file, at: 0, hasher: blake3::Hasher::new() };
        output
            .write_all(&header(&head, &state_digest, bytes))
            .and_then(|()| {
                let mut buffered = io::BufWriter::with_capacity(PIECE_BYTES, &mut output);
                state(&mut buffered)?;
                buffered.flush()
            })
            .and_then(|()| output.finish(HEADER_BYTES as u64 + bytes))
            .map_err(IoFailure::of("write", &unfinished))?;
        file.sync_data().map_err(IoFailure::of("sync", &unfinished))?;
        self.storage.rename(&unfinished, &name).map_err(IoFailure::of("rename to", &name))?;
        Ok(self.storage.sync_dir().map_err(IoFailure::of("sync", "."))?)
    }

    /// Returns the indices of all snapshots, valid or not, newest first.
    ///
    /// # Errors
    ///
    /// What the storage says.
    pub fn list(&self) -> Result<Vec<u64>, IoFailure> {
        let files = self.storage.list().map_err(IoFailure::of("list", "."))?;
        let mut indices: Vec<_> = files.iter().filter_map(|file| parse_name(file)).collect();
        indices.sort_unstable_by(|a, b| b.cmp(a));
        Ok(indices)
    }

    /// Reads and checks the snapshot of record `index`.
    ///
    /// # Errors
    ///
    /// Any [`SnapshotError`].
    pub fn load(&self, index: u64) -> Result<Snapshot, SnapshotError> {
        let file = self.open(index)?;
        let mut state = Vec::with_capacity(usize::try_from(file.state_len()).unwrap_or(0));
        file.read_all(|piece| state.extend_from_slice(piece))?;
        Ok(Snapshot { head: file.head(), state_digest: file.state_digest(), state })
    }

    /// Opens the snapshot of record `index` to read parts of it. Its checksum is not tested before
    /// [`SnapshotFile::read_all`] has read the whole.
    ///
    /// # Errors
    ///
    /// Any [`SnapshotError`].
    pub fn open(&self, index: u64) -> Result<SnapshotFile, SnapshotError> {
        SnapshotFile::open(&*self.storage, file_name(index), index)
    }

    /// Returns the snapshot of record `index` that is being put together, an empty one at first. All
    /// that was staged for other records is removed.
    ///
    /// # Errors
    ///
    /// What the storage says.
    pub fn stage(&self, index: u64) -> Result<StagedSnapshot, IoFailure> {
        let name = staged_name(index);
        let mut is_there = false;
        for file in self.storage.list().map_err(IoFailure::of("list", "."))? {
            if file == name {
                is_there = true;
            } else if file.ends_with(STAGED_ENDING) {
                self.storage.remove(&file).map_err(IoFailure::of("remove", &file))?;
            }
        }
        let file = if is_there {
            self.storage.open(&name, Access::Write).map_err(IoFailure::of("open", &name))?
        } else {
            self.storage.create(&name).map_err(IoFailure::of("create", &name))?
        };
        Ok(StagedSnapshot { file, name, index })
    }

    /// Removes what was staged.
    ///
    /// # Errors
    ///
    /// What the storage says.
    pub fn discard_staged(&self) -> Result<(), IoFailure> {
        for file in self.storage.list().map_err(IoFailure::of("list", "."))? {
            if file.ends_with(STAGED_ENDING) {
                self.storage.remove(&file).map_err(IoFailure::of("remove", &file))?;
            }
        }
        Ok(())
    }

    /// Gives a staged snapshot, which was finished, its name. Does nothing if it has it.
    pub(crate) fn unstage(&self, index: u64) -> Result<(), IoFailure> {
        let (staged, name) = (staged_name(index), file_name(index));
        match self.storage.rename(&staged, &name) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(IoFailure::of("rename to", &name)(error)),
        }
        self.storage.sync_dir().map_err(IoFailure::of("sync", "."))
    }

    /// Returns the newest valid snapshot that is not after record `until`, and the newer ones that
    /// had to be skipped. Nothing is deleted.
    ///
    /// # Errors
    ///
    /// If the directory cannot be listed. A snapshot that cannot be read is skipped.
    pub fn newest(
        &self,
        until: u64,
    ) -> Result<(Option<Snapshot>, Vec<SkippedSnapshot>), IoFailure> {
        let mut skipped = Vec::new();
        for index in self.list()?.into_iter().filter(|index| *index <= until) {
            match self.load(index) {
                Ok(snapshot) => return Ok((Some(snapshot), skipped)),
                Err(error) => skipped.push(SkippedSnapshot { index, error }),
            }
        }
        Ok((None, skipped))
    }

    fn is_whole(&self, index: u64) -> bool {
        self.open(index).is_ok_and(|file| file.read_all(|_| ()).is_ok())
    }

    /// Removes all valid snapshots but the newest `keep` and those in `spared`, and returns the
    /// removed indices. Invalid ones neither count nor go: what to do with them is for a person to
    /// decide.
    ///
    /// # Errors
    ///
    /// If the storage fails; some may have been removed then.
    pub fn prune(&self, keep: usize, spared: &[u64]) -> Result<Vec<u64>, IoFailure> {
        let all = self.list()?;
        let mut surplus = Vec::new();
        // Each is read as a whole to be tested, so none that stays in any case.
        if all.len() > keep {
            let mut kept = 0;
            for index in all {
                if kept < keep {
                    kept += usize::from(self.is_whole(index));
                } else if !spared.contains(&index) && self.is_whole(index) {
                    surplus.push(index);
                }
            }
        }
        for index in &surplus {
            let name = file_name(*index);
            self.storage.remove(&name).map_err(IoFailure::of("remove", &name))?;
        }
        if !surplus.is_empty() {
            self.storage.sync_dir().map_err(IoFailure::of("sync", "."))?;
        }
        Ok(surplus)
    }
}

pub(crate) fn file_name(index: u64) -> String {
    format!("{index:020}{ENDING}")
}

fn staged_name(index: u64) -> String {
    format!("{index:020}{STAGED_ENDING}")
}

fn parse_name(file: &str) -> Option<u64> {
    let index = file.strip_suffix(ENDING)?.parse().ok()?;
    (file_name(index) == file).then_some(index)
}

fn header(head: &Head, state_digest: &Digest, len: u64) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    header.extend_from_slice(&head.index.to_le_bytes());
    header.extend_from_slice(&head.hash.0);
    header.extend_from_slice(&state_digest.0);
    header.extend_from_slice(&len.to_le_bytes());
    header
}

/// Reads the header of the snapshot of record `index`, whose state has `len` bytes.
fn decode_header(
    name: &str,
    index: u64,
    header: &[u8],
    len: u64,
) -> Result<(Head, Digest), SnapshotError> {
    let damaged = |what| SnapshotError::Damaged { file: name.to_owned(), what };
    let (found, supported) = (u32_at(header, 8), FORMAT_VERSION);
    if found != supported {
        let file = name.to_owned();
        return Err(SnapshotError::UnsupportedVersion { file, found, supported });
    }
    if u64_at(header, 84) != len {
        return Err(damaged("the length is wrong"));
    }
    let head = Head { index: u64_at(header, 12), hash: digest_at(header, 20) };
    if head.index != index {
        return Err(damaged("the index is not that of the file name"));
    }
    Ok((head, digest_at(header, 52)))
}

/// Counts what is written to it.
struct Length(u64);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that is written from its beginning, and the checksum of what was written.
struct Output<'a> {
    file: &'a dyn StorageFile,
    at: u64,
    hasher: blake3::Hasher,
}

impl Output<'_> {
    /// Ends the file with the checksum, if `expected` bytes stand before it.
    fn finish(self, expected: u64) -> io::Result<()> {
        if self.at != expected {
            return Err(io::Error::other("the state changed its length while it was written"));
        }
        self.file.write_at(self.at, self.hasher.finalize().as_bytes())
    }
}

impl io::Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(self.at, bytes)?;
        self.hasher.update(bytes);
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
