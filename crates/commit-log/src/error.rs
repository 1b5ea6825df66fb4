//! What can go wrong with a log, with the values one would ask for.

use std::io;
use std::sync::Arc;

use proctor_types::Digest;

/// Why the log refused.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// The payload is over [`crate::MAX_PAYLOAD_BYTES`]. The log is unchanged.
    #[error("a record of {bytes} bytes is over the limit of {max} bytes")]
    PayloadTooLarge {
        /// Length of the payload.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Too much has been appended since the last sync: call [`crate::Log::sync`] and try again.
    #[error("{bytes} bytes wait for a sync, the limit is {max} bytes")]
    BatchFull {
        /// Bytes that would wait, this record included.
        bytes: usize,
        /// The limit, [`crate::MAX_BATCH_BYTES`].
        max: usize,
    },
    /// The storage failed just now. From here on the log is read-only.
    #[error(transparent)]
    Io(IoFailure),
    /// The storage failed earlier. What is on disk is unknown since then, so the log stays
    /// read-only until it is opened anew.
    #[error("the log is read-only since an earlier failure: {0}")]
    PreviousIo(#[source] IoFailure),
    /// The bytes on disk are not what was written. Nothing was changed.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The segment was written by a later version of this program.
    #[error("{file} has format version {found}, this program reads version {supported}")]
    UnsupportedVersion {
        /// File name inside the log's directory.
        file: String,
        /// Version found in the header.
        found: u32,
        /// Version this program reads.
        supported: u32,
    },
    /// The file that says where the log begins is not what was written. Nothing was changed.
    #[error("BASE, which says where the log begins, is damaged: {0}")]
    BaseDamaged(&'static str),
    /// A crash came while the log was begun anew after a snapshot; opening it for writing finishes
    /// that.
    #[error("the log is being begun anew after record {base}, which a start of the node finishes")]
    Unfinished {
        /// The record after which it will begin.
        base: u64,
    },
    /// Asked to read from before the first or after the last record.
    #[error("record {index} is not in the log, which holds {first} to {last}")]
    OutOfRange {
        /// Index asked for.
        index: u64,
        /// First index in the log.
        first: u64,
        /// Last index in the log.
        last: u64,
    },
}

/// A failed operation of the storage.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot {action} {file}: {source}")]
pub struct IoFailure {
    /// What was tried.
    pub action: &'static str,
    /// File name inside the directory, or `.` for the directory itself.
    pub file: String,
    /// What the operating system said.
    pub source: Arc<io::Error>,
}

impl IoFailure {
    /// Returns a function for `map_err`.
    pub(crate) fn of(action: &'static str, file: &str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { action, file: file.to_owned(), source: Arc::new(source) }
    }
}

impl From<IoFailure> for LogError {
    fn from(failure: IoFailure) -> Self {
        Self::Io(failure)
    }
}

/// Bytes on disk that no crash can explain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file} is damaged at byte {offset}, near record {index}: {kind}")]
pub struct Damage {
    /// File name inside the log's directory.
    pub file: String,
    /// Byte offset in the file of the sector or frame that is wrong.
    pub offset: u64,
    /// Index of the first record that cannot be read.
    pub index: u64,
    /// What differs.
    pub kind: DamageKind,
}

/// What differs from the bytes that were written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DamageKind {
    /// A file has the ending of a segment but not the name of one.
    #[error("the file name is not a segment's")]
    SegmentName,
    /// A segment does not begin where the one before it ends.
    #[error("the segment should begin at record {expected}, it begins at {found}")]
    SegmentOrder {
        /// First index the segment should have.
        expected: u64,
        /// First index it has.
        found: u64,
    },
    /// The first sector is missing or is not a segment header.
    #[error("the segment has no header")]
    NoHeader,
    /// The header's first index is not that of the file name.
    #[error("the header says first record {found}, the file name says {expected}")]
    HeaderIndex {
        /// From the file name.
        expected: u64,
        /// From the header.
        found: u64,
    },
    /// The header's hash is not that of the record before.
    #[error("the header says previous hash {found}, the record before has {expected}")]
    HeaderParent {
        /// Hash of the record before.
        expected: Digest,
        /// From the header.
        found: Digest,
    },
    /// A sector's checksum is wrong.
    #[error("the sector's checksum is {stored:08x}, its bytes give {computed:08x}")]
    SectorChecksum {
        /// In the file.
        stored: u32,
        /// Of the bytes.
        computed: u32,
    },
    /// A sector that should be blank or written is neither.
    #[error("the sector is neither blank nor marked as written")]
    SectorMarks,
    /// A sector's checksum is right but its fields contradict each other.
    #[error("the sector's fields make no sense here")]
    SectorFields,
    /// A sector was acknowledged and is blank now: something later was written after it.
    #[error("the sector is blank or cut although a later one was written")]
    SectorMissing,
    /// A sector is written after the end of the data.
    #[error("the sector is written although the data end before it")]
    SectorStray,
    /// The file is longer than a segment can be.
    #[error("the file has {bytes} bytes, more than a segment can have")]
    FileTooLong {
        /// Length of the file.
        bytes: u64,
    },
    /// The file ends within a sector that is not blank.
    #[error("the file ends within a written sector")]
    FileCut,
    /// A batch is longer than the writer ever makes one.
    #[error("the batch is over the limit of {max} bytes")]
    BatchTooLong {
        /// The limit.
        max: usize,
    },
    /// A frame is longer than its batch or than the limit.
    #[error("the record says it has {found} bytes, at most {max} are possible")]
    FrameLength {
        /// Payload length in the frame.
        found: u64,
        /// The most that is possible there.
        max: u64,
    },
    /// A frame's checksum is wrong.
    #[error("the record's checksum is {stored:08x}, its bytes give {computed:08x}")]
    FrameChecksum {
        /// In the file.
        stored: u32,
        /// Of the bytes.
        computed: u32,
    },
    /// A record's index is not the next one.
    #[error("the record says index {found}, {expected} is next")]
    FrameIndex {
        /// Next index.
        expected: u64,
        /// Index in the frame.
        found: u64,
    },
    /// A record's parent is not the hash of the record before.
    #[error("the record says parent {found}, the record before has hash {expected}")]
    FrameParent {
        /// Hash of the record before.
        expected: Digest,
        /// Parent in the frame.
        found: Digest,
    },
    /// The record after which the log begins is missing or is another one.
    #[error("record {index}, after which the log begins, is missing or not the one it should be")]
    Base {
        /// Index of the record.
        index: u64,
    },
    /// A seal does not name the record before it.
    #[error("the seal is for record {found}, the log is at {expected}")]
    Seal {
        /// Index of the record before the seal.
        expected: u64,
        /// Index in the seal.
        found: u64,
    },
}
