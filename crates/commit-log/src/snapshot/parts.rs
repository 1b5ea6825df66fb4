//! Snapshots in parts: read piece by piece for others, put together from what others have.

use proctor_types::Digest;

use super::{CHECKSUM_BYTES, HEADER_BYTES, MAGIC, MAX_SNAPSHOT_BYTES, PIECE_BYTES, SnapshotError};
use super::{decode_header, header};
use crate::error::IoFailure;
use crate::record::Head;
use crate::storage::{Access, Storage, StorageFile};

/// A snapshot that is read in parts.
#[derive(Debug)]
pub struct SnapshotFile {
    file: Box<dyn StorageFile>,
    name: String,
    head: Head,
    state_digest: Digest,
    len: u64,
}

impl SnapshotFile {
    pub(super) fn open(
        storage: &dyn Storage,
        name: String,
        index: u64,
    ) -> Result<Self, SnapshotError> {
        let file = storage.open(&name, Access::Read).map_err(IoFailure::of("open", &name))?;
        let bytes = file.len().map_err(IoFailure::of("measure", &name))?;
        let around = (HEADER_BYTES + CHECKSUM_BYTES) as u64;
        let damaged = |what| SnapshotError::Damaged { file: name.clone(), what };
        let len = bytes.checked_sub(around).ok_or_else(|| damaged("the file is too short"))?;
        let max = MAX_SNAPSHOT_BYTES;
        if len > max {
            return Err(SnapshotError::TooLarge { bytes: len, max });
        }
        let mut header = [0; HEADER_BYTES];
        file.read_at(0, &mut header).map_err(IoFailure::of("read", &name))?;
        if header[..8] != MAGIC[..] {
            return Err(damaged("the magic number is wrong"));
        }
        let (head, state_digest) = decode_header(&name, index, &header, len)?;
        Ok(Self { file, name, head, state_digest, len })
    }

    /// Returns the last record that the state includes.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// Returns the owner's digest of the state.
    #[must_use]
    pub fn state_digest(&self) -> Digest {
        self.state_digest
    }

    /// Returns the length of the state in bytes.
    #[must_use]
    pub fn state_len(&self) -> u64 {
        self.len
    }

    /// Fills `bytes` from byte `offset` of the state.
    ///
    /// # Errors
    /// [`SnapshotError::Io`], also when the state ends before.
    pub fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<(), SnapshotError> {
        let from = HEADER_BYTES as u64 + offset;
        let read = self.file.read_at(from, bytes).map_err(IoFailure::of("read", &self.name));
        Ok(read?)
    }

    /// Reads the whole state in pieces of 1 MiB, the last one shorter, and gives each to `piece`; at
    /// the end the checksum is tested, so what was read counts only when this succeeds.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`] or [`SnapshotError::Io`].
    pub fn read_all(&self, mut piece: impl FnMut(&[u8])) -> Result<(), SnapshotError> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&header(&self.head, &self.state_digest, self.len));
        let mut buffer = vec![0; PIECE_BYTES];
        each_piece(self.len, |offset, bytes| {
            let bytes = &mut buffer[..bytes];
            self.read_at(offset, bytes)?;
            hasher.update(bytes);
            piece(bytes);
            Ok(())
        })?;
        let mut stored = [0; CHECKSUM_BYTES];
        self.read_at(self.len, &mut stored)?;
        if *hasher.finalize().as_bytes() == stored {
            Ok(())
        } else {
            let (file, what) = (self.name.clone(), "the checksum is wrong");
            Err(SnapshotError::Damaged { file, what })
        }
    }
}

/// A snapshot in the making: its parts come in any order, and are durable only once it is finished.
/// What a crash leaves of it can be used again by whoever tests each part.
#[derive(Debug)]
pub struct StagedSnapshot {
    pub(super) file: Box<dyn StorageFile>,
    pub(super) name: String,
    pub(super) index: u64,
}

impl StagedSnapshot {
    /// Writes `bytes` at byte `offset` of the state.
    ///
    /// # Errors
    /// What the storage says, for example that it is full.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), IoFailure> {
        let at = HEADER_BYTES as u64 + offset;
        self.file.write_at(at, bytes).map_err(IoFailure::of("write", &self.name))
    }

    /// Fills `bytes` from byte `offset` of the state; `false` when it was not written so far.
    ///
    /// # Errors
    /// What the storage says.
    pub fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<bool, IoFailure> {
        match self.file.read_at(HEADER_BYTES as u64 + offset, bytes) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(IoFailure::of("read", &self.name)(error)),
        }
    }

    /// Makes it a whole snapshot of the state after record `hash` at its index, of which `len` bytes
    /// were written; durable when this returns, and still under its own name.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`] when the file is longer; [`SnapshotError::Io`].
    pub fn finish(
        &self,
        hash: Digest,
        state_digest: Digest,
        len: u64,
    ) -> Result<Head, SnapshotError> {
        let head = Head { index: self.index, hash };
        let start = header(&head, &state_digest, len);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&start);
        let mut buffer = vec![0; PIECE_BYTES];
        each_piece(len, |offset, bytes| {
            let bytes = &mut buffer[..bytes];
            let at = HEADER_BYTES as u64 + offset;
            self.file.read_at(at, bytes).map_err(IoFailure::of("read", &self.name))?;
            hasher.update(bytes);
            Ok(())
        })?;
        let end = HEADER_BYTES as u64 + len;
        let checksum = hasher.finalize();
        let written = self.file.write_at(0, &start);
        let written = written.and_then(|()| self.file.write_at(end, checksum.as_bytes()));
        written.map_err(IoFailure::of("write", &self.name))?;
        let bytes = self.file.len().map_err(IoFailure::of("measure", &self.name))?;
        if bytes != end + CHECKSUM_BYTES as u64 {
            let (file, what) = (self.name.clone(), "more was staged than the snapshot has");
            return Err(SnapshotError::Damaged { file, what });
        }
        self.file.sync_data().map_err(IoFailure::of("sync", &self.name))?;
        Ok(head)
    }
}

/// Calls `visit` with offset and length of each piece of `len` bytes.
fn each_piece(
    len: u64,
    mut visit: impl FnMut(u64, usize) -> Result<(), SnapshotError>,
) -> Result<(), SnapshotError> {
    let mut offset = 0;
    while offset < len {
        let bytes = usize::try_from(len - offset).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        visit(offset, bytes)?;
        offset += bytes as u64;
    }
    Ok(())
}
